"""Answering without a model: the knowledge's best sentence, or that one does not know.

A baseline finds the best sentence for a dialogue and its score; below a threshold it declines.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache

import bm25s
import numpy as np
import Stemmer

from serve_app.grounding import knowledge_base
from serve_app.passages import split_sentences
from training.questions import TextQuestions, is_right

DECLINING = "I don't know."

_stem = Stemmer.Stemmer("english")


@dataclass(frozen=True)
class Best:
    """The sentence that a ranking puts first, and its score there."""

    sentence: str
    score: float


Ranker = Callable[[str, Sequence[str]], Best]  # of a text and a dialogue's turns


def reply(best: Best, threshold: float) -> str:
    return best.sentence if best.score > threshold else DECLINING


def bm25(text: str, dialog: Sequence[str]) -> Best:
    """Plain BM25 over the text's sentences, stemmed and without stop words. It reads the last question alone."""
    index = _Bm25.of(text)
    return index.best(dialog[-1])


def hybrid(passage_words: int) -> Ranker:
    """The server's own ranking, which declines at a score of 0 and below."""

    def best(text: str, dialog: Sequence[str]) -> Best:
        ranking = knowledge_base(text, passage_words).rank(dialog, limit=1)  # the best sentence is in the best passage
        sentences = [sentence for passage in ranking.passages for sentence in ranking.sentences[passage.id]]
        found = max(sentences, key=lambda sentence: sentence.score)
        return Best(found.text, found.score)

    return best


def chosen_threshold(texts: Iterable[TextQuestions], ranker: Ranker) -> float:
    """The threshold that makes the product of two shares largest: of what is answered and what is declined rightly.

    (Their sum, or the number of right replies, would have nearly all declined, or nothing.)
    """
    answerable: list[tuple[float, bool]] = []
    unanswerable: list[float] = []
    for text in texts:
        for question in text.questions if text.text else ():
            best = ranker(text.text or "", question.ask)
            if question.declines:
                unanswerable.append(best.score)
            else:
                answerable.append((best.score, is_right(best.sentence, question)))
    right = np.array([score for score, is_right in answerable if is_right])
    silent = np.array(unanswerable)

    def worth(threshold: float) -> float:
        return float((right > threshold).sum() / len(answerable) * (silent <= threshold).mean())

    return max(sorted({0.0, *silent.tolist()}), key=worth)


class _Bm25:
    def __init__(self, text: str) -> None:
        self._sentences = split_sentences(text)
        tokens = _tokenize(self._sentences)
        self._vocabulary = {token for sentence in tokens for token in sentence}
        self._index = bm25s.BM25()
        self._index.index(tokens, show_progress=False)

    @staticmethod
    @lru_cache(maxsize=64)
    def of(text: str) -> "_Bm25":
        return _Bm25(text)

    def best(self, question: str) -> Best:
        known = [token for token in _tokenize([question])[0] if token in self._vocabulary]
        if not known:
            return Best(self._sentences[0], 0.0)
        scores = self._index.get_scores(known)
        return Best(self._sentences[int(scores.argmax())], float(scores.max()))


def _tokenize(texts: list[str]) -> list[list[str]]:
    tokens: list[list[str]] = bm25s.tokenize(
        texts, stopwords="en", stemmer=_stem, return_ids=False, show_progress=False
    )
    return tokens
