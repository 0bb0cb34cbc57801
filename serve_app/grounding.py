"""Pure: knowledge text + dialogue -> the passages that fit the dialogue best, best first, and each sentence's score."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache

import bm25s
import numpy as np
import Stemmer

from serve_app.messages import Passage
from serve_app.passages import split_passages

# How much an earlier turn counts against the one after it: enough to resolve "who made it?", not enough to drown a
# change of subject.
_DECAY = 0.5
_TURNS_CONSIDERED = 4

# Two words name what a sentence is about ("A pod", "Ray Serve"); with b below the usual 0.75 a passage of three short
# sentences is not put behind a single one. Chosen on the questions of tests/test_grounding.py.
_OPENING_WORDS = 2
_LENGTH_WEIGHT = 0.4

_stem = Stemmer.Stemmer("english")

# Chosen on the questions of tests/test_grounding.py.
_THRESHOLD = 0.15


@dataclass(frozen=True)
class Sentence:
    """A sentence of a passage, and how well it fits the dialogue's last turns.

    At a score of 0 and below the sentence is taken not to answer; scores lie between -1 and 1.
    """

    text: str
    score: float


@dataclass(frozen=True)
class Ranking:
    """What a dialogue brings from a knowledge base."""

    passages: list[Passage]  # best first, then filling
    sentences: Mapping[str, tuple[Sentence, ...]]  # by passage id; a passage's text is their texts, joined by spaces


class KnowledgeBase:
    """A knowledge text, cut into passages and indexed by sentence for BM25 (Robertson and Zaragoza 2009, Lucene's
    variant)."""

    def __init__(self, text: str, passage_words: int) -> None:
        self._passages = split_passages(text, passage_words)
        self.passages = [" ".join(sentences) for sentences in self._passages]
        sentences = [sentence for passage in self._passages for sentence in passage]
        self._first = np.cumsum([0, *(len(passage) for passage in self._passages)])
        bodies, openings = _tokenize(sentences), _tokenize([_opening(sentence) for sentence in sentences])
        tokens = [body + opening for body, opening in zip(bodies, openings, strict=True)]
        self._vocabulary = {token for sentence in tokens for token in sentence}
        self._index = bm25s.BM25(method="lucene", b=_LENGTH_WEIGHT)
        if self._vocabulary:
            self._index.index(tokens, show_progress=False)

    def rank(self, dialog: Sequence[str], limit: int) -> Ranking:
        """The passages that fit the dialogue's last turns, best first, then their neighbours and the rest of the text
        as filling, at most `limit`.

        The last turn counts most; each turn before it half as much as the one after it.
        """
        scores = self._weighed(dialog[: -_TURNS_CONSIDERED - 1 : -1]) - _THRESHOLD
        best = np.array([scores[a:b].max() for a, b in zip(self._first, self._first[1:], strict=False)])
        order = self._order(best)[:limit]
        return Ranking(
            passages=[
                Passage(
                    id=f"p{i}",
                    text=self.passages[i],
                    score=round(float(best[i]), 4),
                    filling=not best[i] > 0,
                )
                for i in order
            ],
            sentences={
                f"p{i}": tuple(
                    Sentence(text, round(float(scores[self._first[i] + place]), 4))
                    for place, text in enumerate(self._passages[i])
                )
                for i in order
            },
        )

    def _order(self, best: np.ndarray) -> list[int]:
        """Those that share a word with the dialogue, best first; their neighbours; the rest."""
        fitting = [int(i) for i in np.argsort(-best, kind="stable") if best[i] > -_THRESHOLD]
        neighbours = [i + step for i in fitting for step in (1, -1) if 0 <= i + step < len(best)]
        return list(dict.fromkeys([*fitting, *neighbours, *range(len(best))]))

    def _weighed(self, turns: Sequence[str]) -> np.ndarray:
        """The scores of `turns`, newest first. A reply that repeats its passage scores ten times what a short question
        does, so no turn may score higher than the newest one that has a match."""
        weighed, highest = np.zeros(self._first[-1]), 0.0
        for age, turn in enumerate(turns):
            scores = self._scores(turn)
            if scores.any():
                highest = highest or scores.max()
                weighed += _DECAY**age * scores * min(1, highest / scores.max())
        return weighed

    def _scores(self, turn: str) -> np.ndarray:
        words = _tokenize([turn])[0]
        known = [token for token in words if token in self._vocabulary]
        if not known:
            return np.zeros(self._first[-1])
        rarest = np.log(1 + self._first[-1])
        scores: np.ndarray = self._index.get_scores(known) / (rarest * len(words))
        return scores


def _opening(sentence: str) -> str:
    """What a sentence is about: its first words, which so count twice (BM25F's weighted fields)."""
    return " ".join(sentence.split()[:_OPENING_WORDS])


def _tokenize(texts: list[str]) -> list[list[str]]:
    tokens: list[list[str]] = bm25s.tokenize(
        texts, stopwords="en_plus", stemmer=_stem, return_ids=False, show_progress=False
    )
    return tokens


@lru_cache(maxsize=8)
def knowledge_base(text: str, passage_words: int) -> KnowledgeBase:
    """A knowledge base, remembered: the configured one, and those that clients send along with each request."""
    return KnowledgeBase(text, passage_words)
