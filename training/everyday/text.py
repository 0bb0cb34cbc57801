"""What the generator makes: a text, and questions that are answered by one of its sentences or by none."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Question:
    """`sentence` is the index of the sentence that answers; None where the text has no answer. `history` holds the
    earlier turns, user and bot in turn, each bot turn a sentence of the text."""

    ask: str
    sentence: int | None
    kind: str
    history: tuple[str, ...] = ()


@dataclass(frozen=True)
class Text:
    title: str
    sentences: tuple[str, ...]
    questions: tuple[Question, ...]
