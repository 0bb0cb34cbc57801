"""Fixtures of the frontend's tests: a stub backend, settings, the app, and databases of both kinds."""

import os
import shutil
import socket
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
import pytest_asyncio
import uvicorn
from fastapi import FastAPI
from pydantic import SecretStr
from sqlalchemy import Engine, create_engine, make_url, text
from starlette.testclient import TestClient

from frontend.__main__ import server_config
from frontend.app import create_app
from frontend.asking import PAUSES_SECONDS
from frontend.backend import Backend
from frontend.database import migrate, open_engine
from frontend.library import Library
from frontend.relay import Relay
from frontend.settings import Settings
from frontend.store import ChatStore
from tests.support import postgres
from tests.support.stub_backend import StubBackend

SECRET = "kX9-vT2mQ7_rLp4wZs8bNc1yHd6fJg3e"
POSTGRES = "FRONTEND_TEST_POSTGRES_URL"

MakeSettings = Callable[..., Settings]


@dataclass
class FakeClock:
    """A clock that tests move."""

    now: datetime = field(default_factory=lambda: datetime(2030, 1, 1, tzinfo=UTC))

    def __call__(self) -> datetime:
        return self.now

    def advance(self, seconds: float) -> None:
        """Let time pass."""
        self.now += timedelta(seconds=seconds)


@pytest.fixture(autouse=True)
def clean_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """Settings of the person who runs the tests do not matter."""
    for name in [name for name in os.environ if name.startswith("FRONTEND_") and name != POSTGRES]:
        monkeypatch.delenv(name)


@pytest.fixture(autouse=True)
def short_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    """A backend that is away is asked again as often, but not for as long."""
    monkeypatch.setattr("frontend.asking.PAUSES_SECONDS", (0.001,) * len(PAUSES_SECONDS))


@pytest.fixture
def stub() -> Iterator[StubBackend]:
    """A backend over real HTTP."""
    with StubBackend() as backend:
        yield backend


@pytest_asyncio.fixture
async def make_backend(stub: StubBackend, make_settings: MakeSettings) -> AsyncIterator[Callable[..., Backend]]:
    """Clients of the stub; keywords are settings."""
    backends: list[Backend] = []

    def make(**values: Any) -> Backend:
        backends.append(Backend(make_settings(backend_url=stub.url, **values)))
        return backends[-1]

    yield make
    for backend in backends:
        await backend.close()


@pytest_asyncio.fixture
async def backend(make_backend: Callable[..., Backend]) -> Backend:
    """One client."""
    return make_backend()


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[str]:
    """The server that FRONTEND_TEST_POSTGRES_URL names, else one for these tests alone."""
    given, binaries = os.environ.get(POSTGRES), postgres.programs()
    if given is not None:
        yield given
    elif binaries is not None:
        with postgres.temporary_server(binaries) as server:
            yield server.url
    else:
        pytest.skip(f"PostgreSQL's initdb is not installed, and {POSTGRES} names no server")


@pytest.fixture(scope="session")
def migrated_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An SQLite database with the newest schema and nothing in it: copying it is quicker than migrating another one."""
    path = tmp_path_factory.mktemp("migrated") / "chats.sqlite3"
    _migrate(f"sqlite:///{path}")
    return path


@pytest.fixture(scope="session")
def migrated_name(postgres_server: str) -> Iterator[str]:
    """The name of one of PostgreSQL's, likewise."""
    with _postgres_database(postgres_server) as url:
        _migrate(url)
        yield make_url(url).database or ""


def _migrate(url: str) -> None:
    engine = open_engine(Settings(database_url=url, secret_key=SecretStr(SECRET)))
    migrate(engine)
    engine.dispose()


@contextmanager
def _postgres_database(server: str, template: str = "template1") -> Iterator[str]:
    """A database's address, while it exists."""
    name = f"frontend_test_{uuid4().hex}"
    engine = create_engine(server, isolation_level="AUTOCOMMIT")
    with engine.connect() as connection:
        connection.execute(text(f"CREATE DATABASE {name} TEMPLATE {template}"))
    yield make_url(server).set(database=name).render_as_string(hide_password=False)
    with engine.connect() as connection:
        connection.execute(text(f"DROP DATABASE {name} WITH (FORCE)"))
    engine.dispose()


