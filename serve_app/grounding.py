"""Pure: knowledge text + dialogue -> the passages that fit the dialogue best, best first, and each sentence's score.

In two stages, as it is usual in retrieval: every sentence is judged by its words, and the best of them are read.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from itertools import chain
from pathlib import Path

import numpy as np

from serve_app.evidence import CLOSENESS, FEATURES, SentenceIndex
from serve_app.messages import Passage
from serve_app.passages import join_passages, split_paragraphs
from serve_app.sentence_encoder import sentence_encoder
from serve_app.wording import as_asked, english
from serve_app.words import all_words, word_vectors

WEIGHTS = Path(__file__).resolve().parents[1] / "models/ranker/weights.json"
AHEAD = 1024  # sentences that are read before anybody asks, in some two seconds: a quarter of what is remembered
READ = 32  # sentences: those that look best by their words are read by the encoder
SCALE = 10.0  # scores are log-odds divided by this, so that nearly all lie between -1 and 1


@dataclass(frozen=True)
class Weights:
    """Log-odds of a sentence being the answer, against none being it: learnt by `training.ranking`."""

    features: np.ndarray
    threshold: float

    def odds(self, evidence: np.ndarray) -> np.ndarray:
        return np.asarray(evidence @ self.features - self.threshold)


@cache
def by_words() -> Weights:
    return _weights("by words", FEATURES)


@cache
def by_reading() -> Weights:
    return _weights("by reading", (*FEATURES, *CLOSENESS))


def _weights(stage: str, features: Sequence[str]) -> Weights:
    learnt: dict[str, float] = json.loads(WEIGHTS.read_text(encoding="utf-8"))[stage]
    return Weights(np.array([learnt[feature] for feature in features]), learnt["threshold"])


@dataclass(frozen=True)
class Sentence:
    """A sentence of a passage, and how well it fits the dialogue's last turns.

    At a score of 0 and below the text is taken not to answer; scores lie between -1 and 1, and mean the same for short
    and long texts.
    """

    text: str
    score: float


@dataclass(frozen=True)
class Ranking:
    """What a dialogue brings from a knowledge base."""

    passages: list[Passage]  # best first, then filling
    sentences: Mapping[str, tuple[Sentence, ...]]  # by passage id; a passage's text is their texts, joined by spaces

    @property
    def lead(self) -> str:
        """The sentence that fits best, of the best passage; "" where there is none."""
        if not self.passages:
            return ""
        return max(self.sentences[self.passages[0].id], key=lambda sentence: sentence.score).text


class KnowledgeBase:
    """A knowledge text, cut into passages, and indexed by sentence."""

    def __init__(self, text: str, passage_words: int) -> None:
        paragraphs = split_paragraphs(text, passage_words)
        self._passages = join_passages(paragraphs, passage_words)
        self.passages = [" ".join(sentences) for sentences in self._passages]
        self._starts = np.cumsum([0, *map(len, self._passages)])
        self._index = SentenceIndex(paragraphs, word_vectors())
        self._wordless = np.array([not all_words(sentence) for sentence in self._index.sentences], dtype=bool)
        self.nbytes = self._index.nbytes + 2 * len(text)  # about; the text is here as passages, too

    def rank(self, dialog: Sequence[str], limit: int) -> Ranking:
        """At most `limit` passages: those that fit the dialogue's last turns, best first; as filling their neighbours,
        and then the others, best first, too.

        A passage is as good as its best sentence. Raises ValueError for an empty dialogue.
        """
        if not self.passages:
            return Ranking([], {})
        scores = self._scores(dialog)
        best = np.maximum.reduceat(scores, self._starts[:-1])
        chosen = _order(best, limit)
        return Ranking(
            passages=[self._passage(i, best[i]) for i in chosen],
            sentences={_id(i): tuple(self._scored(i, scores)) for i in chosen},
        )

    def read_ahead(self) -> None:
        """Read its first sentences, and what else ranking needs from files, so that no question waits for it."""
        english()
        for sentence in self._index.sentences[:AHEAD]:
            sentence_encoder().sentence(sentence)

    def _scores(self, dialog: Sequence[str]) -> np.ndarray:
        dialog = as_asked(dialog, self._index.words)
        evidence = self._index.evidence(dialog)
        odds = by_words().odds(evidence)
        if not all_words(dialog[-1]):
            return _scaled(odds)  # nothing to read
        read = np.argsort(-odds, kind="stable")[:READ]
        closeness = self._index.closeness(dialog, read, sentence_encoder())
        read_odds = by_reading().odds(np.column_stack([evidence[read], closeness]))
        odds = np.minimum(odds, read_odds.min())  # none that is not read is better than one that is
        odds[read] = read_odds
        odds[self._wordless] = -np.inf  # the encoder finds some likeness in dots, too
        return _scaled(odds)

    def _passage(self, i: int, score: float) -> Passage:
        return Passage(id=_id(i), text=self.passages[i], score=float(score), filling=bool(score <= 0))

    def _scored(self, i: int, scores: np.ndarray) -> Iterator[Sentence]:
        for place, text in enumerate(self._passages[i], start=self._starts[i]):
            yield Sentence(text, float(scores[place]))


def _scaled(odds: np.ndarray) -> np.ndarray:
    return np.asarray(np.clip(odds / SCALE, -1, 1).round(4))


def _order(best: np.ndarray, limit: int) -> list[int]:
    by_score = [int(i) for i in np.argsort(-best, kind="stable")[:limit]]
    fitting = [i for i in by_score if best[i] > 0]
    neighbours = (i + step for i in fitting for step in (1, -1) if 0 <= i + step < len(best))
    return list(dict.fromkeys(chain(fitting, neighbours, by_score)))[:limit]


def _id(i: int) -> str:
    return f"p{i}"
