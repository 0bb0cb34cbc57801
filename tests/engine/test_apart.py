"""Law 4: what goes wrong with one reply ends that reply, with an error that says why, and no other."""

import math
import random
from collections.abc import Callable, Sequence
from typing import Any

import pytest
import torch
from torch import Tensor

from serve_app.engine.backends.eager import Eager
from serve_app.engine.errors import ReplyFailed
from serve_app.engine.t5 import T5
from serve_app.engine.token_stream import TokenStream
from serve_app.engine.trie import Trie
from serve_app.engine.weights import Weights, from_transformers
from serve_app.messages import Candidate, Sampling
from tests.engine.backends.test_cuda_graphs import run_again
from tests.engine.conftest import MakeStepped
from tests.engine.support import Echo, SteppedEngine, random_candidates, random_prompts, read
from tests.support.checkpoints import EOS, random_t5

SHORT = Sampling(max_length=8)
LONG = Sampling(max_length=30, min_length=30)
DRAWN = LONG.model_copy(update={"do_sample": True, "seed": 7})
CANDIDATES = random_candidates(12)

OUT_OF_MEMORY = [
    MemoryError(),
    torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB."),
    RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 9 bytes. Error code 12"),
]


async def outcome(reply: TokenStream) -> list[int] | str:
    """All tokens, or why there are not all of them."""
    try:
        return await read(reply)
    except ReplyFailed as failure:
        return str(failure)


def finish(engine: SteppedEngine) -> None:
    while not engine.idle:
        engine.step()


# --- logits that are not finite ---------------------------------------------------------------------------------------


class Poisoned(T5):
    """A T5 whose encoding of one prompt is not finite."""

    prompt = random_prompts([40], seed=99)[0]
    broken = math.nan

    def encode(self, prompts: Sequence[Sequence[int]]) -> list[Tensor]:
        encodings = super().encode(prompts)
        for prompt, encoding in zip(prompts, encodings, strict=True):
            if list(prompt) == self.prompt:
                encoding[-1, 5] = self.broken  # beyond the prompts that come after it
        return encodings


@pytest.fixture(params=[math.nan, math.inf])
def poisoned(weights: Weights, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> Weights:
    monkeypatch.setattr("serve_app.engine.engine.T5", Poisoned)
    monkeypatch.setattr(Poisoned, "broken", request.param)
    return weights


def engine_of(weights: Weights, slots: int) -> SteppedEngine:
    return SteppedEngine(weights, slots=slots, max_prompt=64, max_reply=64)


async def alone(weights: Weights, prompt: list[int], sampling: Sampling, candidates: list[Candidate]) -> list[int]:
    engine = engine_of(weights, 1)
    reply = engine.ask(prompt, sampling, candidates=candidates)
    finish(engine)
    return await read(reply)


async def check_the_others(weights: Weights, sampling: Sampling, candidates: list[Candidate]) -> None:
    """Four at a time in four slots, every one of which the poisonous prompt has had before."""
    engine = engine_of(weights, 4)
    for place in range(4):
        prompts = random_prompts([5, 60, 12], seed=place)
        asked = [*prompts[:place], Poisoned.prompt, *prompts[place:]]
        replies = [engine.ask(prompt, sampling, candidates=candidates) for prompt in asked]
        finish(engine)
        outcomes = [await outcome(reply) for reply in replies]
        assert "not finite numbers" in str(outcomes.pop(place))
        assert outcomes == [await alone(weights, prompt, sampling, candidates) for prompt in prompts]
    assert engine.failure is None


@pytest.mark.parametrize("sampling", [LONG, DRAWN], ids=["greedy", "drawn"])
async def test_scores_that_are_no_numbers_fail_their_reply_alone(poisoned: Weights, sampling: Sampling) -> None:
    """Law 2, too: a NaN that stayed in a slot would reach the sums of the next reply there."""
    await check_the_others(poisoned, sampling, [])


async def test_among_candidates_too(poisoned: Weights) -> None:
    await check_the_others(poisoned, SHORT, CANDIDATES)


async def test_in_recorded_steps_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("serve_app.engine.engine.T5", Poisoned)
    await check_the_others(from_transformers(random_t5(d_kv=12), Eager(capture=run_again)), LONG, [])


async def test_a_reply_that_goes_wrong_on_its_way_keeps_what_it_has(
    stepped: MakeStepped, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Failing(Echo):
        def step(self, tokens: Sequence[int], counts: Sequence[int] | None = None) -> Tensor:
            logits = super().step(tokens, counts)
            for row, token in zip(logits, tokens, strict=True):
                if token == 50:
                    row[9] = math.nan
            return logits

    monkeypatch.setattr("serve_app.engine.engine.T5", Failing)
    engine = stepped(slots=3)
    others = [[2, 3, 4, 5, EOS], [12, 13, 14, 15, 16, EOS]]
    replies = [engine.ask(prompt, SHORT) for prompt in (others[0], [7, 50, 8, EOS], others[1])]
    finish(engine)
    seen: list[int] = []
    with pytest.raises(ReplyFailed):
        async for tokens in replies[1]:
            seen += tokens
    assert seen == [7, 50]
    assert [await read(reply) for reply in (replies[0], replies[2])] == [prompt[:-1] for prompt in others]


# --- memory that runs out ---------------------------------------------------------------------------------------------


@pytest.fixture
def failing(stepped: MakeStepped, monkeypatch: pytest.MonkeyPatch) -> Callable[..., SteppedEngine]:
    """A stepped engine whose model raises `error` in `part` wherever `condition` holds for what that is given."""

    def make(part: str, error: Exception, condition: Callable[..., bool], **sizes: Any) -> SteppedEngine:
        class Failing(Echo):
            pass

        original = getattr(Echo, part)

        def failing_part(self: Echo, *args: Any) -> Any:
            if condition(*args):
                raise error
            return original(self, *args)

        setattr(Failing, part, failing_part)
        monkeypatch.setattr("serve_app.engine.engine.T5", Failing)
        return stepped(**sizes)

    return make


LARGE = [20, 21, 22, EOS]  # takes more memory than there is
OTHERS = [[2, 3, 4, EOS], [12, 13, EOS], [30, 31, 32, 33, EOS]]


@pytest.mark.parametrize("part", ["encode", "fill", "trie_logits"])
async def test_a_prompt_that_memory_has_no_room_for_fails_alone(
    failing: Callable[..., SteppedEngine], part: str
) -> None:
    candidates = [Candidate(tuple(prompt)) for prompt in (*OTHERS, LARGE)] if part == "trie_logits" else []

    def too_large(*args: Any) -> bool:
        return tuple(LARGE) in args[0] if part == "encode" else bool(args[1].tolist() == LARGE)

    for place, error in enumerate([*OUT_OF_MEMORY, MemoryError()]):
        engine = failing(part, error, too_large, slots=4)
        asked = [*OTHERS[:place], LARGE, *OTHERS[place:]]
        replies = [engine.ask(prompt, SHORT, candidates=candidates) for prompt in asked]
        finish(engine)
        outcomes = [await outcome(reply) for reply in replies]
        assert "not enough memory" in str(outcomes.pop(place))
        assert outcomes == [prompt[:-1] for prompt in OTHERS]
        assert engine.failure is None


async def test_prompts_that_fit_one_by_one_are_encoded_one_by_one(failing: Callable[..., SteppedEngine]) -> None:
    engine = failing("encode", MemoryError(), lambda prompts: len(prompts) > 1, slots=4)
    replies = [engine.ask(prompt, SHORT) for prompt in OTHERS]
    finish(engine)
    assert [await read(reply) for reply in replies] == [prompt[:-1] for prompt in OTHERS]


async def test_a_step_that_memory_has_no_room_for_fails_who_runs_and_the_engine_goes_on(
    failing: Callable[..., SteppedEngine],
) -> None:
    engine = failing("step", MemoryError(), lambda tokens, _: len(tokens) > 2, slots=3)
    failed = [engine.ask(prompt, SHORT) for prompt in OTHERS]
    waited = engine.ask([40, 41, EOS], SHORT)
    engine.step()
    assert (engine.active, engine.waiting) == (0, 1)
    later = engine.ask([50, 51, EOS], SHORT)
    finish(engine)
    assert ["not enough memory" in str(await outcome(reply)) for reply in failed] == [True] * 3
    assert (await read(waited), await read(later)) == ([40, 41], [50, 51])


@pytest.mark.parametrize("seed", range(4))
async def test_whatever_fails_everyone_gets_their_own_reply_or_an_error(
    stepped: MakeStepped, monkeypatch: pytest.MonkeyPatch, seed: int
) -> None:
    chance = random.Random(seed)

    def fail() -> None:
        if chance.random() < 0.05:
            raise chance.choice(OUT_OF_MEMORY)

    class Failing(Echo):
        def encode(self, prompts: Sequence[Sequence[int]]) -> list[Tensor]:
            fail()
            return super().encode(prompts)

        def fill(self, slot: int, encoding: Tensor) -> None:
            fail()
            super().fill(slot, encoding)

        def step(self, tokens: Sequence[int], counts: Sequence[int] | None = None) -> Tensor:
            fail()
            logits = super().step(tokens, counts)
            for row in logits:
                if chance.random() < 0.05:
                    row[:] = chance.choice([math.nan, math.inf, -math.inf])
            return logits

        def trie_logits(self, trie: Trie, encoding: Tensor) -> Tensor:
            fail()
            logits = super().trie_logits(trie, encoding)
            return logits if chance.random() < 0.9 else logits * math.nan

    monkeypatch.setattr("serve_app.engine.engine.T5", Failing)
    engine = stepped(slots=4, prefill_tokens=30, encoding_cache_bytes=1000)
    prompts = [[*chance.sample(range(2, 64), chance.randint(1, 9)), EOS] for _ in range(200)]
    replies: list[TokenStream] = []
    for prompt in prompts:
        candidates = [Candidate(tuple(prompt)), Candidate((2, 3, 63, EOS))] if chance.random() < 0.3 else []
        replies.append(engine.ask(prompt, Sampling(max_length=20), candidates=candidates))
        for _ in range(chance.randrange(1, 6)):
            engine.step()
    finish(engine)
    outcomes = [await outcome(reply) for reply in replies]
    good = [index for index, result in enumerate(outcomes) if not isinstance(result, str)]
    assert [outcomes[index] for index in good] == [prompts[index][:-1] for index in good]
    assert 20 < len(good) < 180
    assert (engine.active, engine.waiting, engine.failure) == (0, 0, None)
