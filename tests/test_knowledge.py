"""Knowledge bases are remembered within a limit of bytes; the configured one stays."""

import threading
import tracemalloc
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import pytest

from serve_app import knowledge
from serve_app.grounding import KnowledgeBase
from serve_app.knowledge import KnowledgeBases, knowledge_base

WORDS = 40
SIZE = 100


class Base:
    """As a KnowledgeBase, but that takes a hundred bytes for each of its text's characters."""

    def __init__(self, text: str, passage_words: int) -> None:
        self.nbytes = SIZE * len(text)


@pytest.fixture
def bases(monkeypatch: pytest.MonkeyPatch) -> KnowledgeBases:
    """With room for three texts of one letter."""
    monkeypatch.setattr(knowledge, "KnowledgeBase", Base)
    return KnowledgeBases(limit_bytes=3 * SIZE)


def remembered(bases: KnowledgeBases, *texts: str) -> Callable[[], list[str]]:
    """Asks for each text; the answer says which of them are the same when asked for again."""
    first = [bases(text, WORDS) for text in texts]
    return lambda: [text for text, base in zip(texts, first, strict=True) if bases(text, WORDS) is base]


def test_a_text_is_read_once_for_each_size_of_passages(bases: KnowledgeBases) -> None:
    assert bases("a", WORDS) is bases("a", WORDS)
    assert bases("a", WORDS) is not bases("a", 20)


def test_what_was_not_asked_for_longest_makes_room(bases: KnowledgeBases) -> None:
    assert remembered(bases, "a", "b", "c")() == ["a", "b", "c"]
    first = bases("a", WORDS)
    bases("d", WORDS)
    assert bases("a", WORDS) is first
    assert remembered(bases, "c", "d", "a")() == ["c", "d", "a"], "b went"


def test_the_limit_is_of_bytes_and_not_of_texts(bases: KnowledgeBases) -> None:
    """Eight texts of 2 MB were 1.1 GB."""
    small = remembered(bases, "a", "b")
    bases("cc", WORDS)
    assert small() == [] or small() == ["b"]
    assert bases("dddd", WORDS) is not bases("dddd", WORDS), "it alone is over the limit"


def test_the_configured_text_is_kept_whatever_else_is_asked_for(bases: KnowledgeBases) -> None:
    """A client with nine texts of its own pushed it out, and the next request had to read it again."""
    configured = bases("configured", WORDS, configured=True)
    for text in "abcdefgh":
        bases(text, WORDS)
    assert bases("configured", WORDS, configured=True) is configured
    assert bases("configured", WORDS) is configured, "a client may send the same"
    assert remembered(bases, "a", "b", "c")() == ["a", "b", "c"], "it takes none of their room"


def test_a_newly_configured_text_takes_the_place_of_the_old_one(bases: KnowledgeBases) -> None:
    old = bases("configured", WORDS, configured=True)
    bases("new", WORDS, configured=True)
    assert bases("configured", WORDS) is not old


def test_threads_get_the_base_of_the_text_that_they_asked_for() -> None:
    bases = KnowledgeBases(limit_bytes=20_000)
    texts = [f"A pod is as small as {number} of them." for number in range(12)]
    barrier = threading.Barrier(4)

    def ask(first: int) -> list[bool]:
        barrier.wait(10)
        return [bases(text, WORDS).passages == [text] for text in (texts[first:] + texts) * 5]

    with ThreadPoolExecutor(4) as threads:
        assert all(all(right) for right in threads.map(ask, range(4)))


@pytest.mark.parametrize(
    "text",
    [
        "The quick pod weighs twelve heavy stones. " * 1500,
        "b. " * 20_000,
        " ".join(f"{number:x}" for number in range(12_000)),
        ". ".join(f"{number:x}" for number in range(12_000)),
    ],
    ids=["prose", "sentences", "words", "words that are sentences"],
)
def test_bytes_are_counted_about_as_they_are_taken(text: str) -> None:
    knowledge_base("A pod.", WORDS)  # reads the word vectors
    tracemalloc.start()
    base = KnowledgeBase(text, WORDS)
    held, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert base.nbytes == pytest.approx(held, rel=0.5, abs=300_000)
    assert peak < 3 * base.nbytes + 5e6
