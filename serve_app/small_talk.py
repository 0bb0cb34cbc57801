"""Pure: phrases with examples of what they reply to + a message -> how well each phrase replies to it.

A message is compared with each example as a whole, words of grammar included: "Who are you?" has no other words, and
"Thanks, and when do you open?" is no thanks.
"""

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from functools import lru_cache
from itertools import chain

import numpy as np

from serve_app.messages import Phrase
from serve_app.words import WordVectors, all_words, content_words, stems, word_vectors

# Learnt by `python -m training.phrase_study` on the development questions: log-odds of a message being small talk as
# the example is, against its being a question.
WEIGHTS: Mapping[str, float] = {
    "understood": 5.44,  # share of the message's words that the example has
    "complete": 3.73,  # share of the example's words that the message has
    "strange": -5.70,  # the weightiest word of the message that no example has; the same for all examples
}
THRESHOLD = 4.93
SCALE = WEIGHTS["understood"] + WEIGHTS["complete"] - THRESHOLD  # the odds of a message that is an example

FEATURES = tuple(WEIGHTS)

# Cosines below this say nothing; see `evidence`.
_UNRELATED = 0.3
_MESSAGE_WORDS = 32
# "Who made it?" asks about what was spoken of, and "Who made you?" is no example of it.
_POINTING = frozenset(["it", "its", "he", "him", "his", "she", "her", "they", "them", "their"])
# "When?" goes on from what was spoken of, and "When were you made?" is no example of it.
_BARE = frozenset(["who", "whose", "what", "when", "where", "why", "which", "how"])
_STRETCHED = re.compile(r"(\w)\1{2,}")  # "hellooo"
_IN_FULL = {"s": "is", "m": "am", "re": "are", "ve": "have", "ll": "will", "d": "would", "u": "you", "r": "are"}


class PhraseBook:
    """Phrases, indexed by the words of their examples. Memory: a vector a distinct word, a number a word."""

    def __init__(self, phrases: Sequence[Phrase], vectors: WordVectors) -> None:
        self._phrases = len(phrases)
        self._vectors = vectors
        examples = [(place, words) for place, phrase in enumerate(phrases) for words in map(_words, phrase.to) if words]
        self._phrase_of = np.array([place for place, _ in examples], dtype=np.int32)
        ids: dict[str, int] = {}
        lines = [[ids.setdefault(word, len(ids)) for word in words] for _, words in examples]
        self._words = np.array(list(chain.from_iterable(lines)), dtype=np.int32)
        self._starts = np.cumsum([0, *map(len, lines)], dtype=np.int32)[:-1]  # of each example among the words
        self._stems = stems(list(ids))
        self._frequency = Counter(chain.from_iterable({self._stems[word] for word in line} for line in lines))
        self._word_vectors = _meanings(list(ids), vectors)
        self._weights = self._rarity(self._stems)

    def scores(self, message: str) -> list[float]:
        """How well each phrase replies to `message`, beside `grounding.Sentence`s: as well as its best example fits, 1
        where the message is one, -1 at least; 0 for phrases without examples."""
        scores = np.zeros(self._phrases)
        if len(self._phrase_of):
            odds = self.evidence(message) @ np.array([WEIGHTS[feature] for feature in FEATURES]) - THRESHOLD
            with_examples, first = np.unique(self._phrase_of, return_index=True)
            scores[with_examples] = np.clip(np.maximum.reduceat(odds, first) / SCALE, -1, 1)
        return [float(score) for score in scores.round(4)]

    def evidence(self, message: str) -> np.ndarray:
        """[examples, FEATURES]; zeros where the message has no words, or too many for small talk."""
        words = _words(message)
        if not 0 < len(words) <= _MESSAGE_WORDS:
            return np.zeros((len(self._starts), len(FEATURES)))
        stemmed = stems(words)
        weights = self._rarity(stemmed)
        known = self._similarities(words, stemmed)  # [words of the message, distinct words of the examples]
        strange = (weights * (1 - known.max(axis=1))).max()
        similar = known.take(self._words, axis=1)
        found = np.maximum.reduceat(similar, self._starts, axis=1)  # [words of the message, examples]
        pointing = [word in _POINTING for word in words]
        understood = weights @ found / weights.sum() * found[pointing].min(axis=0, initial=1)
        own = self._weights[self._words]
        has = np.add.reduceat(own * similar.max(axis=0), self._starts)
        complete = has / np.add.reduceat(own, self._starts)
        if _BARE.issuperset(words):
            understood[complete < 1] = 0
        return np.column_stack([understood, complete, np.full(len(complete), strange)])

    def _similarities(self, words: Sequence[str], stemmed: Sequence[str]) -> np.ndarray:
        """1 for words of the same stem; else the cosine, as far as it says something, of words with a meaning of their
        own."""
        cosines = _meanings(words, self._vectors) @ self._word_vectors.T
        similar = np.clip((cosines - _UNRELATED) / (1 - _UNRELATED), 0, 1)
        similar[np.equal.outer(np.array(stemmed), np.array(self._stems))] = 1
        return np.asarray(similar)

    def _rarity(self, stemmed: Sequence[str]) -> np.ndarray:
        """Inverse document frequencies over examples, 1 for a word that none has."""
        size, frequencies = len(self._starts), np.array([self._frequency[stem] for stem in stemmed])
        return np.asarray(np.log((size + 1) / (frequencies + 0.5)) / np.log((size + 1) / 0.5))


def _words(text: str) -> list[str]:
    """As they are compared: "What's up" as "what is up"."""
    return [_IN_FULL.get(word, word) for word in all_words(_STRETCHED.sub(r"\1", text))]


def _meanings(words: Sequence[str], vectors: WordVectors) -> np.ndarray:
    """Vectors of length 1, and of length 0 for words of grammar: "you" and "it" are much alike, and not the same."""
    found, _ = vectors(words)
    found[[not content_words(word) for word in words]] = 0
    return found


@lru_cache(maxsize=2)  # the configured phrases, and those of a client that sends its own
def phrase_book(phrases: tuple[Phrase, ...]) -> PhraseBook:
    return PhraseBook(phrases, word_vectors())
