"""The store's laws: nothing said is lost, one reply at a time, no claim forever. On SQLite and on PostgreSQL."""

import threading
from collections.abc import Callable

import pytest

from frontend.database import open_engine
from frontend.errors import (
    Busy,
    ClaimLost,
    ConversationGone,
    NoSuchMessage,
    ReplyInProgress,
    StoreUnavailable,
    TooMany,
)
from frontend.store import ChatStore, Claim, Snapshot, is_whole
from tests.frontend.conftest import FakeClock, MakeSettings

KEEP_SECONDS = 3_600
MakeStore = Callable[..., ChatStore]
HARD_TEXT = "<script>alert(1)</script> שלום 🙂 \N{RIGHT-TO-LEFT OVERRIDE} ' \" \\ %s :x"


@pytest.fixture
def store(make_store: MakeStore) -> ChatStore:
    return make_store(
        claim_seconds=30,
        max_turns_sent=5,
        max_exchanges_kept=4,
        max_conversations=3,
        conversation_keep_seconds=KEEP_SECONDS,
    )


def read(store: ChatStore, session: str = "s") -> Snapshot:
    snapshot = store.latest(session)
    assert snapshot is not None
    return snapshot


def say(store: ChatStore, message: str, reply: str | None = None, session: str = "s") -> Claim:
    """Send a message in the latest chat; with `reply` it is answered, without it fails."""
    snapshot = store.latest(session)
    claim = store.begin(session, snapshot.id if snapshot else "", message)
    if reply is None:
        store.fail(claim, "busy", "Full.")
    else:
        store.finish(claim, reply, {"request_id": "r"})
    return claim


def test_nothing_said_is_no_conversation(store: ChatStore) -> None:
    assert store.latest("s") is None


def test_a_message_is_stored_before_its_reply(store: ChatStore) -> None:
    store.begin("s", "", HARD_TEXT)
    (exchange,) = read(store).exchanges
    assert (exchange.message, exchange.reply) == (HARD_TEXT, None)
    assert read(store).writing


def test_a_complete_reply_is_stored_with_its_origin(store: ChatStore, clock: FakeClock) -> None:
    claim = store.begin("s", "", "question")
    clock.advance(2)
    store.finish(claim, HARD_TEXT, {"replica_id": "r1", "left_off": 0})
    snapshot = read(store)
    assert not snapshot.writing
    assert snapshot.exchanges[0].reply == HARD_TEXT
    assert snapshot.exchanges[0].origin == {"replica_id": "r1", "left_off": 0}
    assert snapshot.exchanges[0].replied_at == clock.now


def test_another_process_reads_the_same(store: ChatStore, make_store: MakeStore) -> None:
    say(store, "question", "answer")
    assert [e.reply for e in read(make_store()).exchanges] == ["answer"]


def test_nul_reaches_no_database(store: ChatStore) -> None:
    """PostgreSQL refuses NUL in text, with an error that would have lost the message."""
    say(store, "a\0b", "c\0d")
    assert [(e.message, e.reply) for e in read(store).exchanges] == [("a\ufffdb", "c\ufffdd")]


def test_sessions_do_not_see_each_other(store: ChatStore) -> None:
    say(store, "mine", "yours?")
    say(store, "other", "reply", session="t")
    assert [e.message for e in read(store).exchanges] == ["mine"]
    with pytest.raises(ConversationGone):
        store.begin("t", read(store).id, "into a foreign conversation")
    with pytest.raises(ConversationGone):
        store.retry("t", read(store).id, 1)


def test_the_whole_dialogue_is_sent(store: ChatStore) -> None:
    say(store, "q1", "a1")
    say(store, "q2", "a2")
    claim = store.begin("s", read(store).id, "q3")
    assert (claim.dialog, claim.left_off) == (("q1", "a1", "q2", "a2", "q3"), 0)


def test_older_turns_beyond_the_limit_are_left_off_and_counted(store: ChatStore) -> None:
    for number in range(1, 4):
        say(store, f"q{number}", f"a{number}")
    claim = store.begin("s", read(store).id, "q4")
    assert (claim.dialog, claim.left_off) == (("q2", "a2", "q3", "a3", "q4"), 2)


