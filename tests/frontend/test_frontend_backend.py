"""The backend's client against a real server that is slow, dies, refuses, is full or talks nonsense."""

import threading
from typing import Any

import pytest

from frontend.backend import Backend, Done, Line, Token
from frontend.errors import BackendError, Busy, Interrupted, Refused, Unavailable
from tests.frontend.conftest import MakeSettings
from tests.frontend.stub_backend import Answer, StubBackend

DIALOG = ["What is a pod?"]


@pytest.fixture
def backend(stub: StubBackend, make_settings: MakeSettings) -> Backend:
    return Backend(make_settings(backend_url=stub.url))


def read(backend: Backend, line: Line | None = None) -> list[Token | Done]:
    return list(backend.chat(DIALOG, line or Line()))


@pytest.mark.parametrize("chunked", [True, False])
def test_tokens_then_the_reply(backend: Backend, stub: StubBackend, chunked: bool) -> None:
    stub.plan(Answer(tokens=["Grüße ", "🙂"], response="Grüße 🙂!", chunked=chunked))
    *tokens, done = read(backend)
    assert tokens == [Token(text="Grüße "), Token(text="🙂")]
    assert isinstance(done, Done)
    assert done.response == "Grüße 🙂!"
    assert done.model_dump()["request_id"] == "req-1"
    assert stub.dialogs == [DIALOG]


@pytest.mark.parametrize(
    ("response", "kept"), [("A pod is the smallest unit \0", 1), ("A pod is the smallest unit \r\n", 0)]
)
def test_citations_of_a_text_whose_length_changes_are_dropped(
    backend: Backend, stub: StubBackend, response: str, kept: int
) -> None:
    stub.plan(Answer(response=response))
    assert len(read(backend)[-1].model_dump()["citations"]) == kept


def test_dialogues_are_sent_as_utf8(backend: Backend, stub: StubBackend) -> None:
    """An emoji escaped as JSON can is three times as long, and long dialogues met the backend's limit."""
    list(backend.chat(["🙂" * 1000], Line()))
    assert stub.dialogs == [["🙂" * 1000]]
    assert stub.body_sizes[0] < 4_100


@pytest.mark.parametrize("chunked", [True, False])
def test_a_token_is_there_before_the_reply_is_complete(backend: Backend, stub: StubBackend, chunked: bool) -> None:
    answer = stub.plan(Answer(tokens=["first ", "second"], hold_after=1, chunked=chunked))
    events = backend.chat(DIALOG, Line())
    assert next(events) == Token(text="first ")
    answer.release.set()
    assert next(events) == Token(text="second")


def test_a_backend_that_does_not_stream_is_understood(backend: Backend, stub: StubBackend) -> None:
    stub.plan(Answer(as_json=True, response="whole"))
    (done,) = read(backend)
    assert isinstance(done, Done) and done.response == "whole"


@pytest.mark.parametrize(
    ("answer", "kind", "message"),
    [
        (Answer(status=429, headers={"Retry-After": "7"}), Busy, "full"),
        (Answer(status=503, message="no replica yet"), Unavailable, "no replica yet"),
        (Answer(status=500), Unavailable, "status 500"),
        (Answer(status=504), Interrupted, "in time"),
        (Answer(status=422, message="dialog: too long"), Refused, "^dialog: too long"),
        (Answer(status=413, message=""), Refused, "status 413"),
        (Answer(status=302, headers={"Location": "http://127.0.0.1:1/"}), Unavailable, "status 302"),
        (Answer(dies_after=1), Interrupted, "broke off"),
        (Answer(dies_after=1, chunked=False), Interrupted, "broke off"),
        (Answer(last_event=""), Interrupted, "broke off"),
        (Answer(last_event="error", message="past its deadline"), Interrupted, "past its deadline"),
        (Answer(raw=b"event: token\ndata: {\n\n"), Interrupted, "not a reply"),
        (Answer(raw=b'event: done\ndata: {"other": 1}\n\n'), Interrupted, "not a reply"),
        (Answer(raw=b'event: done\ndata: ["x"]\n\n'), Interrupted, "not a reply"),
        (Answer(tokens=["x" * 16_001]), Interrupted, "longer than 16,000"),
        (Answer(tokens=[], response="x" * 16_001), Interrupted, "longer than 16,000"),
    ],
)
def test_failures_are_told_apart(
    backend: Backend, stub: StubBackend, answer: Answer, kind: type[BackendError], message: str
) -> None:
    stub.plan(answer)
    with pytest.raises(kind, match=message):
        read(backend)


@pytest.mark.parametrize(("header", "seconds"), [("7", 7.0), ("soon", None), ("-1", None), ("nan", None)])
def test_retry_after(backend: Backend, stub: StubBackend, header: str, seconds: float | None) -> None:
    stub.plan(Answer(status=429, headers={"Retry-After": header}))
    with pytest.raises(Busy) as error:
        read(backend)
    assert error.value.retry_after == seconds


def test_a_stopped_backend_is_unavailable(backend: Backend, stub: StubBackend) -> None:
    stub.stop()
    with pytest.raises(Unavailable):
        read(backend)


@pytest.mark.parametrize("hold_after", [0, 1])
def test_silence_is_an_interruption(stub: StubBackend, make_settings: MakeSettings, hold_after: int) -> None:
    stub.plan(Answer(hold_after=hold_after))
    with pytest.raises(Interrupted, match="silent"):
        read(Backend(make_settings(backend_url=stub.url, read_timeout_seconds=0.2)))


@pytest.mark.parametrize("hold_after", [0, 1])
def test_hanging_up_ends_the_connection_at_once(backend: Backend, stub: StubBackend, hold_after: int) -> None:
    """While the request waits for its first byte as well as in the middle: closing a response does neither."""
    stub.plan(Answer(hold_after=hold_after))
    line, ended = Line(), threading.Event()

    def listen() -> None:
        with pytest.raises(BackendError):
            read(backend, line)
        ended.set()

    thread = threading.Thread(target=listen)
    thread.start()
    while not stub.dialogs:
        threading.Event().wait(0.01)
    line.hang_up()
    stub.wait_for_hangup()
    assert ended.wait(10)
    thread.join()


def test_hanging_up_before_there_is_a_connection(backend: Backend) -> None:
    line = Line()
    line.hang_up()
    with pytest.raises(BackendError):
        read(backend, line)


def test_the_environments_proxy_is_not_used(backend: Backend, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:1")
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:1")
    assert isinstance(read(backend)[-1], Done)


def test_health(backend: Backend, stub: StubBackend) -> None:
    stub.health["model"] = {"name": "mini", "requested": "big", "fallback": True, "reason": "no network"}
    health = backend.health()
    assert (health.status, health.model.fallback, health.model.reason) == ("ok", True, "no network")


@pytest.mark.parametrize("body", [{}, {"status": "ok", "model": "mini"}, {"detail": "Not Found"}])
def test_health_that_is_not_understood_is_unavailable(backend: Backend, stub: StubBackend, body: Any) -> None:
    stub.health = body
    assert backend.health().status == "unavailable"


def test_health_of_a_stopped_or_silent_backend(stub: StubBackend, make_settings: MakeSettings) -> None:
    backend = Backend(make_settings(backend_url=stub.url, health_timeout_seconds=0.2))
    stub.health_release.clear()
    assert backend.health().status == "unavailable"
    stub.stop()
    assert backend.health().status == "unavailable"
