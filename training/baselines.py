"""Answering without a model: the knowledge's best sentence, or that one does not know.

A baseline finds the best sentence for a dialogue and its score; below a threshold it declines.
"""

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache

import bm25s
import Stemmer

from serve_app.knowledge import knowledge_base
from serve_app.passages import split_sentences
from training.calibration import dividing
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
    """Plain BM25 over the text's sentences, stemmed and without stop words. It reads the last question alone.

    The score is divided by about that of a word which one sentence has, so that a threshold suits texts of any length.
    """
    return _indexed(text).best(dialog[-1])


def hybrid(passage_words: int) -> Ranker:
    """The server's own ranking, which declines at a score of 0 and below."""

    def best(text: str, dialog: Sequence[str]) -> Best:
        ranking = knowledge_base(text, passage_words).rank(dialog, limit=1)  # the best sentence is in the best passage
        sentences = [sentence for passage in ranking.passages for sentence in ranking.sentences[passage.id]]
        found = max(sentences, key=lambda sentence: sentence.score)
        return Best(found.text, found.score)

    return best


def chosen_threshold(texts: Iterable[TextQuestions], ranker: Ranker) -> float:
    """As `training.calibration` sets the ranking's."""
    right, silent = [], []
    asked = [(text.text, question) for text in texts if text.text is not None for question in text.questions]
    for text, question in asked:
        best = ranker(text, question.ask)
        if question.declines:
            silent.append(best.score)
        elif is_right(best.sentence, question):
            right.append(best.score)
    return dividing(right, silent)


class _Bm25:
    def __init__(self, text: str) -> None:
        self._sentences = split_sentences(text)
        tokens = _tokenize(self._sentences)
        self._vocabulary = {token for sentence in tokens for token in sentence}
        self._index = bm25s.BM25()
        self._index.index(tokens, show_progress=False)

    def best(self, question: str) -> Best:
        known = [token for token in _tokenize([question])[0] if token in self._vocabulary]
        if not known:
            return Best(self._sentences[0], 0.0)
        scores = self._index.get_scores(known) / math.log(1 + len(self._sentences))
        return Best(self._sentences[int(scores.argmax())], float(scores.max()))


@lru_cache(maxsize=64)
def _indexed(text: str) -> _Bm25:
    return _Bm25(text)


def _tokenize(texts: list[str]) -> list[list[str]]:
    tokens: list[list[str]] = bm25s.tokenize(
        texts, stopwords="en", stemmer=_stem, return_ids=False, show_progress=False
    )
    return tokens
