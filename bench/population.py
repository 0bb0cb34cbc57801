"""A large service's conversations, made up, and put into an empty store in its database's fastest way.

They were begun one after the other over 25 days, so that a session's lie far from each other, as where many write. Two
of a hundred are deleted and one is temporary. Most sessions have ten, give or take; the `MANY` as many as they may; and
so has `GREEDY`, who has written a twenty-fifth of all messages in them.
"""

import json
import random
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import accumulate
from typing import Any

from sqlalchemy import Connection, Engine, text

from frontend.models import owner_of
from frontend.session import user_session_id
from frontend.titles import title_of
from serve_app.checkpoint import ROOT

GREEDY, MANY = "greedy", ("many 1", "many 2", "many 3")
KEPT = 5_000  # conversations of each of these
GREEDY_SHARE = 0.04  # of all messages
LONG = 100  # exchanges of GREEDY's newest conversation: 200 messages
RARE = "quokka"  # stands in a few of GREEDY's oldest messages, and nowhere else
FREQUENT = "the"  # stands in most of all

_DAYS = 25
_CONVERSATIONS = 10  # of a session, on average
_EXCHANGES = (1, 2, 3, 5, 8, 11)  # of a conversation: five on average
_TEXTS = 20_000  # different messages, and as many replies
_BATCH = 10_000  # conversations in memory at a time

_CONVERSATION = "id, session_id, title, temporary, deleted_at, created_at, last_used_at, next_position"
_EXCHANGE = "conversation_id, owner, position, parent, message, sent_at, reply, replied_at, origin"
_TABLES = {"conversations": _CONVERSATION, "exchanges": _EXCHANGE}

Row = tuple[Any, ...]


