"""Who runs, in which order, in which slot."""

import random
from dataclasses import dataclass

import pytest

from serve_app.engine.sampling import Choice
from serve_app.engine.scheduler import Ending, Move, Request, Scheduler
from serve_app.messages import Sampling


@dataclass
class Silent:
    """A reader that takes nothing."""

    cancelled: bool = False

    def put(self, tokens: list[int], ending: Ending | None) -> None:
        raise NotImplementedError


def request(
    tokens: int = 1, deadline: float = 100, *, max_length: int = 8, written: list[int] | None = None
) -> Request:
    return Request([5] * tokens, Choice(Sampling(max_length=max_length), written or [0]), deadline, Silent())


def scheduler(*waiting: Request, slots: int = 4, max_waiting: int = 100, prefill_tokens: int = 10_000) -> Scheduler:
    made = Scheduler(slots=slots, max_waiting=max_waiting, prefill_tokens=prefill_tokens)
    made.waiting.extend(waiting)
    return made


def test_first_come_first_served() -> None:
    requests = [request() for _ in range(6)]
    made = scheduler(*requests, slots=4)
    assert made.admit() == requests[:4] == made.running
    assert list(made.waiting) == requests[4:]
    assert made.admit() == []


def test_a_step_admits_only_so_many_prompt_tokens() -> None:
    requests = [request(40), request(50), request(11), request(5)]
    made = scheduler(*requests, prefill_tokens=100)
    assert made.admit() == requests[:2]
    assert made.admit() == requests[2:]


def test_nobody_overtakes_a_long_prompt() -> None:
    short, long, last = request(10), request(95), request(1)
    made = scheduler(short, long, last, prefill_tokens=100)
    assert [made.admit(), made.admit()] == [[short], [long, last]]


def test_a_prompt_larger_than_the_budget_is_admitted_alone() -> None:
    huge, next_one = request(1000), request(1)
    made = scheduler(huge, next_one, prefill_tokens=100)
    assert [made.admit(), made.admit()] == [[huge], [next_one]]


def test_the_last_one_moves_into_a_slot_that_becomes_free() -> None:
    a, b, c, d = (request() for _ in range(4))
    made = scheduler(a, b, c, d)
    made.admit()
    assert made.leave([b]) == [Move(source=3, target=1)]
    assert made.running == [a, d, c]
    assert made.leave([c]) == []
    assert made.leave([a, d]) == [Move(source=1, target=0)]
    assert made.idle


def test_who_is_cancelled_or_late_is_dropped_from_queue_and_slots() -> None:
    runs, runs_late, runs_cancelled, waits, waits_late, waits_cancelled = (
        request(deadline=10 if late else 20) for late in (0, 1, 0, 0, 1, 0)
    )
    made = scheduler(runs_late, runs, runs_cancelled, waits_late, waits, waits_cancelled, slots=3)
    made.admit()
    assert made.drop_over(now=9.9) == ([], [])
    runs_cancelled.reader.cancelled = waits_cancelled.reader.cancelled = True
    over, moves = made.drop_over(now=10)
    assert set(map(id, over)) == set(map(id, (runs_late, runs_cancelled, waits_late, waits_cancelled)))
    assert (made.running, list(made.waiting)) == ([runs], [waits])
    assert moves == [Move(source=2, target=0), Move(source=1, target=0)]


def test_full_when_slots_and_queue_are_taken() -> None:
    made = scheduler(slots=2, max_waiting=1)
    for _ in range(3):
        assert not made.full
        made.waiting.append(request())
    assert made.full
    made.admit()
    assert made.full
    made.leave(made.running[:1])
    assert not made.full


@pytest.mark.parametrize(
    ("written", "ending"),
    [([0], None), ([0, 5, 6], None), ([0, 5, 1], "stop"), ([0, 5, 6, 7], "length"), ([0, 5, 6, 1], "stop")],
)
def test_a_reply_ends_with_eos_or_at_max_length(written: list[int], ending: Ending | None) -> None:
    assert request(max_length=4, written=written).ending(eos_token=1) == ending


@pytest.mark.parametrize("seed", range(20))
def test_slots_have_no_gap_and_hold_what_the_moves_say(seed: int) -> None:
    """Any sequence of arrivals, endings, cancellations and deadlines, against caches that only follow the moves."""
    chance = random.Random(seed)
    made = scheduler(slots=6, prefill_tokens=20)
    arrived: list[Request] = []
    admitted: list[Request] = []
    caches: list[Request | None] = [None] * 6

    def follow(moves: list[Move]) -> None:
        for move in moves:
            caches[move.target] = caches[move.source]

    for now in range(200):
        for _ in range(chance.randrange(3)):
            arrived.append(request(chance.randint(1, 25), deadline=now + chance.randint(1, 40)))
            made.waiting.append(arrived[-1])
        for one in chance.sample(arrived, min(1, len(arrived))):
            one.reader.cancelled |= chance.random() < 0.2
        over, moves = made.drop_over(now)
        assert all(one.is_over(now) for one in over)
        follow(moves)
        newly = made.admit()
        for slot, one in enumerate(newly, start=len(made.running) - len(newly)):
            caches[slot] = one
        admitted += newly
        assert len(newly) <= 1 or sum(len(one.prompt) for one in newly) <= 20
        follow(made.leave(chance.sample(made.running, chance.randint(0, min(2, len(made.running))))))
        assert len(made.running) <= 6
        assert caches[: len(made.running)] == made.running
        assert not any(one.is_over(now) for one in (*made.running, *made.waiting))
    assert admitted == [one for one in arrived if one in admitted], "first come, first served"
    assert len(admitted) > 20
