"""The backend's client against a real server that is slow, dies, refuses, is full or talks nonsense."""

import asyncio
from collections.abc import Callable
from contextlib import aclosing

import pytest

from frontend.backend import Backend, Done, Question, Start, Token
from frontend.errors import BackendError, Busy, Interrupted, Refused, Unavailable
from frontend.origin import Origin
from tests.support.stub_backend import Answer, StubBackend

DIALOG = ["What is a pod?"]
QUESTION = Question(DIALOG, "an-id")


async def read(backend: Backend, question: Question = QUESTION) -> list[Start | Token | Done]:
    return [item async for item in backend.chat(question)]


@pytest.mark.parametrize("chunked", [True, False])
async def test_tokens_then_the_reply(backend: Backend, stub: StubBackend, chunked: bool) -> None:
    stub.plan(Answer(tokens=["Grüße ", "🙂"], response="Grüße 🙂!", chunked=chunked))
    *tokens, done = await read(backend)
    assert tokens == [Token(text="Grüße "), Token(text="🙂")]
    assert isinstance(done, Done)
    assert done.response == "Grüße 🙂!"
    assert done.origin.request_id == "req-1"
    assert stub.bodies == [{"dialog": DIALOG, "stream": True}]
    assert stub.request_ids == ["an-id"]


async def test_the_pages_key_goes_along(make_backend: Callable[..., Backend], stub: StubBackend) -> None:
    await read(make_backend(backend_key="sk-of-the-page"))
    await read(make_backend())
    assert stub.authorizations == ["Bearer sk-of-the-page", None]


async def test_the_seed_is_told_first_and_can_be_given(backend: Backend, stub: StubBackend) -> None:
    stub.plan(Answer(seed=2**62))
    assert (await read(backend))[0] == Start(Origin(seed=2**62, request_id=QUESTION.request_id))
    await read(backend, Question(DIALOG, "an-id", seed=2**62))
    assert stub.bodies[1]["generation"] == {"seed": 2**62}


@pytest.mark.parametrize(
    ("response", "kept"), [("A pod is the smallest unit \0", 1), ("A pod is the smallest unit \r\n", 0)]
)
async def test_citations_of_a_text_whose_length_changes_are_dropped(
    backend: Backend, stub: StubBackend, response: str, kept: int
) -> None:
    stub.plan(Answer(response=response))
    done = (await read(backend))[-1]
    assert isinstance(done, Done) and len(done.origin.citations) == kept


async def test_dialogues_are_sent_as_utf8(backend: Backend, stub: StubBackend) -> None:
    """An emoji escaped as JSON can is three times as long, and long dialogues met the backend's limit."""
    await read(backend, Question(["🙂" * 1000], "an-id"))
    assert stub.dialogs == [["🙂" * 1000]]
    assert stub.body_sizes[0] < 4_100


@pytest.mark.parametrize("chunked", [True, False])
async def test_a_token_is_there_before_the_reply_is_whole(backend: Backend, stub: StubBackend, chunked: bool) -> None:
    answer = stub.plan(Answer(tokens=["first ", "second"], hold_after=1, chunked=chunked))
    async with aclosing(backend.chat(QUESTION)) as events:
        assert await anext(events) == Token(text="first ")
        answer.release.set()
        assert await anext(events) == Token(text="second")


@pytest.mark.parametrize("status", [200, 500])
async def test_an_answer_without_end_is_not_read_to_its_end(backend: Backend, stub: StubBackend, status: int) -> None:
    """A chunk was read whole into memory, whatever length it said it had; so was the body of an error."""
    stub.plan(Answer(status=status, endless=b"x" * 2_000_000))
    with pytest.raises(BackendError):
        await read(backend)
    await asyncio.to_thread(stub.wait_for_hangup)


async def test_a_backend_that_does_not_stream_is_understood(backend: Backend, stub: StubBackend) -> None:
    stub.plan(Answer(as_json=True, response="whole"))
    (done,) = await read(backend)
    assert isinstance(done, Done) and done.response == "whole"


@pytest.mark.parametrize(
    ("answer", "kind", "message"),
    [
        (Answer(status=429, headers={"Retry-After": "7"}), Busy, "full"),
        (Answer(status=401, message="an API key is needed"), Unavailable, "operator has to set FRONTEND_BACKEND_KEY"),
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
async def test_failures_are_told_apart(
    backend: Backend, stub: StubBackend, answer: Answer, kind: type[BackendError], message: str
) -> None:
    stub.plan(answer)
    with pytest.raises(kind, match=message):
        await read(backend)


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
async def test_a_broken_connection_is_told_from_what_the_backend_says(
    backend: Backend, stub: StubBackend, answer: Answer, broken: bool
) -> None:
    stub.plan(answer)
    with pytest.raises(BackendError) as error:
        await read(backend)
    assert error.value.broken is broken


@pytest.mark.parametrize(("header", "seconds"), [("7", 7.0), ("soon", None), ("-1", None), ("nan", None)])
async def test_retry_after(backend: Backend, stub: StubBackend, header: str, seconds: float | None) -> None:
    stub.plan(Answer(status=429, headers={"Retry-After": header}))
    with pytest.raises(Busy) as error:
        await read(backend)
    assert error.value.retry_after == seconds


async def test_a_stopped_backend_is_unavailable(backend: Backend, stub: StubBackend) -> None:
    stub.stop()
    with pytest.raises(Unavailable) as error:
        await read(backend)
    assert error.value.broken


@pytest.mark.parametrize("hold_after", [0, 1])
async def test_silence_ends_in_an_interruption(
    stub: StubBackend, make_backend: Callable[..., Backend], hold_after: int
) -> None:
    stub.plan(Answer(hold_after=hold_after))
    with pytest.raises(Interrupted, match="in time"):
        await read(make_backend(read_timeout_seconds=0.2))
    await asyncio.to_thread(stub.wait_for_hangup)


@pytest.mark.parametrize("hold_after", [0, 1])
async def test_cancelling_ends_the_connection_at_once(backend: Backend, stub: StubBackend, hold_after: int) -> None:
    """While the request waits for its first byte as well as in the middle."""
    stub.plan(Answer(hold_after=hold_after))
    reading = asyncio.create_task(read(backend))
    while not stub.dialogs:
        await asyncio.sleep(0.01)
    reading.cancel()
    with pytest.raises(asyncio.CancelledError):
        await reading
    await asyncio.to_thread(stub.wait_for_hangup)


async def test_a_reader_that_stops_early_ends_the_connection(backend: Backend, stub: StubBackend) -> None:
    stub.plan(Answer(hold_after=1))
    async with aclosing(backend.chat(QUESTION)) as items:
        assert await anext(items) == Token(text="A pod is ")
    await asyncio.to_thread(stub.wait_for_hangup)


async def test_the_environments_proxy_is_not_used(backend: Backend, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:1")
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:1")
    assert isinstance((await read(backend))[-1], Done)
