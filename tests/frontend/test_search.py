"""What a query means, on both databases, and the marks in what it finds."""

from collections.abc import Callable

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from frontend.library import Library
from frontend.models import owner_of
from frontend.search import EXCERPT_CHARS, MAX_WORDS, Piece, excerpt, words
from frontend.store import ChatStore
from tests.frontend.conftest import FakeClock

MakeStore = Callable[..., ChatStore]


def say(store: ChatStore, message: str, reply: str, session: str = "s", conversation: str = "", **how: bool) -> str:
    claim = store.begin(session, conversation, message, **how)
    store.finish(claim, reply, {})
    return claim.conversation_id


def found(library: Library, query: str, session: str = "s") -> list[str]:
    return [hit.message for hit in library.search(session, words(query), 1).hits]


@pytest.mark.parametrize(
    ("query", "wanted"),
    [
        ("", ()),
        ("What is a Pod?", ("what", "is", "a", "pod")),
        ('"quoted" OR (NOT x*)', ("quoted", "or", "not", "x")),
        ("'; DROP TABLE exchanges; --", ("drop", "table", "exchanges")),
        ("pod pod POD", ("pod",)),
        ("snake_case models/mini", ("snake", "case", "models", "mini")),
        ("!?_-'\"", ()),
    ],
)
def test_a_query_is_its_words(query: str, wanted: tuple[str, ...]) -> None:
    assert words(query) == wanted


def test_a_long_query_has_a_bound() -> None:
    assert len(words(" ".join(map(str, range(1_000))))) == MAX_WORDS


def test_messages_and_replies_are_found_newest_first(store: ChatStore, library: Library) -> None:
    first = say(store, "What is a pod?", "The smallest unit.")
    say(store, "Who made GODEL?", "Microsoft, in a POD.")
    say(store, "And a node?", "It runs pods.", conversation=first)
    assert found(library, "pod") == ["And a node?", "Who made GODEL?", "What is a pod?"]
    assert found(library, "PODS") == ["And a node?"]
    assert found(library, "pod unit") == ["What is a pod?"]
    assert found(library, "zebra") == []
    assert library.search("s", (), 1).hits == ()


@pytest.mark.parametrize(
    "query", ['"pod"', "pod*", "NEAR(pod)", "-pod", "pod:", "^pod", "pod & ! | <->", "'pod'", "pod\\"]
)
def test_signs_in_a_query_mean_nothing(store: ChatStore, library: Library, query: str) -> None:
    say(store, "What is a pod near a node?", "A unit.")
    assert found(library, query) == ["What is a pod near a node?"]


def test_words_between_any_signs_are_found(store: ChatStore, library: Library) -> None:
    """PostgreSQL's own parser takes the first for a file and the second for a host: whole, as one word each."""
    say(store, "It is models/mini on node-a.example.org, “quoted”", "<b>bold</b> a@b.example")
    for word in ("mini", "node", "example", "org", "quoted", "bold", "b"):
        assert len(found(library, word)) == 1, word


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(query=st.text(max_size=60) | st.text(alphabet="\"'*()^:&|!<>-+{}~\\%_;ab ", max_size=30))
def test_no_query_is_an_error(library: Library, query: str) -> None:
    library.search("s", words(query), 1)


def test_what_is_not_the_sessions_or_deleted_or_temporary_is_not_found(store: ChatStore, library: Library) -> None:
    say(store, "another's pod", "-", session="t")
    say(store, "a temporary pod", "-", temporary=True)
    deleted = say(store, "a deleted pod", "-")
    library.delete("s", deleted)
    assert found(library, "pod") == []
    library.restore("s", deleted)
    assert found(library, "pod") == ["a deleted pod"]


