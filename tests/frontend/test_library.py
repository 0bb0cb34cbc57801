"""A session's conversations: nothing of them is lost, nothing of others is seen. On SQLite and on PostgreSQL."""

from collections.abc import Callable

import pytest

from frontend.errors import Busy, ClaimLost, ConversationGone, TooMany
from frontend.library import PAGE_SIZE, Library
from frontend.store import ChatStore
from frontend.transfer import ConversationRecord, from_json, to_json
from tests.frontend.conftest import FakeClock

MakeStore = Callable[..., ChatStore]
MakeLibrary = Callable[..., Library]


def say(store: ChatStore, message: str, session: str = "s", *, temporary: bool = False) -> str:
    claim = store.begin(session, "", message, temporary=temporary)
    store.finish(claim, f"reply to {message}", {"replica_id": "r", "timing_ms": {"total": 1.5}})
    return claim.conversation_id


def titles(library: Library, session: str = "s", number: int = 1) -> list[str]:
    return [entry.title for entry in library.page(session, number).entries]


def exported(library: Library, session: str = "s") -> bytes:
    return "".join(to_json(library.export(session))).encode()


def test_the_list_is_newest_first_and_the_sessions_own(store: ChatStore, library: Library, clock: FakeClock) -> None:
    for message in ("one", "two", "three"):
        say(store, message)
        clock.advance(1)
    say(store, "another's", session="t")
    say(store, "temporary", temporary=True)
    assert titles(library) == ["three", "two", "one"]
    first = library.page("s", 1).entries[-1].id
    store.finish(store.begin("s", first, "more"), "-", {})
    assert titles(library) == ["one", "three", "two"]


def test_the_list_comes_in_pages(store: ChatStore, library: Library) -> None:
    assert library.page("s", 7).number == 1
    for number in range(PAGE_SIZE + 2):
        say(store, f"question {number}")
    pages = [library.page("s", number) for number in (1, 2, 3)]
    assert [(page.number, len(page.entries), page.last) for page in pages] == [(1, PAGE_SIZE, 2), (2, 2, 2), (2, 2, 2)]
    assert len({entry.id for page in pages[:2] for entry in page.entries}) == pages[0].total == PAGE_SIZE + 2


def test_renaming_changes_the_title_alone(store: ChatStore, library: Library, clock: FakeClock) -> None:
    first = say(store, "one")
    clock.advance(1)
    say(store, "two")
    library.rename("s", first, "<b>\N{RIGHT-TO-LEFT OVERRIDE} 'one'")
    assert titles(library) == ["two", "<b>\N{RIGHT-TO-LEFT OVERRIDE} 'one'"]


def test_what_is_deleted_can_be_taken_back_for_a_while(store: ChatStore, library: Library, clock: FakeClock) -> None:
    deleted, purged = say(store, "deleted"), say(store, "purged")
    before = exported(library)
    for conversation in (deleted, purged):
        assert library.delete("s", conversation)
    assert titles(library) == [] and store.latest("s") is None
    for gone in (
        lambda: store.read("s", deleted),
        lambda: store.begin("s", deleted, "more"),
        lambda: library.rename("s", deleted, "x"),
        lambda: library.delete("s", deleted),
        lambda: list(library.export("s", deleted)),
    ):
        with pytest.raises(ConversationGone):
            gone()
    entry = library.deleted("s", deleted)
    assert entry is not None and entry.title == "deleted"
    clock.advance(86_399)
    store.delete_expired()
    library.restore("s", deleted)
    clock.advance(2)
    assert store.delete_expired() == 1
    assert library.deleted("s", purged) is None
    with pytest.raises(ConversationGone):
        library.restore("s", purged)
    assert titles(library) == ["deleted"]
    library.add("s", tuple(each for each in from_json(before, 200) if each.title == "purged"))
    assert exported(library).count(b"reply to") == 2


def test_a_reply_goes_on_while_its_chat_is_deleted(store: ChatStore, library: Library) -> None:
    claim = store.begin("s", "", "question")
    library.delete("s", claim.conversation_id)
    store.finish(claim, "answer", {})
    library.restore("s", claim.conversation_id)
    assert [e.reply for e in store.read("s", claim.conversation_id).exchanges] == ["answer"]


def test_a_temporary_chat_is_deleted_at_once(store: ChatStore, library: Library) -> None:
    temporary = say(store, "between us", temporary=True)
    assert not library.delete("s", temporary)
    with pytest.raises(ConversationGone):
        library.restore("s", temporary)