def test_turns_alternate_though_some_were_never_answered(store: ChatStore) -> None:
    say(store, "q1", "a1")
    say(store, "unanswered")
    say(store, "blank", "  ")
    claim = store.begin("s", read(store).id, "q2")
    assert claim.dialog == ("q1", "a1", "q2")
    assert [e.message for e in read(store).exchanges] == ["q1", "unanswered", "blank", "q2"]


def test_the_oldest_exchanges_make_room(store: ChatStore) -> None:
    for number in range(1, 7):
        say(store, f"q{number}", "a")
    snapshot = read(store)
    assert [e.message for e in snapshot.exchanges] == ["q3", "q4", "q5", "q6"]
    assert snapshot.removed == 2


def test_one_reply_at_a_time(store: ChatStore, make_store: MakeStore) -> None:
    claim = store.begin("s", "", "first")
    other_process = make_store()
    with pytest.raises(ReplyInProgress):
        other_process.begin("s", claim.conversation_id, "second")
    with pytest.raises(ReplyInProgress):
        other_process.retry("s", claim.conversation_id, 1)
    assert [e.message for e in read(store).exchanges] == ["first"]
    store.finish(claim, "answer", {})
    other_process.begin("s", claim.conversation_id, "second")


def test_of_many_at_once_exactly_one_goes_on(store: ChatStore, make_store: MakeStore) -> None:
    conversation = say(store, "hello", "hi").conversation_id
    stores = [make_store() for _ in range(6)]
    together = threading.Barrier(len(stores))
    outcomes: list[object] = []

    def send(number: int) -> None:
        together.wait()
        try:
            outcomes.append(stores[number].begin("s", conversation, f"message {number}"))
        except ReplyInProgress as error:
            outcomes.append(error)

    threads = [threading.Thread(target=send, args=(number,)) for number in range(len(stores))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(type(outcome).__name__ for outcome in outcomes) == ["Claim"] + ["ReplyInProgress"] * 5
    assert len([e for e in read(store).exchanges if e.reply is None]) == 1


def test_a_crash_locks_nothing_forever(store: ChatStore, clock: FakeClock) -> None:
    crashed = store.begin("s", "", "first")
    clock.advance(29)
    with pytest.raises(ReplyInProgress):
        store.begin("s", crashed.conversation_id, "second")
    clock.advance(1)
    assert not read(store).writing
    store.begin("s", crashed.conversation_id, "second")
    for late in (
        lambda: store.finish(crashed, "too late", {}),
        lambda: store.fail(crashed, "busy", "too late"),
        lambda: store.renew(crashed),
    ):
        with pytest.raises(ClaimLost):
            late()
    assert [(e.message, e.reply) for e in read(store).exchanges] == [("first", None), ("second", None)]


def test_a_renewed_claim_lasts(store: ChatStore, clock: FakeClock) -> None:
    claim = store.begin("s", "", "first")
    clock.advance(29)
    store.renew(claim)
    clock.advance(29)
    with pytest.raises(ReplyInProgress):
        store.begin("s", claim.conversation_id, "second")
    store.finish(claim, "answer", {})


def test_a_clock_that_is_set_back_locks_nothing(store: ChatStore, clock: FakeClock) -> None:
    crashed, writing = store.begin("s", "", "first"), store.begin("t", "", "first")
    clock.advance(-3600)
    store.begin("s", crashed.conversation_id, "second")
    store.renew(writing)
    with pytest.raises(ReplyInProgress):
        store.begin("t", writing.conversation_id, "second")
    store.finish(writing, "answer", {})


def test_a_clock_that_is_set_forward_loses_no_reply(store: ChatStore, clock: FakeClock) -> None:
    claim = store.begin("s", "", "first")
    clock.advance(3600)
    store.finish(claim, "answer", {})
    assert is_whole(read(store, "s").exchanges[-1])


def test_a_failure_is_kept_and_the_message_can_be_retried(store: ChatStore) -> None:
    failed = say(store, "question")
    (exchange,) = read(store).exchanges
    assert (exchange.reply, exchange.failure_type, exchange.failure_message) == (None, "busy", "Full.")
    claim = store.retry("s", failed.conversation_id, failed.position)
    assert claim.dialog == ("question",)
    store.finish(claim, "answer", {})
    (exchange,) = read(store).exchanges
    assert (exchange.reply, exchange.failure_type, exchange.failure_message) == ("answer", None, None)


def test_what_was_written_of_a_stopped_reply_is_kept_until_it_is_retried(store: ChatStore, clock: FakeClock) -> None:
    claim = store.begin("s", "", "question")
    store.fail(claim, "stopped", "Ends here.", "half an\0", {"request_id": "r"})
    (exchange,) = read(store).exchanges
    assert (exchange.reply, exchange.replied_at, exchange.origin) == ("half an\ufffd", clock.now, {"request_id": "r"})
    assert (exchange.failure_type, exchange.failure_message, is_whole(exchange)) == ("stopped", "Ends here.", False)
    assert not read(store).writing
    store.retry("s", claim.conversation_id, claim.position)
    (exchange,) = read(store).exchanges
    assert (exchange.reply, exchange.replied_at, exchange.origin, exchange.failure_type) == (None,) * 4


def test_a_stopped_reply_is_part_of_the_dialogue(store: ChatStore) -> None:
    claim = store.begin("s", "", "q1")
    store.fail(claim, "stopped", "Ends here.", "half an")
    assert store.begin("s", claim.conversation_id, "q2").dialog == ("q1", "half an", "q2")


def test_a_message_that_is_not_there_is_not_answered_again_and_a_refusal_claims_nothing(store: ChatStore) -> None:
    claim = say(store, "q", "a")
    with pytest.raises(NoSuchMessage):
        store.retry("s", claim.conversation_id, 99)
    with pytest.raises(NoSuchMessage):
        store.edit("s", claim.conversation_id, 99, "x")
    assert not read(store).writing
    for conversation in ("", "other"):
        with pytest.raises(ConversationGone):
            store.retry("s", conversation, claim.position)


# ---- branches


def said(snapshot: Snapshot) -> list[tuple[str, str | None]]:
    return [(each.message, each.reply) for each in snapshot.exchanges]


def test_a_reply_that_is_written_anew_leaves_the_earlier_ones(store: ChatStore) -> None:
    conversation = say(store, "q1", "a1").conversation_id
    last = say(store, "q2", "a2")
    again = store.retry("s", conversation, last.position)
    assert again.dialog == ("q1", "a1", "q2")
    assert (again.parent, again.versions) == (1, (2, 3))
    store.finish(again, "a2, better", {})
    assert said(read(store)) == [("q1", "a1"), ("q2", "a2, better")]
    assert read(store).versions == {1: (1,), 3: (2, 3)}
    assert said(store.read("s", conversation, at=2)) == [("q1", "a1"), ("q2", "a2")]


def test_a_stopped_reply_stays_beside_the_one_that_is_written_anew(store: ChatStore) -> None:
    claim = store.begin("s", "", "q")
    store.fail(claim, "stopped", "It ends here.", "half an", {})
    store.finish(store.retry("s", claim.conversation_id, 1), "whole", {})
    assert said(store.read("s", claim.conversation_id, at=1)) == [("q", "half an")]
    assert said(read(store)) == [("q", "whole")]


def test_an_edited_message_begins_a_branch_and_the_old_one_is_kept(store: ChatStore) -> None:
    conversation = say(store, "q1", "a1").conversation_id
    for number in (2, 3):
        say(store, f"q{number}", f"a{number}")
    edited = store.edit("s", conversation, 2, "q2, edited")
    assert edited.dialog == ("q1", "a1", "q2, edited")
    store.finish(edited, "b2", {})
    assert said(read(store)) == [("q1", "a1"), ("q2, edited", "b2")]
    old = store.read("s", conversation, at=2)
    assert said(old) == [("q1", "a1"), ("q2", "a2"), ("q3", "a3")]  # to the end of what followed it
    assert (old.versions[2], old.kept, old.removed) == ((2, 4), 4, 0)


def test_a_message_follows_the_last_one_that_its_page_shows(store: ChatStore) -> None:
    conversation = say(store, "q1", "a1").conversation_id
    store.finish(store.edit("s", conversation, 1, "other"), "b1", {})
    claim = store.begin("s", conversation, "more", after=1)
    assert claim.dialog == ("q1", "a1", "more")
    store.finish(claim, "a2", {})
    assert store.begin("s", conversation, "and", after=99).dialog == ("q1", "a1", "more", "a2", "and")


def test_another_branch_can_be_read_while_a_reply_is_written(store: ChatStore) -> None:
    conversation = say(store, "q1", "a1").conversation_id
    store.edit("s", conversation, 1, "other")
    assert read(store).writing
    old = store.read("s", conversation, at=1)
    assert (said(old), old.writing) == ([("q1", "a1")], False)


def test_of_tabs_that_edit_and_regenerate_at_once_one_goes_on_and_nothing_is_lost(
    store: ChatStore, make_store: MakeStore
) -> None:
    conversation = say(store, "q", "a").conversation_id
    acts: list[Callable[[ChatStore], Claim]] = [
        lambda tab: tab.edit("s", conversation, 1, "edited"),
        lambda tab: tab.retry("s", conversation, 1),
        lambda tab: tab.begin("s", conversation, "more"),
    ]
    tabs = [(make_store(), act) for act in acts]
    together = threading.Barrier(len(tabs))
    outcomes: list[str] = []

    def run(tab: ChatStore, act: Callable[[ChatStore], Claim]) -> None:
        together.wait()
        try:
            outcomes.append(type(act(tab)).__name__)
        except ReplyInProgress as error:
            outcomes.append(type(error).__name__)

    threads = [threading.Thread(target=run, args=tab) for tab in tabs]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(outcomes) == ["Claim", "ReplyInProgress", "ReplyInProgress"]
    assert said(store.read("s", conversation, at=1))[0] == ("q", "a")
    assert read(store).kept == 2


def test_branches_of_which_the_beginning_made_room_are_still_read(store: ChatStore) -> None:
    """Four exchanges are kept."""
    conversation = say(store, "q1", "a1").conversation_id
    say(store, "q2", "a2")
    for number in range(3):
        store.finish(store.retry("s", conversation, 2), f"again {number}", {})
    assert said(read(store)) == [("q2", "again 2")]
    assert (read(store).versions[5], read(store).removed) == ((2, 3, 4, 5), 1)


def test_a_rating_is_kept_with_the_reply_and_can_be_taken_back(store: ChatStore) -> None:
    claim = store.begin("s", "", "q")
    with pytest.raises(NoSuchMessage):
        store.rate("s", claim.conversation_id, 1, "up")
    store.finish(claim, "a", {})
    store.rate("s", claim.conversation_id, 1, "down")
    assert read(store).exchanges[0].rating == "down"
    with pytest.raises(ConversationGone):
        store.rate("t", claim.conversation_id, 1, "up")
    store.finish(store.retry("s", claim.conversation_id, 1), "another", {})
    assert read(store).exchanges[0].rating is None
    store.rate("s", claim.conversation_id, 1, None)
    assert store.read("s", claim.conversation_id, at=1).exchanges[0].rating is None


# ---- many chats


def test_a_session_has_many_chats_and_their_replies_do_not_wait_for_each_other(store: ChatStore) -> None:
    first, second = store.begin("s", "", "one"), store.begin("s", "", "two")
    store.finish(second, "2", {})
    store.finish(first, "1", {})
    for claim, reply in ((first, "1"), (second, "2")):
        assert [e.reply for e in store.read("s", claim.conversation_id).exchanges] == [reply]


def test_the_latest_chat_is_the_one_that_was_used_last(store: ChatStore, clock: FakeClock) -> None:
    first = say(store, "one", "1")
    clock.advance(1)
    store.finish(store.begin("s", "", "two"), "2", {})
    assert [e.message for e in read(store).exchanges] == ["two"]
    clock.advance(1)
    store.finish(store.begin("s", first.conversation_id, "again"), "3", {})
    assert [e.message for e in read(store).exchanges] == ["one", "again"]


def test_a_chat_has_a_title_from_its_first_message(store: ChatStore) -> None:
    say(store, "What is a pod?\nAnd a node?", "A unit.")
    say(store, "more", "words")
    assert read(store).title == "What is a pod? And a node?"


def test_a_temporary_chat_is_read_by_who_has_its_address_and_soon_gone(store: ChatStore, clock: FakeClock) -> None:
    claim = store.begin("s", "", "between us", temporary=True)
    store.finish(claim, "yes", {})
    assert store.latest("s") is None
    assert store.read("s", claim.conversation_id).temporary
    store.finish(store.begin("s", claim.conversation_id, "more"), "yes", {})
    clock.advance(3_599)
    assert store.delete_expired() == 0
    clock.advance(2)
    assert store.delete_expired() == 1
    with pytest.raises(ConversationGone):
        store.read("s", claim.conversation_id)


def test_a_session_may_keep_only_so_many_and_says_which_limit(make_store: MakeStore) -> None:
    store = make_store(max_session_conversations=2)
    for number in range(2):
        store.begin("s", "", f"question {number}")
    with pytest.raises(TooMany, match="You keep 2 chats"):
        store.begin("s", "", "one too many")
    store.begin("t", "", "another session")
    assert [e.message for e in read(store).exchanges] != ["one too many"]


def test_the_longest_unused_conversation_makes_room(store: ChatStore, clock: FakeClock) -> None:
    for session in ("a", "b", "c"):
        say(store, "hello", "hi", session=session)
        clock.advance(1)
    say(store, "again", "hi", session="a")
    clock.advance(KEEP_SECONDS)
    say(store, "hello", "hi", session="d")
    assert [session for session in "abcd" if store.latest(session)] == ["a", "c", "d"]


def test_a_visitor_who_begins_many_chats_has_nobodys_deleted(store: ChatStore, clock: FakeClock) -> None:
    """With as many new chats as are kept at most, anybody could delete everybody's."""
    say(store, "my words", "yours", session="mine")
    for number in range(9):
        clock.advance(1)
        try:
            say(store, "hello", "hi", session=f"visitor {number}")
        except Busy as error:
            assert "nothing was stored" in error.message
            assert store.latest(f"visitor {number}") is None
    assert [e.reply for e in read(store, "mine").exchanges] == ["yours"]
    say(store, "more words", "mine", session="mine")  # who is there already goes on
    clock.advance(KEEP_SECONDS)
    say(store, "hello", "hi", session="later")
    assert store.latest("later") is not None


def test_a_conversation_whose_reply_is_being_written_is_not_removed(store: ChatStore, clock: FakeClock) -> None:
    claim = store.begin("a", "", "hello")
    for session in ("b", "c", "d"):
        clock.advance(KEEP_SECONDS)
        store.renew(claim)
        say(store, "hello", "hi", session=session)
    store.finish(claim, "answer", {})
    assert [session for session in "abcd" if store.latest(session)] == ["a", "c", "d"]


def test_unused_conversations_expire(store: ChatStore, clock: FakeClock) -> None:
    say(store, "old", "reply", session="old")
    clock.advance(15 * 86_400)
    say(store, "new", "reply", session="new")
    clock.advance(15 * 86_400 + 1)
    assert store.delete_expired() == 1
    assert store.latest("old") is None
    assert store.latest("new") is not None


def test_a_database_that_is_away(make_settings: MakeSettings, tmp_path: object) -> None:
    settings = make_settings(database_url=f"sqlite:///{tmp_path}/not-migrated.sqlite3")
    engine = open_engine(settings)
    store = ChatStore(engine, settings)
    with pytest.raises(StoreUnavailable):
        store.begin("s", "", "hello")
    with pytest.raises(StoreUnavailable):
        store.latest("s")
    engine.dispose()
