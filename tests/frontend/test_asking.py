"""A reply outlives its connection: asked again it goes on, and what is asked again and how often is bounded."""

import asyncio
import time
from collections.abc import AsyncGenerator
from contextlib import aclosing

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from frontend.asking import PAUSES_SECONDS, ColdStart, Restart, whole_reply
from frontend.backend import Backend, Done, Question, Start, Token
from frontend.errors import BackendError, Busy, Interrupted, Refused, Unavailable
from tests.support.stub_backend import Answer, StubBackend

QUESTION = Question(("What is a pod?",), "an-id")
SECONDS = 30
DEATHS = [
    Answer(seed=7, dies_after=2),
    Answer(seed=7, dies_after=2, chunked=False),
    Answer(seed=7, tokens=Answer().tokens[:2], last_event=""),
    Answer(seed=7, tokens=Answer().tokens[:2], last_event="error", error_type="reply_interrupted"),
]
NOT_BEGUN = [
    Answer(dies_after=0),
    Answer(status=503, error_type="reply_interrupted"),
    *(Answer(status=status, by_proxy=True) for status in (404, 500, 502, 503)),
]
STATED = [
    (Answer(status=422, message="dialog: no"), Refused),
    (Answer(status=429, headers={"Retry-After": "0"}), Busy),
    (Answer(status=503, headers={"Retry-After": "0"}), Unavailable),
    (Answer(status=500), Unavailable),
    (Answer(status=504), Interrupted),
    (Answer(last_event="error"), Interrupted),
]


Item = ColdStart | Start | Token | Restart | Done


async def read(backend: Backend, seconds: float = SECONDS) -> list[Item]:
    return [item async for item in whole_reply(backend, QUESTION, seconds)]


def text(items: list[Item]) -> str:
    return "".join(item.text for item in items if isinstance(item, Token))


def told(done: Item) -> object:
    return done.origin.asked_again if isinstance(done, Done) else done


async def test_an_undisturbed_reply_is_asked_for_once(backend: Backend, stub: StubBackend) -> None:
    *tokens, done = await read(backend)
    assert tokens == [Token(text=token) for token in Answer().tokens]
    assert told(done) == 0
    assert stub.bodies == [{"dialog": ["What is a pod?"], "stream": True}]


@pytest.mark.parametrize("answer", DEATHS)
async def test_a_reply_goes_on_after_the_characters_that_were_shown(
    backend: Backend, stub: StubBackend, answer: Answer
) -> None:
    stub.plan(answer, Answer(tokens=["A pod", " is the smallest", " unit that Kubernetes", " schedules."]))
    items = await read(backend)
    assert items[:-1] == [
        Token(text="A pod is "),
        Token(text="the smallest unit "),
        Token(text="that Kubernetes"),
        Token(text=" schedules."),
    ]
    assert told(items[-1]) == 1
    assert stub.request_ids == ["an-id", "an-id"]
    assert stub.bodies[1] == stub.bodies[0] | {"generation": {"seed": 7}}


@pytest.mark.parametrize("answer", NOT_BEGUN)
async def test_what_had_not_begun_is_asked_again_as_it_was(backend: Backend, stub: StubBackend, answer: Answer) -> None:
    stub.plan(answer)
    assert text(await read(backend)) == Answer().text
    assert stub.bodies[0] == stub.bodies[1]
    assert stub.request_ids == ["an-id", "an-id"]


@pytest.mark.parametrize(("answer", "kind"), STATED)
async def test_what_the_backend_says_itself_is_the_answer(
    backend: Backend, stub: StubBackend, answer: Answer, kind: type[BackendError]
) -> None:
    stub.plan(answer)
    with pytest.raises(kind):
        await read(backend)
    assert len(stub.dialogs) == 1


COLD = Answer(status=503, error_type="starting", headers={"Retry-After": "0.02"})


async def test_a_cold_start_is_told_and_waited_for_however_long_it_takes(backend: Backend, stub: StubBackend) -> None:
    stub.plan(*[COLD] * (len(PAUSES_SECONDS) + 3))
    items = await read(backend)
    assert items[0] == ColdStart()
    assert (text(items), told(items[-1])) == (Answer().text, 0), "no connection broke"
    assert len(set(stub.request_ids)) == 1


async def test_a_cold_start_beyond_the_deadline_is_the_answer(backend: Backend, stub: StubBackend) -> None:
    stub.plan(*[COLD] * 1000)
    with pytest.raises(Unavailable, match="It is starting") as error:
        await read(backend, seconds=0.2)
    assert error.value.retry_after == 0.02
    assert 1 < len(stub.dialogs) < 1000


