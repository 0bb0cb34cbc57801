"""The schema: made once, by one process at a time, and the same as the models say."""

import threading
from collections.abc import Iterator
from datetime import UTC, datetime

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import Connection, Engine, create_engine, inspect, text

from frontend.database import MIGRATION_LOCK, migrate, open_engine
from frontend.library import Library
from frontend.models import Base, is_in_models
from frontend.store import ChatStore
from tests.frontend.conftest import MakeSettings


@pytest.fixture
def engine(empty_database_url: str, make_settings: MakeSettings) -> Iterator[Engine]:
    engine = open_engine(make_settings(database_url=empty_database_url))
    yield engine
    engine.dispose()


def test_migrations_make_what_the_models_say(engine: Engine) -> None:
    migrate(engine)
    with engine.connect() as connection:
        assert (
            compare_metadata(
                MigrationContext.configure(connection, opts={"include_object": is_in_models}), Base.metadata
            )
            == []
        )


def test_migrating_again_changes_nothing(engine: Engine) -> None:
    migrate(engine)
    with engine.begin() as connection:
        connection.execute(text("CREATE TABLE kept (id INTEGER)"))
    migrate(engine)
    assert "kept" in inspect(engine).get_table_names()


def test_processes_starting_together_all_succeed(empty_database_url: str, make_settings: MakeSettings) -> None:
    settings = make_settings(database_url=empty_database_url)
    errors: list[BaseException] = []
    together = threading.Barrier(4)

    def start() -> None:
        engine = open_engine(settings)
        together.wait()
        try:
            migrate(engine)
        except BaseException as error:  # noqa: BLE001  # reported by the assertion below
            errors.append(error)
        finally:
            engine.dispose()

    threads = [threading.Thread(target=start) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert errors == []


def test_a_migration_waits_for_the_one_before(empty_database_url: str, make_settings: MakeSettings) -> None:
    """On PostgreSQL by an advisory lock: while somebody holds it, nothing is changed."""
    if not empty_database_url.startswith("postgresql"):
        pytest.skip("SQLite takes turns by a lock file")
    engine = open_engine(make_settings(database_url=empty_database_url))
    holder = create_engine(empty_database_url)
    with holder.begin() as connection:
        connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": MIGRATION_LOCK})
        thread = threading.Thread(target=migrate, args=(engine,))
        thread.start()
        waiting = text("SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND NOT granted")
        while connection.scalar(waiting) == 0:
            assert thread.is_alive()
        assert inspect(holder).get_table_names() == []
    thread.join()
    assert "conversations" in inspect(engine).get_table_names()
    engine.dispose()
    holder.dispose()


def test_the_folder_of_the_file_is_made_private(make_settings: MakeSettings, tmp_path: object) -> None:
    settings = make_settings(database_url=f"sqlite:///{tmp_path}/deep/down/chats.sqlite3")
    engine = open_engine(settings)
    migrate(engine)
    engine.dispose()
    assert settings.sqlite_path is not None
    assert settings.sqlite_path.parent.stat().st_mode & 0o077 == 0


def test_errors_do_not_show_what_users_typed(engine: Engine) -> None:
    migrate(engine)
    with pytest.raises(Exception) as error, engine.begin() as connection:  # noqa: B017, PT011  # each driver has its own
        connection.execute(text("INSERT INTO nowhere VALUES (:message)"), {"message": "my private words"})
    assert "my private words" not in str(error.value)


# ---- from the schema with one conversation a session


OLD = [
    ("a" * 32, "first session", ["What is a pod?\nPlease.", "And a <node>?"]),
    ("b" * 32, "second session", ["x" * 100, "מה?"]),
    ("c" * 32, "third session", []),
]


def fill_old(connection: Connection) -> None:
    """As the first version of the frontend has stored it; the second chat's first question has made room."""
    now = "2030-01-02 03:04:05.123456+00:00"
    for conversation, session, messages in OLD:
        values = {"id": conversation, "session": session, "now": now, "next": len(messages) + 2}
        connection.execute(
            text("INSERT INTO conversations VALUES (:id, :session, :now, :now, :next, NULL, NULL)"), values
        )
        for position, message in enumerate(messages, 2):
            values = {"id": conversation, "position": position, "message": message, "now": now}
            insert = "INSERT INTO exchanges VALUES (:id, :position, :message, :now, :reply, :now, :origin, NULL, NULL)"
            values |= {"reply": f"reply to {message}", "origin": '{"replica_id": "r1", "timing_ms": {"total": 1.5}}'}
            connection.execute(text(insert), values)


@pytest.fixture
def old_engine(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> Engine:
    """A database of the first version, with conversations in it."""
    with monkeypatch.context() as patch:
        patch.setattr("frontend.database.NEWEST", "0001")
        migrate(engine)
    with engine.begin() as connection:
        fill_old(connection)
    return engine


def test_an_upgrade_keeps_every_conversation(
    old_engine: Engine, make_settings: MakeSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("frontend.library.LATELY", 1)  # so that the index is asked
    migrate(old_engine)
    store, library = ChatStore(old_engine, make_settings()), Library(old_engine, make_settings())
    for conversation, session, messages in OLD:
        snapshot = store.read(session, conversation)
        assert [(e.position, e.message, e.reply) for e in snapshot.exchanges] == [
            (position, message, f"reply to {message}") for position, message in enumerate(messages, 2)
        ]
        for exchange in snapshot.exchanges:
            assert exchange.origin == {"replica_id": "r1", "timing_ms": {"total": 1.5}}
            assert exchange.sent_at == exchange.replied_at == datetime(2030, 1, 2, 3, 4, 5, 123456, UTC)
    assert [store.read(session, conversation).versions for conversation, session, _ in OLD] == [
        {position: (position,) for position in range(2, len(messages) + 2)} for _, _, messages in OLD
    ]
    titles = [library.page(session, 1).entries[0].title for _, session, _ in OLD]
    assert titles == ["What is a pod? Please.", "x" * 59 + "…", ""]
    assert [hit.position for hit in library.search("first session", ("node",), 1).hits] == [3]
    conversation, session, messages = OLD[0]
    claim = store.begin(session, conversation, "more")
    assert claim.position == len(messages) + 2
    store.begin(session, "", "and a second chat")


def test_after_an_upgrade_deleting_a_conversation_deletes_its_exchanges(old_engine: Engine) -> None:
    """The tables are made anew on SQLite: the reference between them must survive that."""
    migrate(old_engine)
    with old_engine.begin() as connection:
        connection.execute(text("DELETE FROM conversations WHERE id = :id"), {"id": OLD[0][0]})
        left = connection.scalars(text("SELECT DISTINCT conversation_id FROM exchanges")).all()
    assert left == [OLD[1][0]]


def test_an_upgrade_that_fails_changes_nothing(old_engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    def rows() -> list[object]:
        with old_engine.connect() as connection:
            tables = ("conversations", "exchanges", "alembic_version")
            return [connection.execute(text(f"SELECT * FROM {table}")).all() for table in tables]

    before = rows()
    with monkeypatch.context() as patch, pytest.raises(ZeroDivisionError):
        patch.setattr("alembic.op.create_index", lambda *_: 1 // 0)
        migrate(old_engine)
    assert rows() == before
    assert "exchanges_new" not in inspect(old_engine).get_table_names()
    migrate(old_engine)
    assert "title" in [column["name"] for column in inspect(old_engine).get_columns("conversations")]