def test_the_index_follows_what_is_deleted_and_retried(store: ChatStore, library: Library, clock: FakeClock) -> None:
    """Also what is deleted with its conversation: an index with rows of nothing answers with an error."""
    claim = store.begin("s", "", "question")
    store.fail(claim, "busy", "Full.")
    store.finish(store.retry("s", claim.conversation_id, claim.position), "answer", {})
    assert found(library, "answer") == ["question"]
    library.delete("s", claim.conversation_id)
    clock.advance(86_401)
    store.delete_expired()
    say(store, "another question", "-")
    assert found(library, "question") == ["another question"]
    assert found(library, "answer") == []


def test_a_chat_is_found_by_its_title(store: ChatStore, library: Library) -> None:
    """Once: not also by its title where an exchange has the words."""
    renamed = say(store, "What is a pod?", "A unit.")
    library.rename("s", renamed, "Café of Kubernetes")
    say(store, "What is Kubernetes?", "A system.")
    say(store, "Kubernetes of another", "-", session="t")

    def titles(query: str, page: int = 1) -> list[str]:
        return [entry.title for entry in library.search("s", words(query), page).titles]

    assert titles("KUBER cafe") == ["Café of Kubernetes"]
    assert (titles("kubernetes"), found(library, "kubernetes")) == (["Café of Kubernetes"], ["What is Kubernetes?"])
    assert (titles("kubernetes", 2), titles("kubernetes zebra")) == ([], [])


def test_what_was_said_long_ago_is_found_by_the_index(
    store: ChatStore, library: Library, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And is the session's alone, also where another one's words begin alike in the index."""
    monkeypatch.setattr("frontend.library.LATELY", 2)
    say(store, "What is a quokka?", "Ein Beuteltier: übermütig, 3,5 kg.")
    say(store, "another's quokka", "-", session="t")
    for number in range(4):
        say(store, f"pod {number}", "-")
    for query in ("quokka", "what quo", "beutel", "übermütig", "5", "kg quokka"):
        assert found(library, query) == ["What is a quokka?"], query
    assert found(library, "quokka pod") == []
    assert found(library, owner_of("s")) == found(library, owner_of("s")[:2]) == []
    assert found(library, "pod") == [f"pod {number}" for number in (3, 2, 1, 0)]


def test_hits_come_in_pages(store: ChatStore, library: Library) -> None:
    conversation = ""
    for number in range(45):
        conversation = say(store, f"pod {number}", "-", conversation=conversation)
    pages = [library.search("s", ("pod",), number) for number in (1, 2, 3, 4)]
    assert [len(page.hits) for page in pages] == [20, 20, 5, 0]
    assert [page.more for page in pages] == [True, True, False, False]
    assert [hit.position for page in pages for hit in page.hits] == list(range(45, 0, -1))


# ---- marks


def test_the_words_that_were_searched_for_are_marked() -> None:
    assert excerpt("What are pods? A Pod.", ("pod",)) == (
        Piece("What are ", False),
        Piece("pods", True),
        Piece("? A ", False),
        Piece("Pod", True),
        Piece(".", False),
    )
    assert excerpt("nothing here", ("pod",)) == ()
    assert [piece.text for piece in excerpt("Un café noir", ("cafe",)) if piece.hit] == ["café"]


def test_an_excerpt_is_short_and_begins_with_a_word() -> None:
    pieces = excerpt("lorem " * 100 + "POD " + "ipsum " * 100, ("pod",))
    assert pieces[0].text == "… "
    assert pieces[1].text.startswith("lorem")
    assert pieces[-1].text == " …"
    assert sum(len(piece.text) for piece in pieces) <= EXCERPT_CHARS + 4


@given(st.text(max_size=400), st.lists(st.text(alphabet="abé12", min_size=1, max_size=3), max_size=3))
def test_an_excerpt_is_a_part_of_the_text(whole: str, wanted: list[str]) -> None:
    pieces = excerpt(whole, wanted)
    body = "".join(piece.text for piece in pieces)
    assert body.removeprefix("… ").removesuffix(" …") in whole
    assert not pieces or any(piece.hit for piece in pieces)
