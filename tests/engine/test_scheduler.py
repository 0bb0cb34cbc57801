"""Who runs, in which order, in which slot."""

import random
from collections.abc import Callable
from dataclasses import dataclass
from itertools import count
from typing import cast

import pytest

from serve_app.engine.request import Request, TokenIds
from serve_app.engine.scheduler import Move, Scheduler
from serve_app.engine.token_stream import TokenStream
from serve_app.engine.trie import Trie, make_trie
from serve_app.messages import Candidate, Sampling

_newest = count()


@dataclass
class Unread:
    """All that the scheduler looks at of a reply."""

    cancelled: bool = False


def request(
    tokens: int = 1, deadline: float = 100, *, prompt: TokenIds | None = None, trie: Trie | None = None
) -> Request:
    """One with a prompt of its own, of so many tokens, or with the given one."""
    prompt = prompt or (next(_newest),) * tokens
    return Request(prompt, Sampling(), 0, deadline, cast(TokenStream, Unread()), trie=trie)


CHOICE = make_trie([Candidate((5, 6, 1)), Candidate((5, 7, 1))], start_token=0)  # of two nodes


def scheduler(
    *waiting: Request,
    slots: int = 4,
    max_waiting: int = 100,
    prefill_tokens: int = 10_000,
    cost: Callable[[TokenIds], int] = len,
) -> Scheduler:
    made = Scheduler(slots=slots, max_waiting=max_waiting, prefill_tokens=prefill_tokens, cost=cost)
    for one in waiting:
        made.add(one)
    return made


# --- in which order -------------------------------------------------------------------------------------------------


def test_first_come_first_served_where_deadlines_are_equal() -> None:
    requests = [request() for _ in range(6)]
    made = scheduler(*requests, slots=4)
    assert made.admit() == requests[:4] == made.running
    assert made.waiting == requests[4:]
    assert made.admit() == []


def test_a_nearer_deadline_overtakes() -> None:
    late, early, later, as_early = (request(deadline=deadline) for deadline in (20, 10, 30, 10))
    made = scheduler(late, early, later, as_early, slots=3)
    assert made.admit() == [early, as_early, late]
    assert made.waiting == [later]


def test_no_request_is_overtaken_for_ever() -> None:
    """Newcomers with 10 s each take the one slot every second; who has 30 s goes before those that come after 20 s."""
    patient = request(deadline=30)
    made = scheduler(patient, slots=1)
    admitted_at = None
    for now in range(30):
        made.add(request(deadline=now + 10))
        if made.admit() == [patient]:
            admitted_at = now
        made.leave(made.running)
    assert admitted_at == 20


# --- how many tokens are encoded ------------------------------------------------------------------------------------


def test_a_step_admits_only_so_many_prompt_tokens() -> None:
    requests = [request(40), request(50), request(11), request(5)]
    made = scheduler(*requests, prefill_tokens=100)
    assert made.admit() == requests[:2]
    assert made.admit() == requests[2:]


def test_no_request_overtakes_a_long_prompt() -> None:
    short, long, last = request(10), request(95), request(1)
    made = scheduler(short, long, last, prefill_tokens=100)
    assert [made.admit(), made.admit()] == [[short], [long, last]]


def test_a_prompt_larger_than_the_budget_is_admitted_alone() -> None:
    huge, next_one = request(1000), request(1)
    made = scheduler(huge, next_one, prefill_tokens=100)
    assert [made.admit(), made.admit()] == [[huge], [next_one]]


def test_what_is_at_hand_costs_nothing() -> None:
    """Three that cost nothing go with one that fills the budget, and with one that is larger than it."""
    known = (1, 2, 3)
    for tokens in (100, 1000):
        requests = [request(prompt=known), request(tokens), request(prompt=known), request(prompt=known), request()]
        made = scheduler(*requests, slots=9, prefill_tokens=100, cost=lambda prompt: len(prompt) * (prompt != known))
        assert [made.admit(), made.admit()] == [requests[:4], requests[4:]]


def test_equal_prompts_cost_as_much_as_one() -> None:
    twins = [request(prompt=(7,) * 60) for _ in range(3)]
    other, another = request(40), request(1)
    made = scheduler(*twins, other, another, slots=9, prefill_tokens=100)
    assert [made.admit(), made.admit()] == [[*twins, other], [another]]


def test_a_choice_costs_its_trie_and_its_prompt_once_more_as_keys_and_values() -> None:
    """With its prompt's encoding at hand, too."""
    requests = [request(40, trie=CHOICE), request(36, trie=CHOICE), request(9)]
    assert [one.scoring_cost for one in requests] == [12, 11, 0]
    assert scheduler(*requests, prefill_tokens=40 + 12 + 36 + 11 + 9).admit() == requests
    assert scheduler(*requests, prefill_tokens=40 + 12 + 36 + 11 + 8).admit() == requests[:2]
    assert scheduler(*requests, prefill_tokens=12 + 10, cost=lambda _: 0).admit() == requests[:1]


# --- in which slot, and who leaves ----------------------------------------------------------------------------------


