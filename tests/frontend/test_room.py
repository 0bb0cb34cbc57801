"""A full store is counted now and then, and stays within its limit by as much as one count allows."""

from collections.abc import Callable

import pytest
from sqlalchemy import Engine, func, select

from frontend.errors import Busy
from frontend.models import Conversation
from frontend.room import COUNT_SECONDS
from frontend.store import ChatStore
from tests.frontend.conftest import FakeClock

LIMIT, PLACES = 6, 3  # of all conversations; that one count gives away

MakeStore = Callable[..., ChatStore]


@pytest.fixture(autouse=True)
def few_places(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("frontend.room.SLACK", LIMIT // PLACES)


def kept(engine: Engine) -> int:
    with engine.connect() as connection:
        return connection.scalar(select(func.count()).select_from(Conversation)) or 0


def begin(store: ChatStore, number: int = 1) -> None:
    for _ in range(number):
        claim = store.begin("s", "", "question")
        store.finish(claim, "answer", {})


def test_where_it_is_full_the_longest_unused_make_room_for_some(
    make_store: MakeStore, engine: Engine, clock: FakeClock
) -> None:
    store = make_store(max_conversations=LIMIT, conversation_keep_seconds=60)
    begin(store, LIMIT)
    clock.advance(61)
    begin(store)
    assert kept(engine) == LIMIT - PLACES
    begin(store, PLACES)
    assert kept(engine) == LIMIT


def test_processes_that_do_not_know_of_each_other_pass_the_limit_by_no_more_than_a_count_allows(
    make_store: MakeStore, engine: Engine, clock: FakeClock
) -> None:
    stores = [make_store(max_conversations=LIMIT, conversation_keep_seconds=60) for _ in range(2)]
    for store in stores:
        begin(store)
    for store in stores:
        with pytest.raises(Busy):
            begin(store, LIMIT)
    assert LIMIT <= kept(engine) <= LIMIT + PLACES
    clock.advance(COUNT_SECONDS + 1)
    begin(stores[0])
    assert kept(engine) <= LIMIT
