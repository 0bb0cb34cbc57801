"""Room is asked for before work: how much there is, whose it is, and when to come back."""

from contextlib import ExitStack

import pytest
from hypothesis import given
from hypothesis import strategies as st

from serve_app.admission import Admission
from serve_app.errors import Overloaded


class House(Admission):
    """Four slots, four places to wait, and a clock that stands still."""

    def __init__(self) -> None:
        self.now = 0.0
        self.inside = ExitStack()
        super().__init__(slots=lambda: 4, max_waiting=4, clock=lambda: self.now)

    def come(self, client: str = "a", budget_s: float = 60) -> None:
        self.inside.enter_context(self.enter(client, budget_s))

    def all_leave(self) -> None:
        self.inside.close()


def test_there_is_room_for_all_slots_and_all_places_to_wait() -> None:
    house = House()
    for _ in range(8):
        house.come()
    with pytest.raises(Overloaded, match="full"):
        house.come()
    house.all_leave()
    house.come()


def test_who_leaves_by_an_error_leaves_too() -> None:
    house = House()
    with pytest.raises(ZeroDivisionError), house.enter("a", 60):
        raise ZeroDivisionError
    assert house.in_flight == 0


def test_who_holds_a_share_does_not_wait_where_others_do() -> None:
    house = House()
    for _ in range(4):
        house.come("greedy")
    house.come("modest")
    with pytest.raises(Overloaded, match="share"):
        house.come("greedy")
    house.come("modest")
    house.come("third")


def test_no_slot_stays_empty_for_the_sake_of_shares() -> None:
    house = House()
    house.come("modest")
    for _ in range(3):
        house.come("greedy")
    with pytest.raises(Overloaded, match="full"):
        for number in range(5):
            house.come(f"one of many {number}")
    house.all_leave()
    for _ in range(4):  # its share is one
        house.come("greedy")


def test_a_client_who_was_refused_counts_as_waiting() -> None:
    house = House()
    for _ in range(8):
        house.come("greedy")
    with pytest.raises(Overloaded, match="full"):
        house.come("modest")
    house.all_leave()
    for _ in range(4):
        house.come("greedy")
    with pytest.raises(Overloaded, match="share"):
        house.come("greedy")
    house.now = 6  # the other has not come again
    house.come("greedy")


def test_a_client_is_present_for_as_long_as_its_request_takes() -> None:
    house = House()
    house.come("modest")
    house.now = 20
    for _ in range(4):
        house.come("greedy")
    with pytest.raises(Overloaded, match="share"):
        house.come("greedy")


def test_retry_after_follows_the_queue_and_the_rate() -> None:
    house = House()
    for second in range(8):  # one a second leaves
        house.now = second
        with house.enter("a", 60):
            pass
    for _ in range(8):
        house.come()
    with pytest.raises(Overloaded) as refusal:
        house.come()
    assert refusal.value.retry_after_s == 5  # until five of those before have left


def test_a_request_that_would_wait_beyond_its_deadline_is_refused_at_once() -> None:
    house = House()
    for second in range(8):
        house.now = second
        with house.enter("a", 60):
            pass
    for _ in range(6):
        house.come()
    with pytest.raises(Overloaded, match="too long for a reply within 2 s"):
        house.come(budget_s=2)
    house.come(budget_s=60)


@given(st.lists(st.tuples(st.sampled_from("abc"), st.booleans()), max_size=60))
def test_never_more_than_the_room_and_nothing_is_forgotten(events: list[tuple[str, bool]]) -> None:
    house = House()
    inside: list[ExitStack] = []
    for client, comes in events:
        house.now += 0.1
        if comes:
            stack = ExitStack()
            try:
                stack.enter_context(house.enter(client, 60))
            except Overloaded as refusal:
                assert 1 <= (refusal.retry_after_s or 0) <= 30
            else:
                inside.append(stack)
        elif inside:
            inside.pop(0).close()
        assert house.in_flight == len(inside) <= 8
    for stack in inside:
        stack.close()
    assert house.in_flight == 0 and not house._held
