"""Law 3: a seed makes a sampled reply repeatable, on any replica, and across a failover."""

import asyncio
from collections.abc import AsyncIterator, Callable

import pytest

from serve_app.engine.backends.protocols import Backend
from serve_app.engine.engine import Engine
from serve_app.engine.weights import Weights, from_transformers
from serve_app.messages import Sampling
from tests.engine.support import answer, random_prompts
from tests.support.checkpoints import EOS, random_t5

PROMPT = random_prompts([12])[0]
SAMPLED = Sampling(max_length=24, min_length=20, do_sample=True, temperature=1.3, top_p=0.95, seed=7)
STYLES = {
    "greedy": Sampling(max_length=24),
    "greedy with penalties": Sampling(max_length=24, min_length=20, repetition_penalty=1.3, no_repeat_ngram_size=2),
    "sampled": SAMPLED,
    "sampled from all": SAMPLED.model_copy(update={"top_p": 1.0}),
    "sampled with penalties": SAMPLED.model_copy(
        update={"top_k": 30, "repetition_penalty": 1.3, "no_repeat_ngram_size": 2}
    ),
}


@pytest.fixture
async def engine(weights: Weights) -> AsyncIterator[Engine]:
    engine = Engine(weights, slots=8, max_prompt=32, max_reply=32)
    yield engine
    engine.close()


async def test_same_seed_same_reply_on_any_replica(engine: Engine, make_backend: Callable[[], Backend]) -> None:
    other = Engine(from_transformers(random_t5(d_kv=12), make_backend()), slots=3, max_prompt=64, max_reply=128)
    try:
        assert await answer(engine, PROMPT, SAMPLED) == await answer(other, PROMPT, SAMPLED)
    finally:
        other.close()


async def test_every_seed_is_its_own(engine: Engine) -> None:
    seeds = (0, 1, 2, 3, 2**32, 2**63 - 1)
    replies = await asyncio.gather(
        *(answer(engine, PROMPT, SAMPLED.model_copy(update={"seed": seed})) for seed in seeds)
    )
    assert len({tuple(tokens) for tokens, _ in replies}) == len(seeds)


@pytest.mark.parametrize("sampling", STYLES.values(), ids=STYLES.keys())
async def test_continued_from_any_point_equals_uninterrupted(engine: Engine, sampling: Sampling) -> None:
    tokens, ending = await answer(engine, PROMPT, sampling)
    assert len(tokens) > 3
    for split in range(len(tokens) + 1):
        assert await answer(engine, PROMPT, sampling, prefix=tokens[:split]) == (tokens[split:], ending)


async def test_continued_among_others_equals_uninterrupted(engine: Engine) -> None:
    """All the continuations at one time: prefixes of different lengths stand side by side."""
    tokens, ending = await answer(engine, PROMPT, SAMPLED)
    splits = range(0, len(tokens), 3)
    replies = await asyncio.gather(*(answer(engine, PROMPT, SAMPLED, prefix=tokens[:split]) for split in splits))
    assert list(replies) == [(tokens[split:], ending) for split in splits]


async def test_a_prefix_that_is_complete_ends_at_once(engine: Engine) -> None:
    """The replica died after its last token, and before it could say so."""
    assert await answer(engine, PROMPT, SAMPLED, prefix=[5, EOS]) == ([], "stop")
    assert await answer(engine, PROMPT, SAMPLED, prefix=[5] * 23) == ([], "length")


async def test_a_sampled_request_without_seed_is_refused(engine: Engine) -> None:
    with pytest.raises(ValueError, match="seed"):
        engine.submit(PROMPT, Sampling(max_length=8, do_sample=True), budget_s=1)
