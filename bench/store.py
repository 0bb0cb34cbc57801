"""How long the page's server takes where its store is full: `python -m bench.store`, half an hour.

Fills an SQLite file with a million messages, and a PostgreSQL server of its own with ten (`bench/population.py`), asks
for every page over HTTP, does all else that the store can do, and prints median, p95 and bound of each as Markdown. One
thing is done after the other, on this machine; the backend is away, and known to be.
"""

import secrets
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from functools import partial
from pathlib import Path

import click
import psutil
import requests
from pydantic import SecretStr
from sqlalchemy import Engine, bindparam, text

from bench.breaking_point import percentile
from bench.pages import serving
from bench.population import FREQUENT, GREEDY, LONG, MANY, RARE, Population, fill, now, say
from frontend.app import create_app
from frontend.database import migrate, open_engine
from frontend.library import PAGE_SIZE, Library
from frontend.models import UtcDateTime
from frontend.session import user_session_id
from frontend.settings import Settings
from frontend.store import ChatStore
from frontend.transfer import to_json
from tests.support import postgres

MESSAGES = {"sqlite": 1_000_000, "postgresql": 10_000_000}
ROUNDS = 40
PAGE_MS = 150.0
ABSENT = "xylophonist"  # a word of no message
USER = "X-User"


@dataclass(frozen=True)
class Operation:
    """Something that is asked of a full store, as often as `rounds`; `act` gets the round's number."""

    name: str
    bound_ms: float
    act: Callable[[int], object]
    rounds: int = ROUNDS
    prepare: Callable[[int], object] = lambda number: None  # each round, not timed


@dataclass(frozen=True)
class Timed:
    """How long an operation took, by the clock, and of the processor for the page's server and the database's."""

    name: str
    processor_ms: float  # on average
    median_ms: float
    p95_ms: float
    bound_ms: float

    def __str__(self) -> str:
        times = f"{self.processor_ms:,.1f} | {self.median_ms:,.1f} | {self.p95_ms:,.1f}"
        return f"| {self.name} | {times} | {self.bound_ms:,.0f} |"


@click.command()
@click.option("--database", type=click.Choice(list(MESSAGES)), help="one of them only")
@click.option("--messages", type=click.IntRange(min=50_000), help="in place of a million and of ten")
def main(database: str | None, messages: int | None) -> None:
    """Time all that is asked of a full store."""
    for kind in [database] if database else MESSAGES:
        population = Population(messages or MESSAGES[kind])
        with tempfile.TemporaryDirectory(prefix="store-") as folder, _database(kind, Path(folder)) as (url, server):
            settings = _settings(url, population)
            engine = open_engine(settings)
            migrate(engine)
            begin = time.monotonic()
            fill(engine, population, now())
            say(f"Filled in {time.monotonic() - begin:.0f} s.")
            click.echo(f"\n{_facts(engine, Path(folder))}\n")
            click.echo("| | processor ms | median ms | p95 ms | bound ms |\n|---|---|---|---|---|")
            for timed in measured(engine, settings, population, server):
                click.echo(timed)
            engine.dispose()


@contextmanager
def _database(kind: str, folder: Path) -> Iterator[tuple[str, psutil.Process | None]]:
    """Its URL, and the process of its server."""
    if kind == "sqlite":
        yield f"sqlite:///{folder}/chats.sqlite3", None
        return
    programs = postgres.programs()
    if programs is None:
        raise click.ClickException("PostgreSQL is not installed; `make stores` does it on Debian")
    with postgres.temporary_server(programs) as server:
        pid = int((server.folder / "data/postmaster.pid").read_text().split()[0])
        yield server.url, psutil.Process(pid)


def _settings(url: str, population: Population) -> Settings:
    """All of a day's searches within a minute; a store that is full as soon as it is filled."""
    return Settings(
        database_url=url,
        secret_key=SecretStr(secrets.token_urlsafe(48)),
        backend_url="http://127.0.0.1:9",  # nothing listens there
        health_cache_seconds=86_400,
        log_level="error",
        trusted_proxies=("127.0.0.1",),
        user_header=USER,
        rate_searches="100000/minute",
        conversation_keep_seconds=86_400,
        max_conversations=population.conversations,
    )


def _facts(engine: Engine, folder: Path) -> str:
    """What the store is, and what it holds."""
    with engine.connect() as connection:
        counts = [connection.scalar(text(f"SELECT count(*) FROM {table}")) for table in ("conversations", "exchanges")]
        if engine.dialect.name == "sqlite":
            version = f"SQLite {connection.scalar(text('SELECT sqlite_version()'))}"
            size = sum(each.stat().st_size for each in folder.iterdir())
        else:
            version = f"PostgreSQL {connection.scalar(text('SHOW server_version'))}"
            size = connection.scalar(text("SELECT pg_database_size(current_database())")) or 0
    return f"{version}: {2 * (counts[1] or 0):,} messages in {counts[0]:,} conversations, {size / 1e9:.1f} GB."


