"""What is told of a reply once it has ended."""

import asyncio

import pytest

from serve_app.errors import (
    DeadlineExceeded,
    InvalidRequest,
    NoReplica,
    Overloaded,
    ReplyImpossible,
    ReplyInterrupted,
    Starting,
)
from serve_app.outcomes import Outcome, recording


def outcomes_of(error: BaseException | None, tokens: int = 0) -> list[Outcome]:
    recorded: list[Outcome] = []
    try:
        with recording(recorded.append) as outcome:
            if tokens:
                outcome.note_tokens(tokens)
            if error:
                raise error
    except BaseException as raised:
        assert raised is error
    return recorded


@pytest.mark.parametrize(
    ("error", "ending"),
    [
        (None, "done"),
        (asyncio.CancelledError(), "cancelled"),
        (GeneratorExit(), "cancelled"),
        (DeadlineExceeded("late"), "deadline"),
        (ReplyInterrupted("lost"), "failed"),
        (ReplyImpossible("not finite"), "failed"),
        (RuntimeError("a bug"), "failed"),
        (Overloaded("full when it moved to another replica"), "failed"),
    ],
)
def test_each_reply_has_one_ending(error: BaseException | None, ending: str) -> None:
    (outcome,) = outcomes_of(error, tokens=3)
    assert outcome.ending == ending
    assert outcome.reply_tokens == 3
    assert outcome.first_token_s is not None
    assert 0 <= outcome.first_token_s <= outcome.total_s


@pytest.mark.parametrize("error", [InvalidRequest("dialog"), Overloaded("full"), NoReplica("none"), Starting("soon")])
def test_a_refused_request_is_no_reply(error: Exception) -> None:
    assert outcomes_of(error) == []


def test_a_deadline_may_pass_before_the_first_token() -> None:
    (outcome,) = outcomes_of(DeadlineExceeded("late"))
    assert (outcome.ending, outcome.first_token_s) == ("deadline", None)


def test_a_reply_that_was_handed_out_whole_is_done_though_its_reader_leaves_at_once() -> None:
    recorded: list[Outcome] = []
    with pytest.raises(GeneratorExit), recording(recorded.append) as outcome:
        outcome.ending = "done"
        raise GeneratorExit
    assert [each.ending for each in recorded] == ["done"]
