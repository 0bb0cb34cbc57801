"""Law 1: greedy fp32 output equals transformers' `generate`, token for token."""

import asyncio
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import AutoTokenizer, T5ForConditionalGeneration

from serve_app.chat_config import load
from serve_app.checkpoint import load_model, resolve
from serve_app.engine.engine import Engine
from serve_app.engine.weights import from_transformers
from serve_app.knowledge import knowledge_base
from serve_app.messages import Sampling
from serve_app.prompt import build_prompt
from serve_app.settings import AppArgs
from tests.engine.support import answer, random_prompts
from tests.support.checkpoints import EOS, random_t5, save_checkpoint

MODELS = {
    "relu, tied (T5, GODEL)": {},
    "relu, untied": {"tied": False},
    "gated-gelu, tied": {"feed_forward_proj": "gated-gelu"},
    "gated-gelu, untied (T5 v1.1, Flan-T5)": {"feed_forward_proj": "gated-gelu", "tied": False},
    "heads wider than the model": {"d_kv": 24},
    "heads narrower than the model": {"d_kv": 3, "num_heads": 5},
    "more encoder layers": {"num_layers": 3, "num_decoder_layers": 1},
    "more decoder layers": {"num_layers": 1, "num_decoder_layers": 3},
    "other position buckets": {"relative_attention_num_buckets": 12, "relative_attention_max_distance": 20},
    "another epsilon": {"layer_norm_epsilon": 0.1},
}
SETTINGS: list[dict[str, Any]] = [
    {"max_length": 2},
    {"max_length": 5},
    {"min_length": 25},
    {"min_length": 40, "max_length": 40},
    {"repetition_penalty": 1.4},
    {"repetition_penalty": 0.7},
    {"no_repeat_ngram_size": 1},
    {"no_repeat_ngram_size": 3},
    {"min_length": 12, "repetition_penalty": 1.2, "no_repeat_ngram_size": 2},
]
PROMPTS = random_prompts([1, 2, 4, 8, 10, 13, 21, 31, 46])


def generated(model: Any, prompts: list[list[int]], settings: dict[str, Any]) -> list[list[int]]:
    """transformers' replies, the start token left out."""
    # Its cache has a layer for each of the encoder's: too few of them where the decoder has more (transformers 5.23).
    use_cache = model.config.num_decoder_layers <= model.config.num_layers
    options = {"max_length": 40, "do_sample": False, "num_beams": 1, "use_cache": use_cache} | settings
    return [model.generate(torch.tensor([prompt]), **options)[0, 1:].tolist() for prompt in prompts]


async def written(
    model: T5ForConditionalGeneration, prompts: list[list[int]], settings: dict[str, Any]
) -> list[list[int]]:
    """The engine's replies, all written at one time, with the </s> that it leaves out."""
    sampling = Sampling(**{"max_length": 40} | settings)
    engine = Engine(
        from_transformers(model),
        slots=len(prompts),
        max_prompt=max(map(len, prompts)),
        max_reply=sampling.max_length,
    )
    try:
        answers = await asyncio.gather(*(answer(engine, prompt, sampling) for prompt in prompts))
    finally:
        engine.close()
    return [[*tokens, EOS] if ending == "stop" else tokens for tokens, ending in answers]


@pytest.mark.parametrize("config", MODELS.values(), ids=MODELS.keys())
async def test_greedy_replies_equal_transformers(config: dict[str, Any]) -> None:
    model = random_t5(seed=3, **config)
    expected = generated(model, PROMPTS, {})
    assert len(set(map(tuple, expected))) > len(PROMPTS) / 2, "the model is too dull to tell right from wrong"
    assert await written(model, PROMPTS, {}) == expected


@pytest.mark.parametrize("settings", SETTINGS, ids=str)
async def test_greedy_settings_equal_transformers(settings: dict[str, Any]) -> None:
    model = random_t5(seed=3)
    assert await written(model, PROMPTS, settings) == generated(model, PROMPTS, settings)


async def test_replies_end_by_themselves_and_by_length() -> None:
    """The tests above see both endings."""
    replies = await written(random_t5(seed=3), PROMPTS, {})
    stopped = [reply for reply in replies if reply[-1] == EOS]
    assert 2 <= len(stopped) < len(replies)
    assert len({len(reply) for reply in stopped}) > 1


async def test_distances_beyond_the_last_bucket_equal_transformers() -> None:
    """Both halves have distances past 128, from where on T5 tells them no longer apart."""
    model = random_t5(seed=5)
    prompts = random_prompts([129, 200, 330])
    settings = {"min_length": 160, "max_length": 160, "no_repeat_ngram_size": 3}
    assert await written(model, prompts, settings) == generated(model, prompts, settings)


@pytest.mark.parametrize("feed_forward", ["relu", "gated-gelu"])
async def test_saved_untied_head_is_read_as_it_was(feed_forward: str, tmp_path: Path) -> None:
    """transformers 5.23 ties whatever its configuration says; the checkpoint's own head must win."""
    model = random_t5(seed=6, tied=False, feed_forward_proj=feed_forward)
    loaded = T5ForConditionalGeneration.from_pretrained(save_checkpoint(model, tmp_path))
    assert await written(loaded, PROMPTS, {}) == generated(model, PROMPTS, {})


async def test_half_precision_checkpoint_is_computed_in_fp32() -> None:
    model: Any = random_t5(seed=3)
    model.to(torch.bfloat16)
    assert await written(model, PROMPTS, {}) == generated(model.to(torch.float32), PROMPTS, {})


@pytest.fixture(scope="module", params=["models/mini"])
def shipped(request: pytest.FixtureRequest) -> Path:
    folder = Path(request.param)
    if not (folder / "config.json").exists():
        pytest.fail(f"{folder} holds no model; it is part of the repository (`make mini` makes it)")
    return folder


async def test_shipped_model_equals_transformers(shipped: Path) -> None:
    model = load_model(resolve(AppArgs(model=str(shipped))))
    config = load(Path("configs/chatbot.yaml"), environment={}).config
    knowledge = knowledge_base(config.knowledge, config.grounding.passage_words)
    dialogs = [
        ["Hello!"],
        ["What is a pod?"],
        ["What is Ray?", "Ray is an open-source framework.", "Who created it?"],
        ["Who won the match yesterday?"],
        ["how many parameters does GODEL have?"],
    ]
    tokenizer = AutoTokenizer.from_pretrained(shipped)
    rankings = [knowledge.rank(dialog, limit=4) for dialog in dialogs]
    prompts = [
        build_prompt(
            tokenizer, config.instruction, dialog, ranking.passages, lead=ranking.lead, window=512, max_turns=10
        ).token_ids
        for dialog, ranking in zip(dialogs, rankings, strict=True)
    ]
    for settings in ({}, {"min_length": 30, "repetition_penalty": 1.3}):
        assert await written(model, prompts, settings) == generated(model, prompts, settings)