@pytest.fixture(params=["sqlite", "postgresql"])
def empty_database_url(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """A database of either kind, without a schema."""
    if request.param == "sqlite":
        yield f"sqlite:///{tmp_path}/chats.sqlite3"
        return
    with _postgres_database(request.getfixturevalue("postgres_server")) as url:
        yield url


@pytest.fixture(params=["sqlite", "postgresql"])
def database_url(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """A database of either kind, with the newest schema and nothing in it."""
    if request.param == "sqlite":
        path = shutil.copy(request.getfixturevalue("migrated_file"), tmp_path / "chats.sqlite3")
        yield f"sqlite:///{path}"
        return
    server = request.getfixturevalue("postgres_server")
    with _postgres_database(server, template=request.getfixturevalue("migrated_name")) as url:
        yield url


@pytest.fixture
def make_settings(tmp_path: Path) -> MakeSettings:
    """Settings with an SQLite file of the test's own; keywords override."""

    def make(**values: Any) -> Settings:
        defaults = {"database_url": f"sqlite:///{tmp_path}/chats.sqlite3", "secret_key": SECRET}
        return Settings(**(defaults | values))

    return make


@pytest.fixture
def clock() -> FakeClock:
    """The store's clock."""
    return FakeClock()


@pytest.fixture
def make_engine(database_url: str) -> Iterator[Callable[[Settings], Engine]]:
    """Connections of one database, brought up to date; each time new ones, as a process has its own."""
    engines = []

    def make(settings: Settings) -> Engine:
        engine = open_engine(settings)
        engines.append(engine)
        migrate(engine)
        return engine

    yield make
    for engine in engines:
        engine.dispose()


@pytest.fixture
def engine(make_engine: Callable[[Settings], Engine], make_settings: MakeSettings, database_url: str) -> Engine:
    """One process's connections."""
    return make_engine(make_settings(database_url=database_url))


@pytest.fixture
def make_store(
    database_url: str, make_settings: MakeSettings, make_engine: Callable[[Settings], Engine], clock: FakeClock
) -> Callable[..., ChatStore]:
    """Stores over one database, each with connections of its own; keywords are settings."""

    def make(**values: Any) -> ChatStore:
        settings = make_settings(database_url=database_url, **values)
        return ChatStore(make_engine(settings), settings, clock)

    return make


@pytest.fixture
def make_library(
    database_url: str, make_settings: MakeSettings, make_engine: Callable[[Settings], Engine], clock: FakeClock
) -> Callable[..., Library]:
    """The same for libraries."""

    def make(**values: Any) -> Library:
        settings = make_settings(database_url=database_url, **values)
        return Library(make_engine(settings), settings, clock)

    return make


@pytest.fixture
def make_relay(
    database_url: str, make_settings: MakeSettings, make_engine: Callable[[Settings], Engine], clock: FakeClock
) -> Callable[[], Relay]:
    """The same for what processes tell each other."""

    def make() -> Relay:
        settings = make_settings(database_url=database_url)
        return Relay(make_engine(settings), settings, clock)

    return make


@pytest.fixture
def store(make_store: Callable[..., ChatStore]) -> ChatStore:
    """A store with the default settings."""
    return make_store()


@pytest.fixture
def library(make_library: Callable[..., Library]) -> Library:
    """A library over the same database."""
    return make_library()


@pytest.fixture
def make_client(
    stub: StubBackend, make_settings: MakeSettings, migrated_file: Path
) -> Iterator[Callable[..., TestClient]]:
    """Running apps, each with a browser's cookies; keywords are settings."""
    clients: list[TestClient] = []

    def make(**values: Any) -> TestClient:
        values = {"backend_url": stub.url, "health_cache_seconds": 0.001, "rate_messages": "10000/minute"} | values
        settings = make_settings(**values)
        if settings.sqlite_path and not settings.sqlite_path.exists():
            shutil.copy(migrated_file, settings.sqlite_path)
        client = TestClient(create_app(settings), raise_server_exceptions=False, client=("10.0.0.1", 1))
        client.__enter__()
        clients.append(client)
        return client

    yield make
    for client in clients:
        client.__exit__(None, None, None)


@pytest.fixture
def client(make_client: Callable[..., TestClient]) -> TestClient:
    """One running app."""
    return make_client()


@contextmanager
def serving(app: FastAPI) -> Iterator[str]:
    """Serve `app` over real HTTP as `python -m frontend` does, where a connection can break."""
    listener = socket.create_server(("127.0.0.1", 0))
    server = uvicorn.Server(server_config(app, app.state.settings))
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
    thread.start()
    while not server.started:
        if not thread.is_alive():
            raise AssertionError("the app did not start")
        threading.Event().wait(0.01)
    try:
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"
    finally:
        server.should_exit = True
        thread.join()
