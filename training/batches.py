"""Lessons -> tensors: packed by length, with the places of their sentences and of all that a teacher reads."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import islice
from random import Random

import torch
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence
from transformers import PreTrainedTokenizerFast

from training.lessons import INSTRUCTION, UNKNOWN, Lesson
from training.pieces import END, PAD

NO_LABEL = -100
_LONGEST = 512  # tokens of a prompt; longer ones are not taught
_POOL = 600  # lessons of which batches are made


@dataclass(frozen=True)
class Example:
    prompt: list[int]  # with the closing </s>
    reply: list[int]  # likewise
    places: list[tuple[int, int]]  # in the prompt: of the mark of knowledge, then of each sentence
    right: int | None  # which of the places; 0: none of the sentences answers; None: small talk
    texts: list[tuple[str, int]]  # the turns and sentences, and where in the prompt each starts


@dataclass(frozen=True)
class Batch:
    prompts: Tensor  # [n, tokens]
    replies: Tensor  # [n, tokens], padded with NO_LABEL
    starts: Tensor  # [n, most places]
    ends: Tensor  # [n, most places]: padded with 0
    right: Tensor  # [n]: the right place; NO_LABEL for small talk
    texts: list[tuple[int, str, int]]  # row, text, start


class Encoder:
    """Lessons as token ids. Pieces do not reach across a space, so parts are encoded by themselves, and once."""

    def __init__(self, tokenizer: PreTrainedTokenizerFast) -> None:
        self._tokenizer = tokenizer
        self.ids = lru_cache(maxsize=200_000)(self._encode)

    def __call__(self, lesson: Lesson) -> Example:
        prompt = list(self.ids(f"{INSTRUCTION} [CONTEXT]"))
        texts = []
        for number, turn in enumerate(lesson.turns):
            prompt += self.ids("EOS") if number else ()
            texts.append((turn, len(prompt)))
            prompt += self.ids(turn)
        places = [(len(prompt), len(prompt) + 1)]
        prompt += self.ids("[KNOWLEDGE]")
        for sentence in lesson.sentences:
            texts.append((sentence, len(prompt)))
            prompt += self.ids(sentence)
            places.append((texts[-1][1], len(prompt)))
        return Example([*prompt, END], [*self.ids(lesson.reply), END], places, _right(lesson), texts)

    def _encode(self, text: str) -> tuple[int, ...]:
        return tuple(self._tokenizer.encode(text, add_special_tokens=False))


def _right(lesson: Lesson) -> int | None:
    if lesson.reply in lesson.sentences:
        return 1 + lesson.sentences.index(lesson.reply)
    return 0 if lesson.reply == UNKNOWN else None


def endless_batches(lessons: Iterator[Lesson], encode: Encoder, tokens: int, random: Random) -> Iterator[Batch]:
    """tokens: of prompts, in a batch, about."""
    examples = (example for example in map(encode, lessons) if len(example.prompt) <= _LONGEST)
    while True:
        pool = list(batches(list(islice(examples, _POOL)), tokens))
        random.shuffle(pool)
        yield from pool


def batches(examples: Sequence[Example], tokens: int) -> Iterator[Batch]:
    """Batches of prompts of like length, of about `tokens` prompt tokens each."""
    rows: list[Example] = []
    for example in sorted(examples, key=lambda example: len(example.prompt)):
        if rows and (len(rows) + 1) * len(example.prompt) > tokens:
            yield collate(rows)
            rows = []
        rows.append(example)
    if rows:
        yield collate(rows)


def collate(rows: Sequence[Example]) -> Batch:
    return Batch(
        _padded([row.prompt for row in rows], PAD),
        _padded([row.reply for row in rows], NO_LABEL),
        _padded([[start for start, _ in row.places] for row in rows], 0),
        _padded([[end for _, end in row.places] for row in rows], 0),
        torch.tensor([NO_LABEL if row.right is None else row.right for row in rows]),
        [(number, text, start) for number, row in enumerate(rows) for text, start in row.texts],
    )


def _padded(rows: Sequence[Sequence[int]], value: int) -> Tensor:
    return pad_sequence([torch.tensor(row) for row in rows], batch_first=True, padding_value=value)