def test_the_last_one_moves_into_a_slot_that_becomes_free() -> None:
    a, b, c, d = (request() for _ in range(4))
    made = scheduler(a, b, c, d)
    made.admit()
    assert made.leave([b]) == [Move(source=3, target=1)]
    assert made.running == [a, d, c]
    assert made.leave([c]) == []
    assert made.leave([a, d]) == [Move(source=1, target=0)]
    assert made.idle


def test_who_chooses_takes_no_slot_and_overtakes_only_who_waits_for_one() -> None:
    runs, waits, *choose = request(), request(deadline=1), request(trie=CHOICE), request(trie=CHOICE)
    made = scheduler(runs, slots=1)
    made.admit()
    for one in (waits, *choose):
        made.add(one)
    assert made.admit() == choose == made.scoring
    assert (made.running, made.waiting) == ([runs], [waits])
    assert made.leave(choose) == []
    assert (made.running, made.scoring) == ([runs], [])
    made.leave([runs])
    made.add(request(trie=CHOICE))
    assert made.admit()[0] is waits


def test_who_is_cancelled_or_late_is_dropped_from_queue_and_slots() -> None:
    runs, runs_late, runs_cancelled, waits, waits_late, waits_cancelled = (
        request(deadline=10 if late else 20) for late in (0, 1, 0, 0, 1, 0)
    )
    made = scheduler(runs_late, runs, runs_cancelled, slots=3)
    made.admit()
    for one in (waits_late, waits, waits_cancelled):
        made.add(one)
    assert made.drop_expired(now=9.9) == ([], [])
    runs_cancelled.stream.cancelled = waits_cancelled.stream.cancelled = True
    over, moves = made.drop_expired(now=10)
    assert set(map(id, over)) == set(map(id, (runs_late, runs_cancelled, waits_late, waits_cancelled)))
    assert (made.running, made.waiting) == ([runs], [waits])
    assert moves == [Move(source=2, target=0), Move(source=1, target=0)]


def test_full_when_slots_and_queue_are_taken() -> None:
    made = scheduler(slots=2, max_waiting=1)
    for _ in range(3):
        assert not made.full
        made.add(request())
    assert made.full
    made.admit()
    assert made.full
    made.leave(made.running[:1])
    assert not made.full


@pytest.mark.parametrize("seed", range(20))
def test_slots_have_no_gap_and_hold_what_the_moves_say(seed: int) -> None:
    """Any sequence of arrivals, endings, cancellations and deadlines, against caches that only follow the moves."""
    chance = random.Random(seed)
    made = scheduler(slots=6, prefill_tokens=20)
    arrived: list[Request] = []
    admitted = 0
    caches: list[Request | None] = [None] * 6

    def follow(moves: list[Move]) -> None:
        for move in moves:
            caches[move.target] = caches[move.source]

    for now in range(200):
        for _ in range(chance.randrange(3)):
            arrived.append(request(chance.randint(1, 25), deadline=now + chance.randint(1, 40)))
            made.add(arrived[-1])
        for one in chance.sample(arrived, min(1, len(arrived))):
            one.stream.cancelled |= chance.random() < 0.2
        over, moves = made.drop_expired(now)
        assert all(one.is_expired(now) for one in over)
        follow(moves)
        newly = made.admit()
        for slot, one in enumerate(newly, start=len(made.running) - len(newly)):
            caches[slot] = one
        admitted += len(newly)
        follow(made.leave(chance.sample(made.running, chance.randint(0, min(2, len(made.running))))))
        assert len(made.running) <= 6
        assert caches[: len(made.running)] == made.running
        assert not any(one.is_expired(now) for one in (*made.running, *made.waiting))
    assert admitted > 20


@pytest.mark.parametrize("seed", range(20))
def test_as_many_go_as_fit_in_the_order_of_deadlines_then_of_arrival(seed: int) -> None:
    """Any arrivals, some with a prompt that others have or whose encoding is at hand."""
    chance = random.Random(seed)
    prompts: list[TokenIds] = [(number,) * chance.randint(1, 25) for number in range(30)]
    at_hand = set(prompts[:5])

    def cost(prompt: TokenIds) -> int:
        return 0 if prompt in at_hand else len(prompt)

    def spent(requests: list[Request]) -> list[int]:
        return [cost(prompt) for prompt in {one.prompt for one in requests} if cost(prompt)]

    made = scheduler(slots=6, prefill_tokens=20, cost=cost)
    waiting: list[Request] = []
    for _ in range(200):
        for _ in range(chance.randrange(4) if len(waiting) < 30 else 0):
            waiting.append(request(prompt=chance.choice(prompts), deadline=chance.randrange(10)))
            made.add(waiting[-1])
        in_order = sorted(waiting, key=lambda one: one.deadline)  # stable: those that came first stay first
        newly = made.admit()
        waiting = [one for one in waiting if one not in newly]
        assert newly == in_order[: len(newly)]
        assert sum(spent(newly)) <= 20 or len(spent(newly)) == 1
        if waiting and len(made.running) < 6:
            assert sum(spent([*newly, in_order[len(newly)]])) > 20, "one more would have fitted"
        made.leave(chance.sample(made.running, chance.randint(0, len(made.running))))
