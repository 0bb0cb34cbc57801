"""What the frontend's processes tell each other of a reply, by databases of both kinds."""

from collections.abc import Callable

import pytest

from frontend.drafts import Draft
from frontend.errors import NothingToStop
from frontend.library import Library
from frontend.models import Exchange
from frontend.origin import Origin
from frontend.relay import Relay, Wishes
from frontend.store import ChatStore, Claim, Pending, is_whole
from tests.frontend.conftest import FakeClock

NOTHING = Wishes(stop=frozenset(), show=frozenset())


@pytest.fixture
def writer(make_relay: Callable[[], Relay]) -> Relay:
    return make_relay()


@pytest.fixture
def reader(make_relay: Callable[[], Relay]) -> Relay:
    return make_relay()


def shown(reader: Relay, claim: Claim, session: str = "s") -> Pending:
    pending = reader.ask_to_show(session, claim.conversation_id, claim.position)
    assert pending is not None
    return pending


def test_a_reply_is_stopped_from_another_process(store: ChatStore, writer: Relay, reader: Relay) -> None:
    old = store.begin("s", "", "old")
    store.finish(old, "answered", {})
    claim, other = store.begin("s", old.conversation_id, "q"), store.begin("t", "", "q")
    for session, position in (("s", old.position), ("s", 9), ("t", claim.position)):
        with pytest.raises(NothingToStop):
            reader.ask_to_stop(session, claim.conversation_id, position)
        assert reader.ask_to_show(session, claim.conversation_id, position) is None
    tokens = [claim.token, other.token]
    assert writer.wishes(tokens) == NOTHING
    reader.ask_to_stop("s", claim.conversation_id, claim.position)
    assert writer.wishes(tokens) == Wishes(stop=frozenset({claim.token}), show=frozenset())
    assert writer.wishes([other.token]) == NOTHING
    assert store.read("s", claim.conversation_id).writing
    store.finish(claim, "complete before it was seen", {})
    assert is_whole(store.read("s", claim.conversation_id).exchanges[-1])
    assert writer.wishes(tokens) == NOTHING
    with pytest.raises(NothingToStop):
        reader.ask_to_stop("s", claim.conversation_id, claim.position)


def test_a_stop_that_nobody_carried_out_ends_with_the_claim(
    store: ChatStore, writer: Relay, reader: Relay, clock: FakeClock
) -> None:
    claim = store.begin("s", "", "q")
    reader.ask_to_stop("s", claim.conversation_id, claim.position)
    clock.advance(31)
    with pytest.raises(NothingToStop):
        reader.ask_to_stop("s", claim.conversation_id, claim.position)
    assert writer.wishes([store.retry("s", claim.conversation_id, claim.position).token]) == NOTHING


def test_a_draft_is_kept_when_it_is_asked_for_and_ends_with_the_reply(
    store: ChatStore, writer: Relay, reader: Relay
) -> None:
    claim = store.begin("s", "", "q")
    pending = shown(reader, claim)
    assert (pending.position, pending.parent, pending.versions) == (claim.position, claim.parent, claim.versions)
    assert reader.progress(pending) == Draft()
    assert writer.wishes([claim.token]) == Wishes(stop=frozenset(), show=frozenset({claim.token}))
    draft = Draft(number=2, text="half \0 a \ud83d", origin=Origin(replica_id="r", podName="p"))
    writer.keep({claim: draft})
    assert reader.progress(pending) == draft.model_copy(update={"text": "half � a �"})
    assert shown(reader, claim) == pending  # asked for again, it is not lost
    assert reader.progress(pending) != Draft()
    store.finish(claim, "half a loaf", {})
    ended = reader.progress(pending)
    assert isinstance(ended, Exchange) and ended.reply == "half a loaf" and ended.draft is None


def test_who_has_lost_the_claim_keeps_no_draft(
    store: ChatStore, writer: Relay, reader: Relay, clock: FakeClock
) -> None:
    lost = store.begin("s", "", "q")
    pending = shown(reader, lost)
    clock.advance(31)
    assert isinstance(reader.progress(pending), Exchange)  # its writer has crashed: nothing more will come
    retried = store.retry("s", lost.conversation_id, lost.position)
    again = shown(reader, retried)
    assert reader.progress(again) == Draft()
    writer.keep({lost: Draft(text="too late")})
    assert reader.progress(again) == Draft()


def test_a_chat_that_was_deleted_meanwhile(store: ChatStore, reader: Relay, library: Library) -> None:
    claim = store.begin("s", "", "q")
    pending = shown(reader, claim)
    library.delete("s", claim.conversation_id)
    assert reader.progress(pending) is None
