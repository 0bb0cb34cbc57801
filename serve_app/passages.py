"""Pure: a text -> its paragraphs of sentences, joined into passages."""

import re
from collections.abc import Iterator, Sequence

# A sentence ends at . ! or ? before white space, unless the word is a common abbreviation or a single initial; behind
# "a.m." and "p.m." only where the next word is not in lower case.
_SENTENCE_END = re.compile(
    r"(?<!\be\.g\.)(?<!\bi\.e\.)(?<!\b(?:Mr|Ms|Dr|St|vs|No)\.)(?<!\bMrs\.)(?<!\bProf\.)(?<!\b[A-Z]\.)"
    r"(?<=[.!?])(?:(?<!\b[ap]\.m\.)|(?=\s+[^\sa-z]))\s+"
)
# Paragraphs end at a blank line, and at a line break after a finished sentence; other line breaks only wrap text.
_PARAGRAPH_END = re.compile(r"\n\s*\n|(?<=[.!?])[ \t]*\n")


def split_sentences(text: str) -> list[str]:
    """The sentences of `text` in order, with single spaces between words. A heading that a blank line sets apart is
    one, too."""
    return [sentence for paragraph in _PARAGRAPH_END.split(text) for sentence in _sentences(paragraph)]


def split_paragraphs(text: str, max_words: int) -> list[list[str]]:
    """The sentences of each paragraph; one that is longer than `max_words` is cut between words."""
    paragraphs = (
        [piece for sentence in _sentences(paragraph) for piece in _cut(sentence, max_words)]
        for paragraph in _PARAGRAPH_END.split(text)
    )
    return [paragraph for paragraph in paragraphs if paragraph]


def join_passages(paragraphs: Sequence[Sequence[str]], max_words: int) -> list[tuple[str, ...]]:
    """Passages of whole sentences, of at most `max_words` words each. A passage never crosses a paragraph."""
    return [passage for paragraph in paragraphs for passage in _pack(paragraph, max_words)]


def _sentences(paragraph: str) -> Iterator[str]:
    for sentence in _SENTENCE_END.split(paragraph):
        if words := sentence.split():
            yield " ".join(words)


def _cut(sentence: str, max_words: int) -> Iterator[str]:
    words = sentence.split(" ")
    for start in range(0, len(words), max_words):
        yield " ".join(words[start : start + max_words])


def _pack(sentences: Sequence[str], max_words: int) -> Iterator[tuple[str, ...]]:
    passage: list[str] = []
    size = 0
    for sentence in sentences:
        words = sentence.count(" ") + 1
        if passage and size + words > max_words:
            yield tuple(passage)
            passage, size = [], 0
        passage.append(sentence)
        size += words
    if passage:
        yield tuple(passage)
