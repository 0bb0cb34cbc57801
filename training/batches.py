"""Lessons -> tensors: packed by length, with the branches of each lesson's trie and its right sentence's place."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache

import torch
from torch import Tensor
from transformers import PreTrainedTokenizerFast

from training.lessons import Lesson
from training.pieces import END, PAD


@dataclass(frozen=True)
class Example:
    prompt: list[int]  # with the closing </s>
    reply: list[int]  # likewise
    places: list[tuple[int, int]]  # in the prompt: of the mark of knowledge, then of each sentence
    right: int  # which of the places; 0: none of the sentences
    branches: list[tuple[int, list[int]]]  # places in the reply where more than one token is allowed, and those tokens


@dataclass(frozen=True)
class Batch:
    prompts: Tensor  # [n, tokens]
    replies: Tensor  # [n, tokens], padded with -100
    places: Tensor  # [n, most places]: the first token of each, padded with -1
    right: Tensor  # [n]: the right place
    branch_rows: Tensor  # [branches]
    branch_places: Tensor  # [branches]
    allowed: Tensor  # [branches, most allowed], the right token first, padded with -1

    @property
    def mask(self) -> Tensor:
        return self.prompts != PAD


class Encoder:
    """Lessons as token ids. Pieces do not reach across a space, so parts are encoded by themselves, and once."""

    def __init__(self, tokenizer: PreTrainedTokenizerFast) -> None:
        self._tokenizer = tokenizer
        self._ids = lru_cache(maxsize=200_000)(self._encode)

    def __call__(self, lesson: Lesson) -> Example:
        prompt = list(self._ids(f"{lesson.instruction} [CONTEXT] {' EOS '.join(lesson.turns)}"))
        places = [(len(prompt), len(prompt) + 1)]
        prompt += self._ids("[KNOWLEDGE]")
        for sentence in lesson.sentences:
            ids = self._ids(sentence)
            places.append((len(prompt), len(prompt) + len(ids)))
            prompt += ids
        right = 1 + lesson.sentences.index(lesson.reply) if lesson.reply in lesson.sentences else 0
        candidates = [[*self._ids(text), END] for text in dict.fromkeys((*lesson.sentences, *lesson.phrases))]
        reply = [*self._ids(lesson.reply), END]
        return Example([*prompt, END], reply, places, right, list(_branches(reply, candidates)))

    def _encode(self, text: str) -> tuple[int, ...]:
        return tuple(self._tokenizer.encode(text, add_special_tokens=False))


def _branches(reply: Sequence[int], candidates: Iterable[Sequence[int]]) -> Iterator[tuple[int, list[int]]]:
    """The right token stands first among those that are allowed."""
    alive = list(candidates)
    for place, token in enumerate(reply):
        allowed = {candidate[place] for candidate in alive if len(candidate) > place}
        if len(allowed) > 1:
            yield place, [token, *sorted(allowed - {token})]
        alive = [candidate for candidate in alive if len(candidate) > place and candidate[place] == token]


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
    prompts = _padded([row.prompt for row in rows], PAD)
    branches = [(index, place, allowed) for index, row in enumerate(rows) for place, allowed in row.branches]
    return Batch(
        prompts,
        _padded([row.reply for row in rows], -100),
        _padded([[start for start, _ in row.places] for row in rows], -1),
        torch.tensor([row.right for row in rows]),
        torch.tensor([index for index, _, _ in branches], dtype=torch.long),
        torch.tensor([place for _, place, _ in branches], dtype=torch.long),
        _padded([allowed for _, _, allowed in branches], -1),
    )


def _padded(rows: Sequence[Sequence[int]], value: int) -> Tensor:
    table = torch.full((len(rows), max(map(len, rows), default=0)), value)
    for index, row in enumerate(rows):
        table[index, : len(row)] = torch.tensor(row)
    return table
