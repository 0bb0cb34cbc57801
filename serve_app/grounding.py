"""Pure: knowledge text + dialogue -> the passages that fit the dialogue best, best first."""

import re
from collections.abc import Iterator, Sequence
from functools import lru_cache

import bm25s
import numpy as np
import Stemmer

from serve_app.messages import Passage

# A sentence ends at . ! or ? before white space, unless the word is a common abbreviation or a single initial.
_SENTENCE_END = re.compile(r"(?<!\be\.g\.)(?<!\bi\.e\.)(?<!\b(?:Mr|Dr|vs|No)\.)(?<!\b[A-Z]\.)(?<=[.!?])\s+")
# Paragraphs end at a blank line, and at a line break after a finished sentence; other line breaks only wrap text.
_PARAGRAPH_END = re.compile(r"\n\s*\n|(?<=[.!?])[ \t]*\n")

# How much an earlier turn counts against the one after it: enough to resolve "who made it?", not enough to drown a
# change of subject.
_DECAY = 0.5
_TURNS_CONSIDERED = 4

# Two words name what a sentence is about ("A pod", "Ray Serve"); with b below the usual 0.75 a passage of three short
# sentences is not put behind a single one. Chosen on the questions of tests/test_grounding.py.
_OPENING_WORDS = 2
_LENGTH_WEIGHT = 0.4

_stem = Stemmer.Stemmer("english")


def split_sentences(text: str) -> list[str]:
    """The sentences of `text` in order, with single spaces between words. A heading that a blank line sets apart is
    one, too."""
    return [
        " ".join(words)
        for paragraph in _PARAGRAPH_END.split(text)
        for sentence in _SENTENCE_END.split(paragraph)
        if (words := sentence.split())
    ]


def split_passages(text: str, max_words: int) -> list[str]:
    """Cut `text` into passages of whole sentences, each of at most `max_words` words.

    A passage never crosses a paragraph. A sentence longer than `max_words` is cut between words.
    """
    return [
        passage
        for paragraph in _PARAGRAPH_END.split(text)
        for passage in _pack(_sentences(paragraph, max_words), max_words)
    ]


def split_sentences(text: str) -> list[str]:
    """The sentences of `text` in order, as passages are made of them: single spaces between words. A heading that a
    blank line sets apart is one, too."""
    return [
        " ".join(sentence.split())
        for paragraph in _PARAGRAPH_END.split(text)
        for sentence in _SENTENCE_END.split(paragraph)
        if sentence.strip()
    ]


def _sentences(paragraph: str, max_words: int) -> Iterator[list[str]]:
    for sentence in _SENTENCE_END.split(paragraph):
        words = sentence.split()
        for start in range(0, len(words), max_words):
            yield words[start : start + max_words]


def _pack(sentences: Iterator[list[str]], max_words: int) -> Iterator[str]:
    passage: list[str] = []
    for sentence in sentences:
        if passage and len(passage) + len(sentence) > max_words:
            yield " ".join(passage)
            passage = []
        passage += sentence
    if passage:
        yield " ".join(passage)


class KnowledgeBase:
    """A knowledge text, cut into passages and indexed for BM25 (Robertson and Zaragoza 2009, Lucene's variant)."""

    def __init__(self, text: str, passage_words: int) -> None:
        self.passages = split_passages(text, passage_words)
        bodies, openings = _tokenize(self.passages), _tokenize([_openings(passage) for passage in self.passages])
        tokens = [body + opening for body, opening in zip(bodies, openings, strict=True)]
        self._vocabulary = {token for passage in tokens for token in passage}
        self._index = bm25s.BM25(method="lucene", b=_LENGTH_WEIGHT)
        if self._vocabulary:
            self._index.index(tokens, show_progress=False)

    def rank(self, dialog: Sequence[str], limit: int) -> list[Passage]:
        """The passages that share words with the dialogue's last turns, best first, at most `limit`.

        The last turn counts most; each turn before it half as much as the one after it.
        """
        if not self._vocabulary or limit == 0:
            return []
        scores = self._weighed(dialog[: -_TURNS_CONSIDERED - 1 : -1])
        best = np.argsort(-scores, kind="stable")[:limit]
        return [
            Passage(id=f"p{i}", text=self.passages[i], score=round(float(scores[i]), 4)) for i in best if scores[i] > 0
        ]

    def _weighed(self, turns: Sequence[str]) -> np.ndarray:
        """The scores of `turns`, newest first. A reply that repeats its passage scores ten times what a short question
        does, so no turn may score higher than the newest one that has a match."""
        weighed, highest = np.zeros(len(self.passages)), 0.0
        for age, turn in enumerate(turns):
            scores = self._scores(turn)
            if scores.any():
                highest = highest or scores.max()
                weighed += _DECAY**age * scores * min(1, highest / scores.max())
        return weighed

    def _scores(self, turn: str) -> np.ndarray:
        known = [token for token in _tokenize([turn])[0] if token in self._vocabulary]
        return self._index.get_scores(known) if known else np.zeros(len(self.passages))


def _openings(passage: str) -> str:
    """What the passage's sentences are about: their first words, which so count twice (BM25F's weighted fields)."""
    return " ".join(" ".join(sentence.split()[:_OPENING_WORDS]) for sentence in _SENTENCE_END.split(passage))


def _tokenize(texts: list[str]) -> list[list[str]]:
    tokens: list[list[str]] = bm25s.tokenize(
        texts, stopwords="en_plus", stemmer=_stem, return_ids=False, show_progress=False
    )
    return tokens


@lru_cache(maxsize=8)
def knowledge_base(text: str, passage_words: int) -> KnowledgeBase:
    """A knowledge base, remembered: the configured one, and those that clients send along with each request."""
    return KnowledgeBase(text, passage_words)
