"""What the step loop says of itself."""

from collections.abc import Callable
from typing import Any

import pytest

from serve_app.engine.measures import Totals
from serve_app.messages import Candidate, Sampling
from tests.engine.conftest import MakeStepped
from tests.engine.support import Clock


def test_differences_of_totals_are_exact() -> None:
    totals = Totals(steps=[0, 0, 0])
    totals.steps[1], totals.tokens, totals.busy_s = 5, 5, 1.0
    before = totals.copy()
    totals.steps[2], totals.tokens, totals.guessed, totals.accepted, totals.busy_s = 3, 11, 4, 2, 1.5
    assert totals.since(before) == Totals(steps=[0, 0, 3], tokens=6, guessed=4, accepted=2, busy_s=0.5)
    assert before.steps == [0, 5, 0]


async def test_times_of_replies_and_of_the_loop(stepped: MakeStepped, monkeypatch: pytest.MonkeyPatch) -> None:
    """One slot: the second request waits for the first. Encoding takes 2 s, a step 1 s."""
    clock = Clock()

    def taking(seconds: float, work: Callable[..., Any]) -> Callable[..., Any]:
        def work_slowly(*arguments: Any) -> Any:
            clock.now += seconds
            return work(*arguments)

        return work_slowly

    engine = stepped(slots=1, clock=clock, encoding_cache_bytes=2**20)
    monkeypatch.setattr(engine._encoder_cache, "_encode", taking(2, engine._encoder_cache._encode))
    monkeypatch.setattr(engine._model, "step", taking(1, engine._model.step))
    first = engine.ask([2, 3, 4], Sampling(max_length=4))
    second = engine.ask([2, 3, 4], Sampling(max_length=3))
    while not engine.idle:
        engine.step()
    assert (first.times.queue_s, second.times.queue_s) == (0, 2 + 3)
    assert first.times.first_token == first.times.submitted + 2 + 1
    assert (first.times.tokens, first.times.token_s) == (3, 1)
    assert second.times.tokens == 2
    assert engine.totals == Totals(steps=[0, 5], tokens=5, busy_s=2 + 5, encode_s=2, encodings_kept=1, encodings_made=1)


async def test_a_reply_that_is_chosen_whole_has_no_time_per_token(stepped: MakeStepped) -> None:
    engine = stepped(clock=Clock())
    reply = engine.ask([2, 3, 1], Sampling(max_length=10), candidates=[Candidate((2, 3, 1)), Candidate((4, 1))])
    engine.step()
    assert reply.times.queue_s == 0
    assert reply.times.token_s is None
    assert engine.totals.tokens == reply.times.tokens == 3
    assert sum(engine.totals.steps) == 0
