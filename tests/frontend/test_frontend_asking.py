"""A reply outlives its connection: asked again it goes on, and what is asked again and how often is bounded."""

import threading
import time
from collections.abc import Iterator

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from frontend.asking import Restart, whole_reply
from frontend.backend import Backend, Done, Line, Question, Start, Token
from frontend.errors import BackendError, Busy, Interrupted, Refused, Unavailable
from tests.frontend.conftest import MakeSettings
from tests.frontend.stub_backend import Answer, StubBackend

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


@pytest.fixture
def backend(stub: StubBackend, make_settings: MakeSettings) -> Backend:
    return Backend(make_settings(backend_url=stub.url))


def read(backend: Backend, seconds: float = SECONDS) -> list[Token | Restart | Done]:
    return list(whole_reply(backend, QUESTION, Line(), seconds))


def text(items: list[Token | Restart | Done]) -> str:
    return "".join(item.text for item in items if isinstance(item, Token))


def told(done: Token | Restart | Done) -> object:
    return done.model_dump().get("asked_again") if isinstance(done, Done) else done


def test_an_undisturbed_reply_is_asked_for_once(backend: Backend, stub: StubBackend) -> None:
    *tokens, done = read(backend)
    assert tokens == [Token(text=token) for token in Answer().tokens]
    assert told(done) is None
    assert stub.bodies == [{"dialog": ["What is a pod?"], "stream": True}]


@pytest.mark.parametrize("answer", DEATHS)
def test_a_reply_goes_on_after_the_characters_that_were_shown(
    backend: Backend, stub: StubBackend, answer: Answer
) -> None:
    stub.plan(answer, Answer(tokens=["A pod", " is the smallest", " unit that Kubernetes", " schedules."]))
    items = read(backend)
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
def test_what_had_not_begun_is_asked_again_as_it_was(backend: Backend, stub: StubBackend, answer: Answer) -> None:
    stub.plan(answer)
    assert text(read(backend)) == Answer().text
    assert stub.bodies[0] == stub.bodies[1]
    assert stub.request_ids == ["an-id", "an-id"]


@pytest.mark.parametrize(("answer", "kind"), STATED)
def test_what_the_backend_says_itself_is_the_answer(
    backend: Backend, stub: StubBackend, answer: Answer, kind: type[BackendError]
) -> None:
    stub.plan(answer)
    with pytest.raises(kind):
        read(backend)
    assert len(stub.dialogs) == 1


@pytest.mark.parametrize("status", [429, 503])
def test_a_reply_that_had_begun_waits_for_room(backend: Backend, stub: StubBackend, status: int) -> None:
    stub.plan(Answer(dies_after=1), Answer(status=status, headers={"Retry-After": "0"}))
    items = read(backend)
    assert (text(items), told(items[-1])) == (Answer().text, 2)


def test_a_wait_beyond_the_deadline_is_not_begun(backend: Backend, stub: StubBackend) -> None:
    stub.plan(Answer(dies_after=1), Answer(status=429, headers={"Retry-After": "31"}))
    with pytest.raises(Interrupted, match="broke off .* queues are full") as error:
        read(backend)
    assert error.value.retry_after == 31
    assert len(stub.dialogs) == 2


def test_the_backends_wish_to_be_asked_later_is_heard(backend: Backend, stub: StubBackend) -> None:
    stub.plan(Answer(status=503, by_proxy=True, headers={"Retry-After": "0.3"}))
    begun = time.monotonic()
    assert text(read(backend)) == Answer().text
    assert time.monotonic() - begun >= 0.3


def test_pauses_grow_and_their_number_is_bounded(
    backend: Backend, stub: StubBackend, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("frontend.asking.PAUSES_SECONDS", (0.2, 0.4, 0.8))
    pauses: list[float] = []

    def pause(_: Line, seconds: float) -> bool:
        pauses.append(seconds)
        return True

    monkeypatch.setattr(Line, "pause", pause)
    stub.plan(*(Answer(dies_after=1) for _ in range(9)))
    with pytest.raises(Interrupted, match="broke off"):
        read(backend)
    assert len(stub.dialogs) == 4
    assert pauses == [pytest.approx(pause, rel=0.26) for pause in (0.2, 0.4, 0.8)]


def test_a_backend_that_stays_away_after_it_had_begun_broke_off(backend: Backend, stub: StubBackend) -> None:
    stub.plan(answer := Answer(hold_after=1))
    items = whole_reply(backend, QUESTION, Line(), SECONDS)
    assert next(items) == Token(text="A pod is ")
    stub.stop()
    answer.release.set()
    with pytest.raises(Interrupted, match="broke off .* cannot be reached"):
        list(items)


def test_hanging_up_ends_the_pause(backend: Backend, stub: StubBackend, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("frontend.asking.PAUSES_SECONDS", (3_600.0,))
    stub.plan(Answer(dies_after=1))
    line = Line()
    items = whole_reply(backend, QUESTION, line, 10_000)
    assert next(items) == Token(text="A pod is ")
    threading.Timer(0.1, line.hang_up).start()
    with pytest.raises(Interrupted):
        next(items)
    assert len(stub.dialogs) == 1


class Attempts(Backend):
    """Answers with the tokens of each attempt in turn; every one but the last breaks off."""

    def __init__(self, attempts: list[list[str]]) -> None:
        self._attempts = iter(attempts)
        self._left = len(attempts)

    def chat(self, question: Question, line: Line) -> Iterator[Start | Token | Done]:
        tokens = next(self._attempts)
        self._left -= 1
        yield from (Token(text=token) for token in tokens)
        if self._left:
            raise Interrupted("broke off", broken=True)
        yield Done(response="".join(tokens))


TOKENS = st.lists(st.text("ab", max_size=3), max_size=6)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(attempts=st.lists(TOKENS, min_size=1, max_size=4))
def test_the_reader_has_the_last_attempts_text_or_its_beginning_was_shown_before(attempts: list[list[str]]) -> None:
    """Whatever the attempts say: pieces are appended, a restart empties, and `done` tells the rest."""
    shown = ""
    for item in whole_reply(Attempts(attempts), QUESTION, Line(), SECONDS):
        if isinstance(item, Token):
            assert item.text
            shown += item.text
        elif isinstance(item, Restart):
            shown = ""
        else:
            assert shown.startswith(item.response)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(whole=TOKENS.map("".join), cuts=st.lists(st.integers(0, 18), max_size=4))
def test_a_reply_that_stays_the_same_is_never_restarted(whole: str, cuts: list[int]) -> None:
    attempts = [list(whole[:cut]) for cut in cuts] + [[whole]]
    items = list(whole_reply(Attempts(attempts), QUESTION, Line(), SECONDS))
    assert not any(isinstance(item, Restart) for item in items)
    assert text(items) == whole


def test_another_reply_takes_the_place_of_what_was_shown() -> None:
    items = list(whole_reply(Attempts([["A pod", " is"], ["A po", "t boils."]]), QUESTION, Line(), SECONDS))
    assert items[:-1] == [Token(text="A pod"), Token(text=" is"), Restart(), Token(text="A pot boils.")]
