"""What models/mini is taught: a dialogue, passages as the server would give them, and the reply that is right.

The texts are the handwritten ones. What the server gives for a question is ranked by its own `KnowledgeBase`; as that
was taught on the same texts, it finds nearly everything in them, so some right passages are moved or taken away.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import TypeAlias

import yaml

from serve_app.grounding import KnowledgeBase, Sentence
from serve_app.settings import GroundingLimits
from training.handwritten import Text

INSTRUCTION = (
    "Instruction: given a dialog context and related knowledge, you need to answer the last question based on the "
    "knowledge."
)
UNKNOWN = "I don't know. My knowledge says nothing about that."
PASSAGE_WORDS, MOST_PASSAGES = GroundingLimits().passage_words, GroundingLimits().max_passages

# The configured phrases, and what they reply to.
_DATA = yaml.safe_load((Path(__file__).parent / "small_talk.yaml").read_text())
SMALL_TALK: list[tuple[str, list[str]]] = [(talk["reply"], talk["said"]) for talk in _DATA.values()]
_OPENERS = ("", "", "", "", "oh, ", "ok, ", "well, ", "hm, ", "hey, ")
_CLOSERS = ("", "", "", "!", ".", "?", " :)", " my friend", " please")

_TALK = 0.07  # share of the lessons that are small talk
# Shares of the questions with an answer: whose passage is taken away, is moved behind others, or stands anywhere.
_TAKEN, _MOVED, _SHUFFLED = 0.05, 0.07, 0.03
_MISLED = 0.07  # share of the lessons whose first passage is led by any of its sentences
_BEFORE = 0.12  # share of the lessons behind an exchange about something else
_LOWER, _UNMARKED = 0.15, 0.07  # shares of the questions without capitals and marks, and without a mark
_LENGTHS = (1, 2, 2, 3, 3, 4, 5, 6, 8, MOST_PASSAGES)  # passages of a lesson: short ones are learnt from faster


Passage: TypeAlias = tuple[Sentence, ...]


@dataclass(frozen=True)
class Lesson:
    """`reply` is a sentence of the passages, or else `UNKNOWN` or small talk."""

    turns: tuple[str, ...]
    passages: tuple[tuple[str, ...], ...]  # of sentences
    reply: str

    @property
    def sentences(self) -> list[str]:
        return [sentence for passage in self.passages for sentence in passage]


@dataclass(frozen=True)
class Asked:
    """A question, and what the server gives for it."""

    turns: tuple[str, ...]
    passages: tuple[Passage, ...]  # best first
    answers: tuple[str, ...]  # sentences that answer, the best first


def ask(texts: Iterable[Text]) -> Iterator[Asked]:
    """All questions of the texts, put to the server's ranking."""
    for text in texts:
        knowledge = KnowledgeBase("\n\n".join(map(" ".join, text.paragraphs)), PASSAGE_WORDS)
        sentences = text.sentences
        for question in text.questions:
            ranking = knowledge.rank(question.dialog, MOST_PASSAGES)
            passages = (ranking.sentences[passage.id] for passage in ranking.passages)
            yield Asked(question.dialog, tuple(passages), tuple(sentences[place] for place in question.answers))


class Lessons:
    """Endless; each question comes again in other company."""

    def __init__(self, asked: Sequence[Asked], seed: int) -> None:
        self._asked = asked
        self._random = Random(seed)
        self.longest = MOST_PASSAGES  # of a lesson, in passages

    def __iter__(self) -> Iterator[Lesson]:
        while True:
            yield self._small_talk() if self._random.random() < _TALK else self._question()

    def _question(self) -> Lesson:
        asked = self._random.choice(self._asked)
        passages = self._disturbed(asked)
        reply = next((answer for answer in asked.answers if _holder(answer, passages) is not None), UNKNOWN)
        turns = (*self._before(asked), *asked.turns[:-1], self._typed(asked.turns[-1]))
        return Lesson(turns, self._given(passages, reply), reply)

    def _disturbed(self, asked: Asked) -> list[Passage]:
        passages = list(asked.passages)
        right = [passage for passage in passages if any(_holds(passage, answer) for answer in asked.answers)]
        share = self._random.random()
        if share < _TAKEN:
            return [passage for passage in passages if passage not in right]
        if right and share < _TAKEN + _MOVED:
            passages.remove(right[0])
            passages.insert(self._random.choice((1, 1, 2, 2, 3, 4, 6)), right[0])
        elif share < _TAKEN + _MOVED + _SHUFFLED:
            self._random.shuffle(passages)
        return passages

    def _given(self, passages: list[Passage], reply: str) -> tuple[tuple[str, ...], ...]:
        """The first few, the one with the reply among them; the first one is led by its best sentence."""
        kept = passages[: min(self._random.choice(_LENGTHS), self.longest)]
        holder = _holder(reply, passages)
        if holder is not None and holder not in kept:
            kept[-1] = holder
        texts = [tuple(sentence.text for sentence in passage) for passage in kept]
        return (self._led(kept[0]), *texts[1:]) if kept else ()

    def _led(self, passage: Passage) -> tuple[str, ...]:
        misled = self._random.random() < _MISLED
        lead = self._random.choice(passage) if misled else max(passage, key=lambda sentence: sentence.score)
        return (lead.text, *(sentence.text for sentence in passage if sentence is not lead))

    def _before(self, asked: Asked) -> tuple[str, ...]:
        if len(asked.turns) > 1 or self._random.random() > _BEFORE:
            return ()
        if self._random.random() < 0.3:
            said, reply = self._exchange()
            return said, reply
        other = self._random.choice(self._asked)
        return other.turns[-1], other.answers[0] if other.answers else UNKNOWN

    def _typed(self, question: str) -> str:
        share = self._random.random()
        if share < _LOWER:
            return question.lower().rstrip("?.! ")
        return question.rstrip("?.! ") if share < _LOWER + _UNMARKED else question

    def _small_talk(self) -> Lesson:
        said, reply = self._exchange()
        asked = self._random.choice(self._asked)
        before = (asked.turns[-1], asked.answers[0]) if asked.answers and self._random.random() < 0.35 else ()
        return Lesson((*before, said), self._given(list(asked.passages), reply), reply)

    def _exchange(self) -> tuple[str, str]:
        reply, said = self._random.choice(SMALL_TALK)
        line = self._random.choice(_OPENERS) + self._random.choice(said) + self._random.choice(_CLOSERS)
        return (line.capitalize() if self._random.random() < 0.5 else line), reply


def _holds(passage: Passage, text: str) -> bool:
    return any(sentence.text == text for sentence in passage)


def _holder(reply: str, passages: Sequence[Passage]) -> Passage | None:
    """The passage that has it."""
    return next((passage for passage in passages if _holds(passage, reply)), None)
