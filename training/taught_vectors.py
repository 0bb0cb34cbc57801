"""Teaches word vectors which sentence answers a question, on the made-up texts of `training.everyday`.

Contrastive learning (InfoNCE, van den Oord et al. 2018) with the ranking's own averages: of a text's sentences, the one
that answers shall be nearest to the question. Vectors are drawn back to where they were, since the texts have few
words; one epoch is enough, and a second one made them worse on the development questions.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import accumulate
from random import Random

import numpy as np
import torch
from tokenizers import Tokenizer
from torch import Tensor
from torch.nn.functional import embedding_bag, log_softmax, normalize

from serve_app.words import content_words
from training.everyday import sample

TEXTS = 4000
BATCH = 64  # questions
RATE = 1e-3
SHARPNESS = 12.0  # of the softmax over cosines
ANCHOR = 0.5  # how strongly a vector is drawn back: per square of its way


@dataclass(frozen=True)
class Bag:
    """A text's pieces and how much each counts."""

    pieces: tuple[int, ...]
    counts: tuple[float, ...]


@dataclass(frozen=True)
class Lesson:
    question: Bag
    sentences: tuple[Bag, ...]
    answer: int


def taught(vectors: np.ndarray, weights: np.ndarray, tokenizer: Tokenizer, seed: int = 0) -> np.ndarray:
    """[pieces, dimensions], each of length 1 again."""
    random = Random(seed)
    lessons = list(_lessons(random, _bagging(weights, tokenizer)))
    random.shuffle(lessons)
    start = torch.tensor(vectors, dtype=torch.float32)
    learnt = start.clone().requires_grad_()
    optimizer = torch.optim.Adam([learnt], lr=RATE)
    for first in range(0, len(lessons), BATCH):
        batch = lessons[first : first + BATCH]
        optimizer.zero_grad()
        way = (learnt - start).square().sum()
        torch.autograd.backward(_loss(learnt, batch) + ANCHOR * way / BATCH)
        optimizer.step()
    return np.asarray(normalize(learnt.detach(), dim=1).numpy())


def _lessons(random: Random, bag: Callable[[str], Bag]) -> Iterator[Lesson]:
    for _ in range(TEXTS):
        text = sample(random)
        sentences = tuple(bag(sentence) for sentence in text.sentences)
        for question in text.questions:
            if question.sentence is not None and not question.history:
                yield Lesson(bag(question.ask), sentences, question.sentence)


def _bagging(weights: np.ndarray, tokenizer: Tokenizer) -> Callable[[str], Bag]:
    """Text -> its words' pieces, counted as the server counts words."""

    @lru_cache(maxsize=100_000)
    def pieces(word: str) -> tuple[int, ...]:
        return tuple(tokenizer.encode(word, add_special_tokens=False).ids)

    def bag(text: str) -> Bag:
        words = [pieces(word) for word in dict.fromkeys(content_words(text))]
        counts = [float(weights[list(word)].max()) / len(word) for word in words]
        return Bag(
            tuple(piece for word in words for piece in word),
            tuple(count for word, count in zip(words, counts, strict=True) for _ in word),
        )

    return bag


def _loss(vectors: Tensor, lessons: Sequence[Lesson]) -> Tensor:
    questions = _means(vectors, [lesson.question for lesson in lessons])
    sentences = _means(vectors, [sentence for lesson in lessons for sentence in lesson.sentences])
    sizes = [len(lesson.sentences) for lesson in lessons]
    losses = [
        -log_softmax(SHARPNESS * (own @ question), dim=0)[lesson.answer]
        for lesson, question, own in zip(lessons, questions, torch.split(sentences, sizes), strict=True)
    ]
    return torch.stack(losses).mean()


def _means(vectors: Tensor, bags: Sequence[Bag]) -> Tensor:
    """[bags, dimensions], of length 1; zeros where a bag is empty."""
    offsets = list(accumulate((len(bag.pieces) for bag in bags[:-1]), initial=0))
    summed = embedding_bag(
        torch.tensor([piece for bag in bags for piece in bag.pieces], dtype=torch.long),
        vectors,
        torch.tensor(offsets),
        mode="sum",
        per_sample_weights=torch.tensor([count for bag in bags for count in bag.counts], dtype=torch.float32),
    )
    return normalize(summed, dim=1)
