"""The schema: made once, by one process at a time, and the same as the models say."""

import threading
from collections.abc import Iterator

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import Engine, create_engine, inspect, text

from frontend.database import MIGRATION_LOCK, migrate, open_engine
from frontend.models import Base, is_in_models
from tests.frontend.conftest import MakeSettings


@pytest.fixture
def engine(database_url: str, make_settings: MakeSettings) -> Iterator[Engine]:
    engine = open_engine(make_settings(database_url=database_url))
    yield engine
    engine.dispose()


def test_migrations_make_what_the_models_say(engine: Engine) -> None:
    migrate(engine)
    with engine.connect() as connection:
        assert compare_metadata(
            MigrationContext.configure(connection, opts={"include_object": is_in_models}), Base.metadata
        ) == []


def test_migrating_again_changes_nothing(engine: Engine) -> None:
    migrate(engine)
    with engine.begin() as connection:
        connection.execute(text("CREATE TABLE kept (id INTEGER)"))
    migrate(engine)
    assert "kept" in inspect(engine).get_table_names()


def test_processes_starting_together_all_succeed(database_url: str, make_settings: MakeSettings) -> None:
    settings = make_settings(database_url=database_url)
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


def test_a_migration_waits_for_the_one_before(database_url: str, make_settings: MakeSettings) -> None:
    """On PostgreSQL by an advisory lock: while somebody holds it, nothing is changed."""
    if not database_url.startswith("postgresql"):
        pytest.skip("SQLite takes turns by a lock file")
    engine = open_engine(make_settings(database_url=database_url))
    holder = create_engine(database_url)
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
