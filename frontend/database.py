"""Opens the database and brings its schema up to date."""

import fcntl
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from alembic import command
from alembic.config import Config
from sqlalchemy import Connection, Engine, create_engine, event, text
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.orm import Session

from frontend.errors import StoreUnavailable
from frontend.metrics import STORE_ERRORS
from frontend.settings import Settings
from frontend.words import _

MIGRATIONS = Path(__file__).parent / "migrations"
MIGRATION_LOCK = 0x60DE1  # PostgreSQL's advisory locks are numbers; any that nothing else in the database uses
NEWEST = "head"  # the schema's version that is migrated to
WAIT_SECONDS = 5  # for a connection, a lock or a statement: a page must not hang because the database does


def open_engine(settings: Settings) -> Engine:
    """An engine for the settings' database; the folder of an SQLite file is made."""
    path = settings.sqlite_path
    if path is not None:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    engine = create_engine(
        settings.url,
        pool_size=settings.database_pool_size,
        max_overflow=0,
        pool_timeout=WAIT_SECONDS,
        pool_pre_ping=path is None,  # a database server may have restarted; a file has not
        hide_parameters=True,  # errors are logged, and what users type is not
        connect_args={"timeout": WAIT_SECONDS} if path is not None else _SERVER_ARGUMENTS,
    )
    if path is not None:
        event.listen(engine, "connect", _prepare_sqlite)
    return engine


# How a search is best done depends on its words, so that no plan suits all: after ten of them PostgreSQL would settle
# for one that reads millions of exchanges for a word of none.
_SERVER_OPTIONS = {"statement_timeout": WAIT_SECONDS * 1000, "plan_cache_mode": "force_custom_plan"}
_SERVER_ARGUMENTS = {
    "connect_timeout": WAIT_SECONDS,
    "options": " ".join(f"-c {name}={value}" for name, value in _SERVER_OPTIONS.items()),
}


def _prepare_sqlite(connection: Any, _record: object) -> None:
    """Readers do not wait for the writer (WAL), and deleting a conversation deletes its exchanges."""
    connection.execute("PRAGMA journal_mode=WAL")
    connection.execute("PRAGMA foreign_keys=ON")


@contextmanager
def transaction(engine: Engine) -> Iterator[Session]:
    """Everything in the block, or nothing. Raises StoreUnavailable when the database does not answer."""
    try:
        with Session(engine, expire_on_commit=False) as db, db.begin():
            yield db
    except SQLAlchemyError as error:
        STORE_ERRORS.inc()
        raise StoreUnavailable(_("The conversations cannot be reached at the moment.")) from error


def migrate(engine: Engine) -> None:
    """Bring the schema up to date, wholly or not at all.

    Processes that start together take turns, and the later ones find it done.
    """
    with _one_at_a_time(engine), engine.connect() as connection:
        if connection.dialect.name == "sqlite":
            _migrate_sqlite(connection)
        else:
            connection.execute(text("SET LOCAL statement_timeout = 0"))  # others' migrations may take their time
            # Held until the transaction that migrates ends, also when this process dies.
            connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": MIGRATION_LOCK})
            _upgrade(connection)
            connection.commit()


def _migrate_sqlite(connection: Connection) -> None:
    """SQLite changes a table by making it anew; with foreign keys on, dropping the old one would empty others."""
    connection.exec_driver_sql("PRAGMA foreign_keys=OFF")
    try:
        connection.exec_driver_sql("BEGIN IMMEDIATE")  # Python's driver begins none before a table is changed
        _upgrade(connection)
        connection.commit()
    finally:
        connection.rollback()
        connection.exec_driver_sql("PRAGMA foreign_keys=ON")


def _upgrade(connection: Connection) -> None:
    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS).replace("%", "%%"))
    config.attributes["connection"] = connection
    command.upgrade(config, NEWEST)


@contextmanager
def _one_at_a_time(engine: Engine) -> Iterator[None]:
    """SQLite's turn-taking: a lock file beside the database. A database server has advisory locks instead."""
    if engine.dialect.name != "sqlite":
        yield
        return
    with open(f"{engine.url.database}.lock", "w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield
