"""An engine whose steps a test takes itself, a model that echoes its prompt, and how to read a reply."""

import asyncio
import random
import threading
from collections.abc import AsyncIterator, Sequence
from typing import Any
from unittest.mock import patch

import pytest
import torch
from torch import Tensor

from serve_app.engine.backends.kernels import CannotCompile, load
from serve_app.engine.engine import Engine
from serve_app.engine.token_stream import Ending, TokenStream
from serve_app.engine.trie import Trie
from serve_app.engine.weights import Weights
from serve_app.messages import Candidate, Sampling


def can_compile() -> bool:
    try:
        load()
    except CannotCompile:
        return False
    return True


needs_compiled = pytest.mark.skipif(not can_compile(), reason="kernels.c cannot be built here")

PATIENCE_S = 30  # a test that would wait forever fails by then; none depends on its length
LONG_S = 3600.0  # a budget that no test uses up


def random_prompts(lengths: Sequence[int], *, seed: int = 1, vocabulary: int = 64) -> list[list[int]]:
    """Prompts of `lengths` tokens, the closing </s> included."""
    generator = torch.Generator().manual_seed(seed)
    return [[*torch.randint(2, vocabulary, (length - 1,), generator=generator).tolist(), 1] for length in lengths]


async def read(reply: TokenStream) -> list[int]:
    """All tokens of a reply."""
    async with asyncio.timeout(PATIENCE_S):
        return [token async for tokens in reply for token in tokens]


async def following(stream: AsyncIterator[list[int]]) -> list[int]:
    """What one decoding step brings."""
    return await asyncio.wait_for(anext(stream), PATIENCE_S)


async def answer(
    engine: Engine,
    prompt: Sequence[int],
    sampling: Sampling,
    prefix: Sequence[int] = (),
    candidates: Sequence[Candidate] = (),
) -> tuple[list[int], Ending | None]:
    """A whole reply, and why it ended."""
    reply = engine.submit(prompt, sampling, candidates=candidates, prefix=prefix, budget_s=LONG_S)
    return await read(reply), reply.ending


def random_candidates(count: int, *, seed: int = 1, tokens: int = 4, longest: int = 6) -> list[Candidate]:
    """Different ones of few different tokens, so that many begin alike."""
    chance = random.Random(seed)
    made: dict[tuple[int, ...], float] = {}
    while len(made) < count:
        made[*(chance.randint(5, 4 + tokens) for _ in range(chance.randint(1, longest))), 1] = chance.uniform(-1, 1)
    return [Candidate(token_ids, bonus) for token_ids, bonus in made.items()]


class Clock:
    """Time that passes when a test says so."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


class SteppedEngine(Engine):
    """An Engine without its thread: `step` does what one round of the step loop does."""

    def __init__(self, weights: Weights, **sizes: Any) -> None:
        with patch.object(threading.Thread, "start"):
            super().__init__(weights, **sizes)

    def step(self) -> None:
        with torch.inference_mode():
            self._step()

    @property
    def idle(self) -> bool:
        return not self.active and not self.waiting

    def ask(
        self, prompt: Sequence[int], sampling: Sampling, budget_s: float = LONG_S, candidates: Sequence[Candidate] = ()
    ) -> TokenStream:
        return self.submit(prompt, sampling, candidates=candidates, budget_s=budget_s)


class Echo:
    """Stands in for T5: the reply to a prompt is the prompt, over and over where it has no </s>.

    Of candidates it prefers the one that agrees with the prompt for longest.

    It keeps one prompt a slot, as T5 keeps one cache a slot, so a slot that was mixed up shows in the reply.
    """

    def __init__(self, weights: Weights, *, slots: int, max_prompt: int, max_reply: int) -> None:
        self._vocabulary = weights.shape.vocabulary
        self._prompts: list[list[int]] = [[] for _ in range(slots)]
        self._written = [0] * slots
        self.encoded: list[list[int]] = []

    def encode(self, prompts: Sequence[Sequence[int]]) -> list[Tensor]:
        self.encoded += [list(prompt) for prompt in prompts]
        return [torch.tensor(prompt) for prompt in prompts]

    def fill(self, slot: int, encoding: Tensor) -> None:
        self._prompts[slot] = encoding.tolist()
        self._written[slot] = 0

    def step(self, tokens: Sequence[int], counts: Sequence[int] | None = None) -> Tensor:
        rows = torch.zeros(len(tokens), self._vocabulary)
        slots = [slot for slot, count in enumerate(counts or [1] * len(tokens)) for _ in range(count)]
        for logits, slot in zip(rows, slots, strict=True):
            prompt = self._prompts[slot]
            logits[prompt[self._written[slot] % len(prompt)]] = 1
            self._written[slot] += 1
        return rows

    def drop(self, slot: int, tokens: int) -> None:
        self._written[slot] -= tokens

    def trie_logits(self, trie: Trie, encoding: Tensor) -> Tensor:
        logits = torch.zeros(len(trie.branches), self._vocabulary)
        for row, branch in zip(logits, trie.branches, strict=True):
            depth = trie.depths[branch.node]
            if depth < len(encoding):
                row[encoding[depth]] = 1
        return logits

    def move(self, source: int, target: int) -> None:
        self._prompts[target], self._written[target] = self._prompts[source], self._written[source]

    def clear(self, slot: int) -> None:
        self._prompts[slot] = []
