"""Pure: handwritten questions -> the same ones in dialogues that have had the answer before."""

from collections.abc import Iterator
from itertools import pairwise, permutations

from training.questions import Question, TextQuestions


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


def _firsts(text: TextQuestions) -> list[Question]:
    return [question for question in text.questions if question.sentence is not None and len(question.ask) == 1]


def _behind(*questions: Question) -> Question:
    """The last one, behind the others and their answers."""
    *before, last = questions
    turns = [turn for question in before for turn in (question.ask[0], question.sentence)]
    return last.model_copy(update={"ask": (*turns, last.ask[0])})