@pytest.mark.parametrize("act", ["rename", "delete", "restore", "export", "deleted", "read"])
def test_anothers_chat_is_as_one_that_never_was(store: ChatStore, library: Library, act: str) -> None:
    mine = say(store, "mine")
    if act in ("restore", "deleted"):
        library.delete("s", mine)
    if act == "deleted":
        assert library.deleted("t", mine) is library.deleted("t", "0" * 32) is None
        return
    messages = set()
    for conversation in (mine, "0" * 32):
        with pytest.raises(ConversationGone) as gone:
            if act == "rename":
                library.rename("t", conversation, "taken")
            elif act == "export":
                list(library.export("t", conversation))
            elif act == "read":
                store.read("t", conversation)
            else:
                getattr(library, act)("t", conversation)
        messages.add(gone.value.message)
    assert len(messages) == 1


def test_export_and_import_give_the_same_file(store: ChatStore, library: Library, clock: FakeClock) -> None:
    for number in range(3):
        conversation = say(store, f"q{number} <script>שלום</script>")
        store.fail(store.begin("s", conversation, "and?"), "busy", "Full.")
        clock.advance(60)
    say(store, "temporary", temporary=True)
    before = exported(library)
    library.add("t", from_json(before, 200))
    assert exported(library, "t") == before
    assert exported(library) == before


def test_what_is_imported_goes_on_as_a_chat(store: ChatStore, library: Library) -> None:
    say(store, "question")
    library.add("t", from_json(exported(library), 200))
    (entry,) = library.page("t", 1).entries
    claim = store.begin("t", entry.id, "more")
    assert claim.dialog == ("question", "reply to question", "more")


def test_an_imported_chat_does_not_expire_at_once(store: ChatStore, library: Library, clock: FakeClock) -> None:
    say(store, "old")
    file = exported(library)
    clock.advance(40 * 86_400)
    assert store.delete_expired() == 1
    library.add("s", from_json(file, 200))
    assert store.delete_expired() == 0
    assert titles(library) == ["old"]


def test_a_file_from_the_future_does_not_stay_for_ever(store: ChatStore, library: Library, clock: FakeClock) -> None:
    say(store, "q")
    library.add("t", from_json(exported(library).replace(b'"2030-', b'"2199-'), 200))
    clock.advance(31 * 86_400)
    assert store.delete_expired() == 2


def test_an_import_beyond_the_limit_stores_nothing(
    make_store: MakeStore, make_library: MakeLibrary, library: Library
) -> None:
    records = tuple(_record(str(number)) for number in range(3))
    for settings, refusal in ({"max_session_conversations": 2}, TooMany), ({"max_conversations": 2}, Busy):
        with pytest.raises(refusal):
            make_library(**settings).add("s", records)
        assert titles(library) == []


def test_restoring_beyond_the_limit_is_refused_and_loses_nothing(
    store: ChatStore, make_store: MakeStore, make_library: MakeLibrary
) -> None:
    small = make_library(max_session_conversations=1)
    first = say(store, "first")
    small.delete("s", first)
    say(store, "second")
    with pytest.raises(TooMany):
        small.restore("s", first)
    assert small.deleted("s", first) is not None


def test_forgetting_leaves_nothing_of_the_session(store: ChatStore, library: Library) -> None:
    library.delete("s", say(store, "deleted"))
    say(store, "temporary", temporary=True)
    say(store, "kept")
    say(store, "another's", session="t")
    assert library.forget("s") == 3
    assert library.kept("s") == 0 and titles(library) == []
    assert titles(library, "t") == ["another's"]


def test_what_could_not_be_forgotten_wholly_is_out_of_reach_until_the_next_sweep(
    store: ChatStore, library: Library, monkeypatch: pytest.MonkeyPatch
) -> None:
    claim = store.begin("s", say(store, "kept"), "more")
    with monkeypatch.context() as patch, pytest.raises(ZeroDivisionError):
        patch.setattr("frontend.library.remove", lambda *_: 1 // 0)
        library.forget("s")
    assert library.kept("s") == 0 and store.latest("s") is None and library.search("s", ("kept",), 1).hits == ()
    with pytest.raises(ClaimLost):
        store.finish(claim, "a reply to nobody", {})
    assert store.delete_expired() == 1


def _record(title: str) -> ConversationRecord:
    at = "2029-01-01T00:00:00Z"
    exchange = {"position": 1, "message": title, "sent_at": at}
    return ConversationRecord.model_validate(
        {"title": title, "last_used_at": at, "next_position": 2, "exchanges": [exchange]}
    )