@pytest.mark.parametrize("status", [429, 503])
async def test_a_reply_that_had_begun_waits_for_room(backend: Backend, stub: StubBackend, status: int) -> None:
    stub.plan(Answer(dies_after=1), Answer(status=status, headers={"Retry-After": "0"}))
    items = await read(backend)
    assert (text(items), told(items[-1])) == (Answer().text, 2)


async def test_a_wait_beyond_the_deadline_is_not_begun(backend: Backend, stub: StubBackend) -> None:
    stub.plan(Answer(dies_after=1), Answer(status=429, headers={"Retry-After": "31"}))
    with pytest.raises(Interrupted, match="broke off .* queues are full") as error:
        await read(backend)
    assert error.value.retry_after == 31
    assert len(stub.dialogs) == 2


async def test_the_backends_wish_to_be_asked_later_is_heard(backend: Backend, stub: StubBackend) -> None:
    stub.plan(Answer(status=503, by_proxy=True, headers={"Retry-After": "0.3"}))
    begun = time.monotonic()
    assert text(await read(backend)) == Answer().text
    assert time.monotonic() - begun >= 0.3


async def test_pauses_grow_and_their_number_is_bounded(
    backend: Backend, stub: StubBackend, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("frontend.asking.PAUSES_SECONDS", (0.2, 0.4, 0.8))
    pauses: list[float] = []

    async def pause(seconds: float) -> None:
        pauses.append(seconds)

    monkeypatch.setattr("frontend.asking.sleep", pause)
    stub.plan(*(Answer(dies_after=1) for _ in range(9)))
    with pytest.raises(Interrupted, match="broke off"):
        await read(backend)
    assert len(stub.dialogs) == 4
    assert pauses == [pytest.approx(pause, rel=0.26) for pause in (0.2, 0.4, 0.8)]


async def test_a_backend_that_stays_away_after_it_had_begun_broke_off(backend: Backend, stub: StubBackend) -> None:
    stub.plan(answer := Answer(hold_after=1))
    async with aclosing(whole_reply(backend, QUESTION, SECONDS)) as items:
        assert await anext(items) == Token(text="A pod is ")
        stub.stop()
        answer.release.set()
        with pytest.raises(Interrupted, match="broke off .* cannot be reached"):
            [item async for item in items]


async def test_cancelling_ends_the_pause(backend: Backend, stub: StubBackend, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("frontend.asking.PAUSES_SECONDS", (3_600.0,))
    stub.plan(Answer(dies_after=1))
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.5):
            await read(backend, 10_000)
    assert len(stub.dialogs) == 1


class Attempts(Backend):
    """Answers with the tokens of each attempt in turn; every one but the last breaks off."""

    def __init__(self, attempts: list[list[str]]) -> None:
        self._attempts = iter(attempts)
        self._left = len(attempts)

    async def chat(self, question: Question) -> AsyncGenerator[Start | Token | Done]:
        tokens = next(self._attempts)
        self._left -= 1
        for token in tokens:
            yield Token(text=token)
        if self._left:
            raise Interrupted("broke off", broken=True)
        yield Done(response="".join(tokens))


TOKENS = st.lists(st.text("ab", max_size=3), max_size=6)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(attempts=st.lists(TOKENS, min_size=1, max_size=4))
async def test_the_reader_has_the_last_attempts_text_or_its_beginning_was_shown_before(
    attempts: list[list[str]],
) -> None:
    """Whatever the attempts say: pieces are appended, a restart empties, and `done` tells the rest."""
    shown = ""
    for item in await read(Attempts(attempts)):
        if isinstance(item, Token):
            assert item.text
            shown += item.text
        elif isinstance(item, Restart):
            shown = ""
        elif isinstance(item, Done):
            assert shown.startswith(item.response)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(whole=TOKENS.map("".join), cuts=st.lists(st.integers(0, 18), max_size=4))
async def test_a_reply_that_stays_the_same_is_never_restarted(whole: str, cuts: list[int]) -> None:
    attempts = [list(whole[:cut]) for cut in cuts] + [[whole]]
    items = await read(Attempts(attempts))
    assert not any(isinstance(item, Restart) for item in items)
    assert text(items) == whole


async def test_another_reply_takes_the_place_of_what_was_shown() -> None:
    items = await read(Attempts([["A pod", " is"], ["A po", "t boils."]]))
    assert items[:-1] == [Token(text="A pod"), Token(text=" is"), Restart(), Token(text="A pot boils.")]
