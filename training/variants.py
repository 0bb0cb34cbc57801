"""Pure: handwritten questions -> the same ones as people ask them, too: again, with courtesy, with a slip."""

import re
from collections.abc import Iterator
from itertools import cycle, pairwise, permutations
from random import Random

from training.questions import Question, TextQuestions

_AROUND = ("Hi! {}", "hello, {}", "Thanks. {}", "Could you tell me {}", "ok, so {}", "{}, please?", "Do you know {}")
_LONG_WORD = re.compile(r"[^\W\d_]{4,}")


def asked_again(text: TextQuestions) -> Iterator[Question]:
    """Each first question, but the last, behind itself, its answer, and an exchange about something else."""
    for question, other in pairwise(_firsts(text)):
        if question.sentence != other.sentence:
            yield _behind(question, other, question)


def asked_in_other_words(text: TextQuestions) -> Iterator[Question]:
    """Each first question behind each other one that the same sentence answers."""
    for before, question in permutations(_firsts(text), 2):
        if before.sentence == question.sentence:
            yield _behind(before, question)


def asked_with_courtesy(text: TextQuestions) -> Iterator[Question]:
    """Each question without a history, with what people say around one."""
    for around, question in zip(cycle(_AROUND), _alone(text), strict=False):
        asked = question.ask[0] if around.startswith(("Hi", "Thanks")) else _uncapitalized(question.ask[0])
        yield _asked(question, around.format(asked.rstrip("?") if "please" in around else asked))


def mistyped(text: TextQuestions) -> Iterator[Question]:
    """Each question without a history, a letter of one of its longer words doubled, left out or behind the next."""
    chance = Random(text.name)
    for question in _alone(text):
        words = list(_LONG_WORD.finditer(question.ask[0]))
        if words:
            word = chance.choice(words)
            at = chance.randrange(word.start() + 1, word.end() - 1)
            before, letter, behind = question.ask[0][:at], question.ask[0][at], question.ask[0][at + 1 :]
            slip = chance.choice((letter * 2 + behind, behind, behind[0] + letter + behind[1:]))
            yield _asked(question, before + slip)


def _alone(text: TextQuestions) -> list[Question]:
    return [question for question in text.questions if question.phrase is None and len(question.ask) == 1]


def _firsts(text: TextQuestions) -> list[Question]:
    """Those that the text answers."""
    return [question for question in _alone(text) if question.sentence is not None]


def _behind(*questions: Question) -> Question:
    """The last one, behind the others and their answers."""
    *before, last = questions
    turns = [turn for question in before for turn in (question.ask[0], question.sentence)]
    return _asked(last, *turns, last.ask[0])


def _asked(question: Question, *turns: str | None) -> Question:
    return question.model_copy(update={"ask": turns})


def _uncapitalized(text: str) -> str:
    return text[:1].lower() + text[1:]
