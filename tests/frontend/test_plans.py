"""Every statement of the store by an index, as the databases themselves say: none reads a table from end to end."""

import re
from collections.abc import Callable
from typing import Any

import pytest
from sqlalchemy import Engine, event, text

from frontend.library import Library
from frontend.store import ChatStore
from tests.frontend.conftest import FakeClock, MakeSettings

SESSIONS = 3
KEPT = 10  # conversations of each
TEXT = {"sqlite": "exchanges_search VIRTUAL TABLE INDEX", "postgresql": "ix_exchanges_search"}
POSITION = {"sqlite": "sqlite_autoindex_exchanges_1", "postgresql": "uq_exchanges_position"}

Act = Callable[[ChatStore, Library, str], object]


@pytest.fixture
def store(engine: Engine, make_settings: MakeSettings, clock: FakeClock) -> ChatStore:
    """One that is full."""
    return ChatStore(engine, make_settings(max_conversations=SESSIONS * KEPT, conversation_keep_seconds=60), clock)


@pytest.fixture
def library(engine: Engine, make_settings: MakeSettings, clock: FakeClock) -> Library:
    return Library(engine, make_settings(), clock)


@pytest.fixture
def conversation(store: ChatStore, clock: FakeClock) -> str:
    """Of the session s0, in a store that others fill."""
    for number in range(SESSIONS * KEPT):
        claim = store.begin(f"s{number % SESSIONS}", "", f"pod {number}")
        store.finish(claim, "-", {})
    clock.advance(61)
    last = store.latest("s0")
    assert last is not None
    return last.id


@pytest.mark.parametrize(
    ("act", "indices"),
    [
        (lambda store, *_: store.latest("s0"), "conversations_session position"),
        (lambda store, _, chat: store.read("s0", chat), "position"),
        (lambda store, _, chat: store.begin("s0", chat, "more"), "position"),
        (lambda store, *_: store.begin("new", "", "q"), "conversations_deleted_at conversations_last_used_at"),
        (
            lambda store, *_: store.delete_expired(),
            "conversations_last_used_at conversations_temporary conversations_deleted_at",
        ),
        (lambda _, library, __: library.page("s0", 1), "conversations_session"),
        (lambda _, library, __: library.kept("s0"), "conversations_session"),
        (
            lambda _, library, __: library.search("s0", ("pod",), 1),
            "exchanges_owner conversations_session text",
        ),
        (lambda _, library, __: list(library.export("s0")), "conversations_session position"),
        (lambda _, library, __: library.forget("s0"), "conversations_session"),
    ],
    ids=["latest", "read", "message", "new chat", "sweep", "list", "count", "search", "export", "forget"],
)
def test_no_statement_reads_a_table_from_end_to_end(
    engine: Engine,
    store: ChatStore,
    library: Library,
    conversation: str,
    act: Act,
    indices: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("frontend.library.LATELY", 2)
    plans = _plans(engine, lambda: act(store, library, conversation))
    for plan in plans:
        assert not re.search(r"Seq Scan on|SCAN (conversations|exchanges)\b(?! USING)", plan), plan
    told = "\n".join(plans)
    dialect = engine.dialect.name
    for index in indices.split():
        name = {"text": TEXT[dialect], "position": POSITION[dialect]}.get(index, f"ix_{index}")
        assert name in told, f"{name} is not used:\n{told}"


def _plans(engine: Engine, act: Callable[[], object]) -> list[str]:
    """How the database carries out each of the statements that `act` sends."""
    sent: list[tuple[str, Any]] = []

    def note(_: object, __: object, statement: str, parameters: Any, *___: object) -> None:
        sent.append((statement, parameters))

    event.listen(engine, "before_cursor_execute", note)
    act()
    event.remove(engine, "before_cursor_execute", note)
    is_sqlite = engine.dialect.name == "sqlite"
    with engine.connect() as connection:
        if not is_sqlite:
            connection.execute(text("ANALYZE"))
            connection.execute(text("SET enable_seqscan = off"))  # a table of thirty rows is read as a whole
        explain = "EXPLAIN QUERY PLAN " if is_sqlite else "EXPLAIN "
        return [
            "\n".join(" ".join(map(str, row)) for row in connection.exec_driver_sql(explain + statement, parameters))
            for statement, parameters in sent
            if statement.startswith(("SELECT", "UPDATE", "DELETE"))
        ]


def test_each_search_has_a_plan_of_its_own(engine: Engine) -> None:
    """In a store of millions PostgreSQL takes one plan for all words after ten searches, which reads every exchange for
    a word of none. In one as small as a test's it does not, so that its setting is looked at."""
    if engine.dialect.name == "sqlite":
        pytest.skip("SQLite makes no plan for all words")
    with engine.connect() as connection:
        assert connection.scalar(text("SHOW plan_cache_mode")) == "force_custom_plan"