def measured(
    engine: Engine, settings: Settings, population: Population, server: psutil.Process | None
) -> Iterator[Timed]:
    """Every page, then all other operations; what deletes comes last."""
    with serving(create_app(settings), settings) as url, requests.Session() as browser:
        browser.trust_env = False
        for operation in _pages(partial(_get, browser, url), population):
            yield _timed(operation, server)
    store, library = ChatStore(engine, settings), Library(engine, settings)
    for operation in [*_uses(store, library, population), *_deletions(engine, store, library, population)]:
        yield _timed(operation, server)


def _timed(operation: Operation, server: psutil.Process | None) -> Timed:
    times: list[float] = []
    used = 0.0
    for number in range(operation.rounds):
        operation.prepare(number)
        before, begin = _processor_s(server), time.perf_counter()
        operation.act(number)
        times.append((time.perf_counter() - begin) * 1_000)
        used += _processor_s(server) - before
    p95 = percentile(times, 0.95) or 0.0
    return Timed(operation.name, used * 1_000 / operation.rounds, statistics.median(times), p95, operation.bound_ms)


def _processor_s(server: psutil.Process | None) -> float:
    """What this process and the database's have used. (A server's connections have processes of their own.)"""
    others = [server, *server.children()] if server else []
    return time.process_time() + sum(sum(each.cpu_times()[:2]) for each in others)


def _get(browser: requests.Session, url: str, user: str, address: str) -> None:
    browser.get(url + address, headers={USER: user}).raise_for_status()


def _pages(get: Callable[[str, str], None], population: Population) -> Iterator[Operation]:
    def page(name: str, user: str | Callable[[int], str], address: str) -> Operation:
        return Operation(name, PAGE_MS, lambda n: get(user if isinstance(user, str) else user(n), address))

    yield page("the newest chat, of 200 messages", GREEDY, "/")
    yield page("the newest chat of an ordinary session", population.ordinary, "/")
    yield page("a new chat", population.ordinary, "/new")
    for user in (GREEDY, MANY[0]):
        yield page(f"{user}: the first page of all chats", user, "/conversations")
        yield page(f"{user}: the last page of all chats", user, f"/conversations?page={5_000 // PAGE_SIZE}")
        yield page(f"{user}: your data", user, "/data")
        for query in (FREQUENT, "e", "trade source", f"{FREQUENT} {RARE}", RARE, ABSENT, f"a {ABSENT}"):
            yield page(f"{user}: search “{query}”", user, f"/conversations?q={query}")
    yield page(f"{GREEDY}: the 100th page of “{FREQUENT}”", GREEDY, f"/conversations?q={FREQUENT}&page=100")
    for query in (FREQUENT, "trade", ABSENT):
        yield page(f"an ordinary session: search “{query}”", population.ordinary, f"/conversations?q={query}")


def _uses(store: ChatStore, library: Library, population: Population) -> Iterator[Operation]:
    def answer(number: int) -> None:
        session = user_session_id(population.ordinary(number))
        chats = library.page(session, 1).entries
        store.finish(store.begin(session, chats[0].id if chats else "", "What is a pod?"), "A unit.", {})

    def begin(number: int) -> None:
        store.begin(user_session_id(f"newcomer {number}"), "", "What is a pod?")

    def export(user: str, conversation: str | None = None) -> None:
        for _ in to_json(library.export(user_session_id(user), conversation)):
            pass

    newest = library.page(user_session_id(GREEDY), 1).entries[0].id
    yield Operation("a message and its reply", 50, answer)
    yield Operation("a new chat, for which another goes", 50, begin)
    yield Operation(f"export of {2 * LONG} messages", PAGE_MS, lambda _: export(GREEDY, newest))
    yield Operation(f"{MANY[0]}: export of 5,000 chats", 15_000, lambda _: export(MANY[0]), rounds=3)


def _deletions(engine: Engine, store: ChatStore, library: Library, population: Population) -> Iterator[Operation]:
    def expire(_: int) -> None:
        """Have a thousand conversations be too old, each session's first ones alike."""
        old = text(
            "UPDATE conversations SET created_at = :at, last_used_at = :at "
            "WHERE id IN (SELECT id FROM conversations WHERE NOT temporary ORDER BY id LIMIT 1000)"
        ).bindparams(bindparam("at", now() - timedelta(days=40), UtcDateTime()))
        with engine.begin() as connection:
            connection.execute(old)

    def forget(user: str) -> Callable[[int], object]:
        return lambda _: library.forget(user_session_id(user))

    yield Operation("a sweep that finds nothing", 50, lambda _: store.delete_expired())
    yield Operation("a sweep of 1,000 chats", 5_000, lambda _: store.delete_expired(), rounds=5, prepare=expire)
    yield Operation(
        "an ordinary session: delete all data",
        PAGE_MS,
        lambda n: library.forget(user_session_id(population.ordinary(1_000 + n))),
    )
    yield Operation(f"{MANY[1]}: delete all data", 15_000, forget(MANY[1]), rounds=1)
    yield Operation(f"{GREEDY}: delete all data", 60_000, forget(GREEDY), rounds=1)


if __name__ == "__main__":
    main()
