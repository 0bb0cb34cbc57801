"""Trains a T5 on pairs until its loss on others stops falling. Knows no files and no text."""

import logging
import math
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from random import Random
from typing import Literal

import torch
from torch import Tensor
from torch.nn import functional as F
from transformers import T5ForConditionalGeneration as T5

from training.half_precision import multiplies_bfloat16
from training.pairs import NO_LABEL, Batch, Pair, batches, collate

log = logging.getLogger("finetune")

_WARMUP = 0.06  # share of all steps
_CLIPPED_NORM = 1.0
_REPORT_S = 15.0
_FEW_STEPS = 200  # an epoch of fewer is validated at its end, a longer one after each quarter

Ending = Literal["all epochs", "no better any more", "interrupted"]


@dataclass(frozen=True)
class Settings:
    epochs: int = 10
    rate: float = 1e-4
    batch_tokens: int = 2048  # of prompts and replies together, padding included
    patience: int = 3  # validations without a better loss, after which training stops
    seed: int = 0

    def __post_init__(self) -> None:
        """Raises ValueError that names the setting."""
        for name, least in (("epochs", 1), ("batch_tokens", 1), ("patience", 1), ("seed", 0)):
            if getattr(self, name) < least:
                raise ValueError(f"{name}: {getattr(self, name)}; it must be at least {least}")
        if not 0 < self.rate <= 1:
            raise ValueError(f"rate: {self.rate}; it must be above 0 and at most 1")


@dataclass(frozen=True)
class Point:
    """A validation. Losses are cross-entropies, the mean over the replies' tokens."""

    step: int
    epoch: float
    training: float | None  # the mean since the last validation, with dropout; None before the first step
    validation: float


@dataclass
class History:
    points: list[Point] = field(default_factory=list)
    ending: Ending = "all epochs"

    @property
    def before(self) -> float:
        return self.points[0].validation

    @property
    def best(self) -> Point:
        return min(self.points, key=lambda point: point.validation)

    @property
    def since_best(self) -> int:
        return len(self.points) - 1 - self.points.index(self.best)


class Diverged(Exception):
    """The loss is no number any more; says when, and the remedy."""


def fit(model: T5, training: Sequence[Pair], validation: Sequence[Pair], settings: Settings) -> History:
    """Train `model` where it is, on its device; it ends with the weights of the best validation.

    Ctrl-C ends the training, not the program. Raises Diverged.
    """
    run = _Run(model, validation, settings)
    run.validate(0.0)
    try:
        run.train(training)
    except KeyboardInterrupt:
        run.history.ending = "interrupted"
    run.take_best()
    return run.history


@torch.inference_mode()
def validation_loss(model: T5, pairs: Sequence[Pair], batch_tokens: int) -> float:
    """The mean over all tokens of the replies."""
    model.train(False)
    total = 0.0
    for rows in batches(pairs, batch_tokens):
        total += float(_summed_loss(model, collate(rows, model.device)))
    return total / sum(len(pair.reply) for pair in pairs)


def rate_factor(done: float) -> float:
    """Share of the full rate after a share `done` of the steps: a linear warm-up, then a linear decay to zero."""
    return min(done / _WARMUP, (1 - done) / (1 - _WARMUP))


class _Run:
    def __init__(self, model: T5, validation: Sequence[Pair], settings: Settings) -> None:
        self.history = History()
        self._model = model
        self._validation = validation
        self._settings = settings
        self._optimizer = torch.optim.AdamW(model.parameters(), lr=settings.rate, weight_decay=0.0)
        self._best: dict[str, Tensor] = {}  # weights
        self._losses: list[float] = []  # since the last validation
        self._steps = self._seen = 0
        self._began = self._reported = time.monotonic()

    def train(self, pairs: Sequence[Pair]) -> None:
        torch.manual_seed(self._settings.seed)  # of the dropout
        chance = Random(self._settings.seed)
        for epoch in range(self._settings.epochs):
            packed = batches(pairs, self._settings.batch_tokens, chance)
            every = len(packed) if len(packed) < _FEW_STEPS else math.ceil(len(packed) / 4)
            for number, rows in enumerate(packed, start=1):
                self._step(rows, (epoch + (number - 0.5) / len(packed)) / self._settings.epochs)
                done = epoch + number / len(packed)
                if number % every == 0 or number == len(packed):
                    self.validate(done)
                    if self.history.since_best >= self._settings.patience:
                        self.history.ending = "no better any more"
                        return
                elif time.monotonic() - self._reported > _REPORT_S:
                    self._report(done, f"loss {_mean(self._losses):.3f}")

    def validate(self, done: float) -> None:
        """done: epochs."""
        loss = validation_loss(self._model, self._validation, self._settings.batch_tokens)
        trained = _mean(self._losses) if self._losses else None
        self._losses.clear()
        if better := not self.history.points or loss < self.history.best.validation:
            self._best = {name: weight.detach().cpu().clone() for name, weight in self._model.named_parameters()}
        self.history.points.append(Point(self._steps, done, trained, loss))
        before = "" if trained is None else f"loss {trained:.3f}, "
        self._report(done, f"{before}validation {loss:.3f}{', the best so far' if better else ''}")

    @torch.no_grad()
    def take_best(self) -> None:
        for name, weight in self._model.named_parameters():
            weight.copy_(self._best[name])

    def _step(self, rows: Sequence[Pair], done: float) -> None:
        """done: share of all steps."""
        self._model.train()
        for group in self._optimizer.param_groups:
            group["lr"] = self._settings.rate * rate_factor(done)
        loss = _summed_loss(self._model, collate(rows, self._model.device)) / sum(len(row.reply) for row in rows)
        loss.backward()  # type: ignore[no-untyped-call]  # torch leaves it unannotated
        torch.nn.utils.clip_grad_norm_(self._model.parameters(), _CLIPPED_NORM)
        self._optimizer.step()
        self._optimizer.zero_grad()
        self._steps += 1
        self._seen += len(rows)
        self._losses.append(float(loss.detach()))
        if not math.isfinite(self._losses[-1]):
            raise Diverged(f"the loss of step {self._steps} is no number; lower the rate of {self._settings.rate:g}")

    def _report(self, done: float, losses: str) -> None:
        """done: epochs."""
        self._reported = time.monotonic()
        seconds = self._reported - self._began
        speed, left = "", ""
        if self._seen:
            speed = f", {self._seen / seconds:.1f} examples/s"
            left = f", at most {_duration(seconds * (self._settings.epochs / done - 1))} left"
        log.info("step %d, epoch %.2f of %d: %s%s%s", self._steps, done, self._settings.epochs, losses, speed, left)


def _summed_loss(model: T5, batch: Batch) -> Tensor:
    with torch.autocast(model.device.type, torch.bfloat16, enabled=multiplies_bfloat16(model.device)):
        logits = model(input_ids=batch.prompts, attention_mask=batch.mask, labels=batch.replies).logits
    return F.cross_entropy(
        logits.float().flatten(0, 1), batch.replies.flatten(), ignore_index=NO_LABEL, reduction="sum"
    )


def _mean(numbers: Sequence[float]) -> float:
    return sum(numbers) / len(numbers)


def _duration(seconds: float) -> str:
    if seconds < 60:
        return f"{seconds:.0f} s"
    hours, minutes = divmod(round(seconds / 60), 60)
    return f"{hours} h {minutes} min" if hours else f"{minutes} min"
