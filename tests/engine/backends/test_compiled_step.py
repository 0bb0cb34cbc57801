"""A step in one call of kernels.c, against the same step one operation at a time."""

from typing import Any

import pytest
import torch

from serve_app.engine.backends.compiled import Compiled
from serve_app.engine.backends.compiled_step import CompiledStep
from serve_app.engine.backends.eager import Eager
from serve_app.engine.backends.linear import Int8Linear
from serve_app.engine.t5 import T5
from serve_app.engine.weights import Weights, from_transformers
from tests.engine.support import needs_compiled, random_prompts
from tests.support.checkpoints import random_t5

SHAPES: dict[str, dict[str, Any]] = {
    "small": {},
    "heads wider than the model": {"d_kv": 12, "num_heads": 5},
    "a head of 64, an odd vocabulary": {"d_model": 48, "d_kv": 64, "vocab_size": 83},
    "more decoder than encoder layers": {"num_layers": 1, "num_decoder_layers": 3, "d_ff": 1100},
    "untied": {"tied": False},
}


def weights(**config: Any) -> Weights:
    return from_transformers(random_t5(seed=3, **config), Compiled())


def model(of: Weights) -> T5:
    return T5(of, slots=20, max_prompt=48, max_reply=24)


def by_operation(of: Weights) -> T5:
    t5 = model(of)
    t5._whole_step = None
    return t5


def fill(t5: T5, slots: int) -> None:
    for slot, prompt in enumerate(random_prompts([1 + 7 * slot % 48 for slot in range(slots)])):
        t5.fill(slot, *t5.encode([prompt]))


@needs_compiled
@pytest.mark.parametrize("config", SHAPES.values(), ids=SHAPES.keys())
def test_its_logits_are_those_of_the_operations(config: dict[str, Any]) -> None:
    of = weights(**config)
    check_steps(model(of), by_operation(of))


@needs_compiled
def test_its_logits_are_those_of_the_operations_on_two_threads(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch, "get_num_threads", lambda: 2)
    of = weights()
    check_steps(model(of), by_operation(of))


def check_steps(ours: T5, expected: T5) -> None:
    """In one slot and in many, after moves between slots, and into slots that were cleared."""
    assert isinstance(ours._whole_step, CompiledStep)
    for t5 in (ours, expected):
        fill(t5, 20)
    for number, slots in enumerate((20, 1, 20, 17, 5, 16, 3)):
        tokens = torch.randint(0, 64, (slots,), generator=torch.Generator().manual_seed(number)).tolist()
        assert torch.equal(ours.step(tokens), expected.step(tokens))
        for t5 in (ours, expected):
            t5.move(slots - 1, 0)
            t5.clear(slots - 1)
            t5.fill(slots - 1, *t5.encode([[5, 9, 1]]))


@needs_compiled
def test_a_slot_that_is_not_a_number_spoils_no_other() -> None:
    of = weights()
    t5, undisturbed = model(of), model(of)
    for each in (t5, undisturbed):
        fill(each, 4)
    (encoding,) = t5.encode([[7, 8, 1]])
    t5.fill(2, encoding * float("nan"))
    logits, expected = t5.step([0, 3, 5, 9]), undisturbed.step([0, 3, 5, 9])
    assert not logits[2].isfinite().any()
    assert torch.equal(logits[[0, 1, 3]], expected[[0, 1, 3]])
    t5.clear(2)
    for each in (t5, undisturbed):
        each.fill(2, encoding)
    assert torch.equal(t5.step([1, 2, 3, 4]), undisturbed.step([1, 2, 3, 4]))


@needs_compiled
@pytest.mark.parametrize("feed_forward", ["gated-gelu", "gated-relu", "gelu_new"])
def test_other_feed_forward_layers_take_the_operations(feed_forward: str) -> None:
    assert model(weights(feed_forward_proj=feed_forward))._whole_step is None


def test_another_backend_takes_the_operations() -> None:
    weights = from_transformers(random_t5(), Eager(Int8Linear))
    assert T5(weights, slots=1, max_prompt=8, max_reply=8)._whole_step is None
