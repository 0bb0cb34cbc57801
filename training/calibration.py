"""How likely a sentence must be the answer for the ranking to take it for one, by the development questions.

What is taught is taught too well to tell: of its own texts the ranking is surer than of others.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import TypeVar

import torch
from torch import Tensor

from serve_app.passages import split_paragraphs
from training.handwritten import Question, Text
from training.questions import DEVELOPMENT, load

L = TypeVar("L")

_UNCUT = 400  # words: no sentence is longer


def development() -> Iterator[Text]:
    """The development questions, as questions to a handwritten text."""
    for text in load(DEVELOPMENT):
        if text.text is not None:
            paragraphs = tuple(map(tuple, split_paragraphs(text.text, _UNCUT)))
            sentences = [sentence for paragraph in paragraphs for sentence in paragraph]
            asked = (
                Question(tuple(each.ask), tuple(i for i, sentence in enumerate(sentences) if sentence == each.sentence))
                for each in text.questions
            )
            yield Text(text.name, paragraphs, tuple(asked))


@torch.inference_mode()
def calibrated(ranked: Callable[[L], Tensor], lessons: Iterable[tuple[L, Tensor]]) -> float:
    """The log-odds at and below which no sentence is to answer.

    ranked: a lesson -> log-odds [questions, sentences]. lessons: each with what is right in it [questions, sentences].
    """
    right: list[float] = []
    silent: list[float] = []
    for lesson, answers in lessons:
        best, places = ranked(lesson).max(1)
        for odds, place, answer in zip(best.tolist(), places.tolist(), answers, strict=True):
            if not answer.any():
                silent.append(odds)
            elif answer[place]:
                right.append(odds)
    return dividing(right, silent)


def dividing(right: Sequence[float], silent: Sequence[float]) -> float:
    """The threshold that makes the product of two shares largest: of what is answered and what is declined rightly.

    (Their sum, or the number of right replies, would have nearly all declined, or nothing.)
    """

    def worth(threshold: float) -> int:
        return sum(score > threshold for score in right) * sum(score <= threshold for score in silent)

    return max(sorted({0.0, *silent}), key=worth)
