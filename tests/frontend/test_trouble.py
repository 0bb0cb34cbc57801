"""The database is full, read-only, or restarts under the page: a clear answer, nothing lost, and no restart needed."""

import os
import resource
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import requests
from sqlalchemy import Engine, create_engine
from starlette.testclient import TestClient

from frontend.app import create_app
from launcher.preflight import free_port
from tests.frontend.conftest import SECRET, MakeSettings, serving
from tests.frontend.test_replies import STREAM, last_exchange
from tests.frontend.test_routes import PAGE, exchanges, post, stream
from tests.support import postgres
from tests.support.stub_backend import Answer, StubBackend
from tests.support.waiting import eventually

LONG = "my words " * 400


@pytest.fixture
def client(make_client: Callable[..., TestClient]) -> TestClient:
    """With one connection to its database, so that what a test does to it concerns everybody."""
    return begun(make_client(database_pool_size=1))


def begun(client: TestClient) -> TestClient:
    """Something has been said."""
    client.get("/")
    stream(client, "first")
    return client


def engine(client: TestClient) -> Engine:
    found: Any = client.app.state.services.store._engine  # type: ignore[attr-defined]  # noqa: SLF001
    return found  # type: ignore[no-any-return]


def set_pragma(client: TestClient, pragma: str) -> None:
    with engine(client).connect() as connection:
        connection.exec_driver_sql(f"PRAGMA {pragma}")


# As SQLite itself sees it: no further page can be had, or the file may not be written.
BEGINS = {"full": "max_page_count=1", "read-only": "query_only=1"}
ENDS = {"full": "max_page_count=1000000", "read-only": "query_only=0"}


@contextmanager
def trouble(client: TestClient, kind: str) -> Iterator[None]:
    set_pragma(client, BEGINS[kind])
    yield
    set_pragma(client, ENDS[kind])


@pytest.mark.parametrize("kind", ["full", "read-only"])
def test_a_database_that_cannot_be_written_keeps_the_text_and_recovers(client: TestClient, kind: str) -> None:
    with trouble(client, kind):
        page = post(client, LONG)
        assert (page.status_code, "cannot be reached" in page.text) == (503, True)
        assert LONG.strip() in page.text.split("<textarea")[1].split("</textarea>")[0]
        refused = post(client, LONG, **STREAM)
        assert (refused.status_code, refused.json()["error"]["type"]) == (503, "store_unavailable")
        assert client.get("/", headers=PAGE).status_code == 200  # what was said can still be read
        assert client.get("/healthz").status_code == 200
    assert stream(client, LONG)[-1][0] == "done"
    assert [e["message"] for e in exchanges(client)] == ["first", LONG.strip()]


def test_a_database_that_is_away_gives_the_text_back(client: TestClient, tmp_path: Path) -> None:
    for file in tmp_path.iterdir():
        file.unlink()
    (tmp_path / "chats.sqlite3").mkdir()
    engine(client).dispose()
    page = client.post("/messages", data={"text": "my <words>"}, headers=PAGE)
    assert (page.status_code, "cannot be reached" in page.text) == (503, True)
    assert "my &lt;words&gt;" in page.text


def test_a_reply_that_cannot_be_stored_at_once_is_stored_later(client: TestClient, stub: StubBackend) -> None:
    """It was written, and then lost for a second of trouble."""
    answer = stub.plan(Answer(hold_after=1, response="a long reply " * 1_000))
    with client.stream("POST", "/messages", data={"text": "q"}, headers=STREAM) as response:
        pieces = response.iter_text()
        next(pieces)
        set_pragma(client, BEGINS["full"])
        threading.Timer(1.0, set_pragma, (client, ENDS["full"])).start()
        answer.release.set()
        assert "event: done" in "".join(pieces)
    assert exchanges(client)[-1]["reply"]["text"] == "a long reply " * 1_000


