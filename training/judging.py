"""Pure: a reply, its question and what is known -> what is right and what is wrong with it; and shares of many such.

Words are compared without regard to case and to the marks between them, so that "4 PM." and "4 pm" are the same.
"""

import math
import re
import unicodedata
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import chain

from serve_app.passages import split_paragraphs, split_sentences
from training.questions import Question, declines, is_right

RUN = 4  # words; who writes as many twice, where the knowledge does not, goes round in circles

_WORD = re.compile(r"\w+(?:[.,:']\w+)*")  # pod, 1.8, 6:30, don't


@dataclass(frozen=True)
class Verdict:
    right: bool  # an offer declines, so it is no answer, whatever it holds
    holds_it: bool  # what the question needs
    declines: bool
    offers: bool  # a sentence that comes near, saying that it is not sure
    loops: bool
    strange_sentences: tuple[str, ...]  # of the reply; neither the knowledge nor the phrases have them
    strange_words: tuple[str, ...]  # likewise; the dialogue has not said them, either


class Known:
    """What a reply may say: the sentences of a text, and the configured phrases."""

    def __init__(self, text: str, phrases: Sequence[str], passage_words: int, unsure: str | None = None) -> None:
        """passage_words: a longer sentence is cut, as passages are, and its pieces are known, too.

        unsure: what a sentence is offered behind.
        """
        self._unsure = words(unsure or "")
        phrases = [*phrases, *filter(None, [unsure])]
        pieces = chain.from_iterable(split_paragraphs(text, passage_words))
        self.sentences = {words(each) for each in [*split_sentences(text), *pieces, *phrases]}
        self.sentences |= {words(sentence) for phrase in phrases for sentence in split_sentences(phrase)}
        self.words = {word for sentence in self.sentences for word in sentence}
        self.runs = Counter(_runs(words(text)))

    def judge(self, reply: str, question: Question) -> Verdict:
        said = words(reply)
        often = Counter(_runs(said))
        heard = self.words | {word for turn in question.ask for word in words(turn)}
        offers = bool(self._unsure) and said[: len(self._unsure)] == self._unsure
        return Verdict(
            right=question.declines if offers else is_right(reply, question),
            holds_it=is_right(reply, question),
            declines=declines(reply),
            offers=offers,
            loops=any(count > max(1, self.runs[run]) for run, count in often.items()),
            strange_sentences=tuple(each for each in split_sentences(reply) if words(each) not in self.sentences),
            strange_words=tuple(word for word in said if word not in heard),
        )


def words(text: str) -> tuple[str, ...]:
    return tuple(
        _WORD.findall(unicodedata.normalize("NFKC", text).replace("\N{RIGHT SINGLE QUOTATION MARK}", "'").lower())
    )


def _runs(said: Sequence[str]) -> Iterable[tuple[str, ...]]:
    return (tuple(said[start : start + RUN]) for start in range(len(said) - RUN + 1))


@dataclass(frozen=True)
class Share:
    """So many of so many."""

    hits: int
    of: int

    @classmethod
    def count(cls, found: Iterable[bool]) -> "Share":
        listed = list(found)
        return cls(sum(listed), len(listed))

    @property
    def value(self) -> float:
        return self.hits / self.of

    @property
    def interval(self) -> tuple[float, float]:
        """The 95 % interval by Wilson (1927), which holds for few questions and for shares near 0 and 1, too."""
        z = 1.96
        middle = (self.hits + z**2 / 2) / (self.of + z**2)
        spread = z / (self.of + z**2) * math.sqrt(self.hits * (self.of - self.hits) / self.of + z**2 / 4)
        return max(0.0, middle - spread), min(1.0, middle + spread)

    def __str__(self) -> str:
        low, high = self.interval
        return f"{self.value:.2f} ({low:.2f}-{high:.2f})"