@dataclass(frozen=True)
class Population:
    """What there is to fill a store with."""

    messages: int  # a question and its reply are two
    seed: int = 1

    @property
    def greedy_exchanges(self) -> int:
        """Of one of GREEDY's conversations."""
        return max(1, round(self.messages / 2 * GREEDY_SHARE / KEPT))

    @property
    def crowd(self) -> int:
        """Conversations of all sessions but GREEDY's."""
        return max(0, self.messages // 2 - self.greedy_exchanges * KEPT) * len(_EXCHANGES) // sum(_EXCHANGES)

    @property
    def conversations(self) -> int:
        """Of all sessions."""
        return self.crowd + KEPT

    @property
    def sessions(self) -> int:
        """Those of ordinary size."""
        return max(1, (self.crowd - KEPT * len(MANY)) // _CONVERSATIONS)

    def ordinary(self, number: int) -> str:
        """The name of an ordinary session's user."""
        return f"user {number % self.sessions}"

    def rows(self, now: datetime) -> Iterator[tuple[list[Row], list[Row]]]:
        """Conversations and their exchanges, a batch at a time, oldest first."""
        chance = random.Random(self.seed)
        texts = _Texts(chance)
        owners = self._owners(chance)
        for begin in range(0, len(owners), _BATCH):
            conversations: list[Row] = []
            exchanges: list[Row] = []
            for number in range(begin, min(begin + _BATCH, len(owners))):
                owner, at = owners[number], now - timedelta(days=_DAYS * (1 - number / len(owners)), hours=2)
                length = self.greedy_exchanges if owner == GREEDY else chance.choice(_EXCHANGES)
                if number == len(owners) - 1:
                    owner, length = GREEDY, LONG
                id = f"{chance.getrandbits(128):032x}"
                kind = chance.random()
                deleted_at = now - timedelta(hours=1) if kind < 0.02 and owner != GREEDY else None
                is_temporary = 0.02 <= kind < 0.03 and owner != GREEDY
                used_at = now if is_temporary else at
                rare = RARE if owner == GREEDY and number < len(owners) // 50 else ""
                session = user_session_id(owner)
                said = list(texts.exchanges(id, owner_of(session), length, at, rare))
                title = title_of(said[0][4])
                conversations.append((id, session, title, is_temporary, deleted_at, at, used_at, length + 1))
                exchanges += said
            yield conversations, exchanges

    def _owners(self, chance: random.Random) -> list[str]:
        """Whose each conversation is, oldest first."""
        of_many = [name for name in MANY for _ in range(min(KEPT, self.crowd // 10))]
        ordinary = [self.ordinary(chance.randrange(self.sessions)) for _ in range(self.crowd - len(of_many))]
        owners = [GREEDY] * (KEPT - 1) + of_many + ordinary
        chance.shuffle(owners)
        return [*owners, GREEDY]


class _Texts:
    """Words of a list, the more frequent the earlier they stand in it."""

    def __init__(self, chance: random.Random) -> None:
        vocabulary = json.loads((ROOT / "models/vectors/tokenizer.json").read_text(encoding="utf-8"))["model"]["vocab"]
        words = [word for word in vocabulary if len(word) > 1 and word.isascii() and word.isalpha() and word != RARE]
        weights = list(accumulate(1 / (rank + 3) for rank in range(len(words))))
        self._chance = chance
        self._messages, self._replies = (
            [" ".join(chance.choices(words, cum_weights=weights, k=chance.randint(*lengths))) for _ in range(_TEXTS)]
            for lengths in ((4, 18), (12, 70))
        )
        self._origin = json.dumps(
            {"replica_id": "7f3c9a1e" * 4, "node_id": "ab" * 28, "nodeName": "node-a", "podName": "pod-a"}
            | {"usage": {"prompt_tokens": 400, "completion_tokens": 40}, "model": "models/mini"}
            | {"timing_ms": {"first_token": 40.0, "total": 420.5}, "grounded": 0.9, "config_version": "c0ffee12"}
        )

    def exchanges(self, conversation: str, owner: str, length: int, at: datetime, rare: str) -> Iterator[Row]:
        for position in range(1, length + 1):
            message, reply = self._chance.choice(self._messages), self._chance.choice(self._replies)
            message = f"{rare} {message}" if rare and position == 1 else message
            yield conversation, owner, position, position - 1, message, at, reply, at, self._origin


def fill(engine: Engine, population: Population, now: datetime) -> None:
    """Fill the store, which has its schema and is empty; indices are made at the end where that is faster."""
    put = _copy if engine.dialect.name == "postgresql" else _insert
    with engine.begin() as connection:
        put(connection, population, now)
    with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        say("Statistics ...")
        if engine.dialect.name == "postgresql":
            connection.execute(text("SET statement_timeout = 0"))
        connection.execute(text("VACUUM ANALYZE" if engine.dialect.name == "postgresql" else "ANALYZE"))


def _copy(connection: Connection, population: Population, now: datetime) -> None:
    connection.execute(text("SET LOCAL statement_timeout = 0"))
    connection.execute(text("SET LOCAL maintenance_work_mem = '1GB'"))
    connection.execute(text("SET LOCAL session_replication_role = replica"))  # references need no check, row by row
    later = connection.execute(
        text(
            "SELECT indexname, indexdef FROM pg_indexes WHERE tablename IN ('conversations', 'exchanges') "
            "AND schemaname = current_schema() AND indexname LIKE 'ix%'"
        )
    ).all()
    for name, _ in later:
        connection.execute(text(f'DROP INDEX "{name}"'))
    cursor = connection.connection.cursor()
    for tables in _told(population, now):
        for (table, columns), rows in zip(_TABLES.items(), tables, strict=True):
            with cursor.copy(f"COPY {table} ({columns}) FROM STDIN") as copy:
                for row in rows:
                    copy.write_row(row)
    for name, definition in later:
        say(f"Index {name} ...")
        connection.exec_driver_sql(definition.replace("%", "%%"))


def _insert(connection: Connection, population: Population, now: datetime) -> None:
    cursor = connection.connection.cursor()
    for tables in _told(population, now):
        for (table, columns), rows in zip(_TABLES.items(), tables, strict=True):
            places = ", ".join("?" for _ in columns.split(", "))
            cursor.executemany(f"INSERT INTO {table} ({columns}) VALUES ({places})", [_plain(row) for row in rows])


def _plain(row: Row) -> Row:
    """As SQLAlchemy keeps times in SQLite."""
    return tuple(f"{each:%Y-%m-%d %H:%M:%S.%f}" if isinstance(each, datetime) else each for each in row)


def _told(population: Population, now: datetime) -> Iterator[Sequence[list[Row]]]:
    done = 0
    for conversations, exchanges in population.rows(now):
        yield conversations, exchanges
        done += 2 * len(exchanges)
        say(f"{done:,} of {population.messages:,} messages", end="\r")
    say("")


def say(progress: str, end: str = "\n") -> None:
    """To who waits, with the time of day."""
    sys.stderr.write(f"{datetime.now():%H:%M:%S} {progress}{end}")
    sys.stderr.flush()


def now() -> datetime:
    """To the second, so that both databases keep the same."""
    return datetime.now(UTC).replace(microsecond=0)