@pytest.mark.parametrize(("kind", "claim_seconds"), [("full", 3_600), ("read-only", 4)])
def test_a_reply_that_cannot_be_stored_is_said_and_locks_nothing_for_long(
    make_client: Callable[..., TestClient],
    stub: StubBackend,
    kind: str,
    claim_seconds: float,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A full disk has room for a word still; where nothing can be written, the claim runs out."""
    monkeypatch.setattr("frontend.writer.STORE_SECONDS", 0.1)
    client = begun(make_client(database_pool_size=1, claim_seconds=claim_seconds))
    answer = stub.plan(Answer(hold_after=1, response="a long reply " * 1_000))
    with client.stream("POST", "/messages", data={"text": "q"}, headers=STREAM) as response:
        pieces = response.iter_text()
        next(pieces)
        with trouble(client, kind):
            answer.release.set()
            assert "store_unavailable" in "".join(pieces)
    eventually(lambda: bool(exchanges(client)[-1]["retryable"]))
    data = {"conversation": client.get("/conversation").json()["id"]}
    assert "event: done" in client.post("/messages/1/retry", data=data, headers=STREAM).text


@pytest.fixture
def server() -> Iterator[postgres.Server]:
    """A PostgreSQL server that a test may stop."""
    binaries = postgres.programs()
    if binaries is None:
        pytest.skip("PostgreSQL's initdb is not installed")
    with postgres.temporary_server(binaries) as server:
        yield server


def test_a_database_server_restarts_under_the_page(
    server: postgres.Server, stub: StubBackend, make_settings: MakeSettings
) -> None:
    app = create_app(make_settings(backend_url=stub.url, database_url=server.url))
    with serving(app) as url, requests.Session() as browser:
        browser.trust_env = False
        browser.get(url)
        answer = stub.plan(Answer(hold_after=1))
        with browser.post(f"{url}/messages", data={"text": "q"}, headers=STREAM, stream=True) as response:
            chunks = response.iter_content(None)
            next(chunks)
            server.stop()
            page = requests.get(url, headers=PAGE, cookies=browser.cookies, timeout=30)
            assert (page.status_code, "cannot be reached" in page.text) == (503, True)
            assert requests.get(f"{url}/readyz", timeout=30).status_code == 503
            assert requests.get(f"{url}/healthz", timeout=30).status_code == 200
            answer.release.set()
            server.start()
            assert b"event: done" in b"".join(chunks)
        assert last_exchange(browser, url)["reply"] is not None
        assert requests.get(f"{url}/readyz", timeout=30).status_code == 200


def test_a_disk_that_is_full_under_a_real_process(stub: StubBackend, tmp_path: Path) -> None:
    """The kernel refuses that its files grow, as a full disk does, and later lets them."""
    url = f"http://127.0.0.1:{(port := free_port())}"
    environment = {
        "FRONTEND_PORT": str(port),
        "FRONTEND_BACKEND_URL": stub.url,
        "FRONTEND_DATABASE_URL": f"sqlite:///{tmp_path}/chats.sqlite3",
        "FRONTEND_SECRET_KEY": SECRET,
    }
    process = subprocess.Popen(
        [sys.executable, "-m", "frontend"],
        cwd=Path(__file__).parents[2],
        env=dict(os.environ) | environment,
        stderr=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
    )
    try:
        with requests.Session() as browser:
            browser.trust_env = False
            eventually(lambda: answers(browser, url))
            assert "event: done" in browser.post(f"{url}/messages", data={"text": "first"}, headers=STREAM).text
            resource.prlimit(process.pid, resource.RLIMIT_FSIZE, (1, resource.RLIM_INFINITY))
            conversation = browser.get(f"{url}/conversation").json()["id"]
            data = {"text": LONG, "conversation": conversation}
            assert browser.post(f"{url}/messages", data=data, headers=PAGE).status_code == 503
            assert browser.get(url, headers=PAGE).status_code == 200
            resource.prlimit(process.pid, resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
            assert "event: done" in browser.post(f"{url}/messages", data=data, headers=STREAM).text
        with create_engine(environment["FRONTEND_DATABASE_URL"]).connect() as database:
            assert database.exec_driver_sql("PRAGMA integrity_check").scalar() == "ok"
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(60)


def answers(browser: requests.Session, url: str) -> bool:
    try:
        return browser.get(url).ok
    except requests.ConnectionError:
        return False
