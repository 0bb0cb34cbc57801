"""Clients that stall, on real sockets: each holds little, and not for long."""

import resource
import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import pytest
import requests

from frontend.app import create_app
from tests.frontend.conftest import MakeSettings, serving
from tests.frontend.test_replies import STREAM
from tests.support.stub_backend import Answer, StubBackend

HEAD = b"POST /messages HTTP/1.1\r\nHost: chat\r\nContent-Type: application/x-www-form-urlencoded\r\n"
STALLED = [
    b"",
    b"POST /mess",
    HEAD,
    HEAD + b"Content-Length: 9\r\n\r\ntext=",
    HEAD + b"Transfer-Encoding: chunked\r\n\r\n5\r\ntext=\r\n",
    b"GET /healthz HTTP/1.1\r\nHost: chat\r\n\r\nGET /he",  # the second one of a connection
    b"GET /healthz HTTP/1.1\r\nHost: chat\r\nContent-Length: 9\r\n\r\ntext=",  # answered before it is whole
]


@pytest.fixture
def url(stub: StubBackend, make_settings: MakeSettings, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    monkeypatch.setattr("frontend.connections.REQUEST_SECONDS", 1.0)
    with serving(create_app(make_settings(backend_url=stub.url))) as url:
        yield url


def connect(url: str) -> socket.socket:
    return socket.create_connection((urlsplit(url).hostname, urlsplit(url).port), timeout=10)


@pytest.mark.parametrize("sent", STALLED)
def test_a_request_that_does_not_come_is_not_waited_for(url: str, sent: bytes) -> None:
    """uvicorn waits for ever: a byte now and then was enough to hold a connection, and what it had sent."""
    with connect(url) as connection:
        connection.sendall(sent)
        begun = time.monotonic()
        while connection.recv(65_536):
            continue  # an early answer, perhaps; then the end
        assert 0.5 < time.monotonic() - begun < 8  # the keep-alive time of 5 s, where there was an answer


@pytest.mark.parametrize("sent", STALLED[3:5])
def test_an_upload_that_breaks_off_is_no_error_of_ours(
    stub: StubBackend, make_settings: MakeSettings, sent: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    with serving(create_app(make_settings(backend_url=stub.url))) as url, connect(url) as connection:
        connection.sendall(sent)
        requests.get(f"{url}/healthz", timeout=30)
    assert [record.getMessage() for record in caplog.records if record.levelname == "ERROR"] == []


def test_a_request_that_comes_in_drops_is_not_waited_for_either(url: str) -> None:
    with connect(url) as connection, pytest.raises(OSError):  # noqa: PT011  # reset, or a broken pipe
        connection.sendall(HEAD + b"Content-Length: 50\r\n\r\n")
        for _ in range(50):
            connection.sendall(b"x")
            time.sleep(0.1)


def test_requests_one_after_the_other_have_a_time_each(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("frontend.connections.REQUEST_SECONDS", 3.0)
    with connect(url) as connection:
        for _ in range(5):
            connection.sendall(b"GET /healthz HTTP/1.1\r\nHost: chat\r\n\r\n")
            assert b"200 OK" in connection.recv(65_536)
            time.sleep(0.8)


def test_a_long_reply_has_its_own_time(url: str, stub: StubBackend) -> None:
    answer = stub.plan(Answer(hold_after=1))
    threading.Timer(2.0, answer.release.set).start()
    with requests.Session() as browser:
        browser.trust_env = False
        browser.get(url)
        assert "event: done" in browser.post(f"{url}/messages", data={"text": "q"}, headers=STREAM).text


def test_connections_beyond_the_limit_are_refused_and_come_back(
    stub: StubBackend, make_settings: MakeSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("frontend.__main__.MAX_CONNECTIONS", 4)
    monkeypatch.setattr("frontend.connections.REQUEST_SECONDS", 2.0)
    with serving(create_app(make_settings(backend_url=stub.url))) as url, requests.Session() as browser:
        browser.trust_env = False
        silent = [connect(url) for _ in range(4)]
        statuses = [browser.get(f"{url}/healthz", headers={"Connection": "close"}).status_code]
        while statuses[-1] != 200:
            time.sleep(0.1)
            statuses.append(browser.get(f"{url}/healthz", headers={"Connection": "close"}).status_code)
        assert statuses[0] == 503
        for connection in silent:
            connection.close()


def test_stalled_uploads_hold_little_memory(stub: StubBackend, make_settings: MakeSettings) -> None:
    """Of 2 MiB each, 140 of them filled a pod of 384 MiB."""
    with serving(create_app(make_settings(backend_url=stub.url))) as url:
        before = resident_bytes()
        uploads = [connect(url) for _ in range(200)]
        for upload in uploads:
            upload.sendall(HEAD + b"Content-Length: 2000000\r\n\r\n" + b"x" * 700_000)
        requests.get(f"{url}/healthz", timeout=30)
        assert resident_bytes() - before < 200 * 500_000
        for upload in uploads:
            upload.close()


def resident_bytes() -> int:
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * resource.getpagesize()
