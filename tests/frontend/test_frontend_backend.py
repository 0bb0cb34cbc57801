"""The backend's client against a real server that is slow, dies, refuses, is full or talks nonsense."""

import threading
from typing import Any

import pytest

from frontend.backend import Backend, Done, Line, Question, Start, Token
from frontend.errors import BackendError, Busy, Interrupted, Refused, Unavailable
from tests.frontend.conftest import MakeSettings
from tests.frontend.stub_backend import Answer, StubBackend

DIALOG = ["What is a pod?"]
QUESTION = Question(DIALOG, "an-id")


@pytest.fixture
def backend(stub: StubBackend, make_settings: MakeSettings) -> Backend:
    return Backend(make_settings(backend_url=stub.url))


def read(backend: Backend, line: Line | None = None) -> list[Start | Token | Done]:
    return list(backend.chat(QUESTION, line or Line()))


@pytest.mark.parametrize("chunked", [True, False])
def test_tokens_then_the_reply(backend: Backend, stub: StubBackend, chunked: bool) -> None:
    stub.plan(Answer(tokens=["Grüße ", "🙂"], response="Grüße 🙂!", chunked=chunked))
    *tokens, done = read(backend)
    assert tokens == [Token(text="Grüße "), Token(text="🙂")]
    assert isinstance(done, Done)
    assert done.response == "Grüße 🙂!"
    assert done.model_dump()["request_id"] == "req-1"
    assert stub.bodies == [{"dialog": DIALOG, "stream": True}]
    assert stub.request_ids == ["an-id"]


def test_the_seed_is_told_first_and_can_be_given(backend: Backend, stub: StubBackend) -> None:
    stub.plan(Answer(seed=2**62))
    assert read(backend)[0] == Start(seed=2**62)
    list(backend.chat(Question(DIALOG, "an-id", seed=2**62), Line()))
    assert stub.bodies[1]["generation"] == {"seed": 2**62}


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
    list(backend.chat(Question(["🙂" * 1000], "an-id"), Line()))
    assert stub.dialogs == [["🙂" * 1000]]
    assert stub.body_sizes[0] < 4_100


@pytest.mark.parametrize("chunked", [True, False])
def test_a_token_is_there_before_the_reply_is_complete(backend: Backend, stub: StubBackend, chunked: bool) -> None:
    answer = stub.plan(Answer(tokens=["first ", "second"], hold_after=1, chunked=chunked))
    events = backend.chat(QUESTION, Line())
    assert next(events) == Token(text="first ")
    answer.release.set()
    assert next(events) == Token(text="second")


@pytest.mark.parametrize("status", [200, 500])
def test_an_answer_without_end_is_not_read_to_its_end(backend: Backend, stub: StubBackend, status: int) -> None:
    """A chunk was read whole into memory, whatever length it said it had; so was the body of an error."""
    stub.plan(Answer(status=status, endless=b"x" * 2_000_000))
    with pytest.raises(BackendError):
        read(backend)
    stub.wait_for_hangup()


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


@pytest.mark.parametrize(
    ("answer", "broken"),
    [
        (Answer(dies_after=0), True),
        (Answer(dies_after=1, chunked=False), True),
        (Answer(last_event=""), True),
        (Answer(last_event="error", error_type="reply_interrupted"), True),
        (Answer(status=503, error_type="reply_interrupted"), True),
        *((Answer(status=status, by_proxy=True), True) for status in (404, 500, 502, 503)),
        *((Answer(status=status, by_proxy=True), False) for status in (413, 429, 504)),
        *((Answer(status=status), False) for status in (404, 422, 429, 500, 503, 504)),
        (Answer(last_event="error"), False),
        (Answer(raw=b"event: token\ndata: {\n\n"), False),
        (Answer(tokens=["x" * 16_001]), False),
    ],
)
def test_a_broken_connection_is_told_from_what_the_backend_says(
    backend: Backend, stub: StubBackend, answer: Answer, broken: bool
) -> None:
    stub.plan(answer)
    with pytest.raises(BackendError) as error:
        read(backend)
    assert error.value.broken is broken


@pytest.mark.parametrize(("header", "seconds"), [("7", 7.0), ("soon", None), ("-1", None), ("nan", None)])
def test_retry_after(backend: Backend, stub: StubBackend, header: str, seconds: float | None) -> None:
    stub.plan(Answer(status=429, headers={"Retry-After": header}))
    with pytest.raises(Busy) as error:
        read(backend)
    assert error.value.retry_after == seconds


def test_a_stopped_backend_is_unavailable(backend: Backend, stub: StubBackend) -> None:
    stub.stop()
    with pytest.raises(Unavailable) as error:
        read(backend)
    assert error.value.broken


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
