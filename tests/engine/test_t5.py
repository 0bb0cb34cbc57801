"""The forward pass by itself: packing, position buckets, slots."""

from collections.abc import Iterator
from typing import Any

import pytest
import torch

from serve_app.engine.t5 import T5
from serve_app.engine.weights import Weights, from_transformers
from tests.engine.support import random_prompts
from tests.support.checkpoints import random_t5


@pytest.fixture(autouse=True)
def no_gradients() -> Iterator[None]:
    with torch.no_grad():
        yield


def steps(model: T5, slot_tokens: list[list[int]]) -> list[torch.Tensor]:
    """Feed one token to each of slots 0..n-1 for each list of `slot_tokens`."""
    return [model.step(tokens).clone() for tokens in slot_tokens]


@pytest.mark.parametrize(("buckets", "distance"), [(32, 128), (32, 20), (12, 20), (8, 256)])
def test_position_biases_equal_transformers(buckets: int, distance: int) -> None:
    """Exact, near and far beyond the last bucket."""
    reference: Any = random_t5(relative_attention_num_buckets=buckets, relative_attention_max_distance=distance)
    model = T5(from_transformers(reference), slots=1, max_prompt=400, max_reply=400)
    for half, computed in ((reference.encoder, model._encoder_bias), (reference.decoder, _by_position(model, 400))):
        expected = half.block[0].layer[0].SelfAttention.compute_bias(400, 400)[0]
        causal = torch.ones(400, 400).tril().bool() if half is reference.decoder else torch.ones(400, 400).bool()
        assert torch.equal(computed[:, causal], expected[:, causal])


def _by_position(model: T5, length: int) -> torch.Tensor:
    position = torch.arange(length)
    return model._decoder_bias[:, (position[:, None] - position).clamp(min=0)]


@pytest.mark.parametrize("tied", [True, False])
def test_logits_equal_transformers_in_size_too(tied: bool) -> None:
    """Their scale decides nothing when greedy, and everything when sampling."""
    reference: Any = random_t5(tied=tied)
    (prompt,) = random_prompts([20])
    expected = reference(input_ids=torch.tensor([prompt]), decoder_input_ids=torch.tensor([[0, 7, 9]])).logits[0]
    model = T5(from_transformers(reference), slots=1, max_prompt=32, max_reply=8)
    model.fill(0, model.encode([prompt])[0])
    torch.testing.assert_close(torch.cat(steps(model, [[0], [7], [9]])), expected, rtol=1e-4, atol=1e-4)


def test_packed_prompts_do_not_see_each_other(weights: Weights) -> None:
    model = T5(weights, slots=1, max_prompt=64, max_reply=8)
    prompts = random_prompts([1, 40, 7, 64])
    for prompt, packed in zip(prompts, model.encode(prompts), strict=True):
        torch.testing.assert_close(packed, model.encode([prompt])[0])


def test_portions_are_as_large_as_suits_the_arithmetic(weights: Weights, monkeypatch: pytest.MonkeyPatch) -> None:
    model = T5(weights, slots=1, max_prompt=64, max_reply=8)
    prompts = random_prompts([30, 20, 1, 64, 7, 40, 10])
    expected = model.encode(prompts)
    encode, portions = model._encode, []

    def recorded(portion: list[list[int]]) -> list[torch.Tensor]:
        portions.append([len(prompt) for prompt in portion])
        return encode(portion)

    monkeypatch.setattr(model, "_encode", recorded)
    monkeypatch.setattr(type(weights.backend), "encoder_batch_tokens", 50)
    for encoding, whole in zip(model.encode(prompts), expected, strict=True):
        torch.testing.assert_close(encoding, whole)
    assert portions == [[30, 20], [1], [64], [7, 40], [10]]


def test_a_slot_used_before_remembers_nothing(weights: Weights) -> None:
    """Neither a longer prompt nor a longer reply of the one before shows."""
    used, fresh = (T5(weights, slots=1, max_prompt=64, max_reply=16) for _ in range(2))
    long, short = random_prompts([60, 5])
    used.fill(0, used.encode([long])[0])
    steps(used, [[token] for token in (0, 5, 6, 7, 8, 9, 11, 12)])
    for model in (used, fresh):
        model.fill(0, model.encode([short])[0])
    for after_use, expected in zip(steps(used, [[0], [5]]), steps(fresh, [[0], [5]]), strict=True):
        torch.testing.assert_close(after_use, expected)


def test_a_moved_reply_goes_on_as_it_was(weights: Weights) -> None:
    model = T5(weights, slots=3, max_prompt=64, max_reply=16)

    def three_replies() -> None:
        """Of different lengths: each joins a step after the one before."""
        for slot, encoding in enumerate(model.encode(random_prompts([30, 9, 50]))):
            model.fill(slot, encoding)
            model.step([0, 20, 21][: slot + 1])

    three_replies()
    expected = model.step([10, 11, 12])[2].clone()
    three_replies()
    model.move(source=2, target=0)
    torch.testing.assert_close(model.step([12, 11])[0], expected)


def test_several_rows_of_a_slot_equal_one_step_after_the_other(weights: Weights) -> None:
    """Bit for bit, where the backend says so; rows that are taken back leave nothing."""
    replies = random_prompts([12, 12, 12], seed=5)

    def filled() -> T5:
        model = T5(weights, slots=3, max_prompt=64, max_reply=16)
        for slot, encoding in enumerate(model.encode(random_prompts([30, 9, 50]))):
            model.fill(slot, encoding)
        return model

    expected = torch.stack(steps(filled(), [list(tokens) for tokens in zip(*replies, strict=True)]), dim=1)
    model, read = filled(), [0, 0, 0]
    computed: list[list[torch.Tensor]] = [[], [], []]
    for right, wrong in (
        ([1, 3, 2], [0, 0, 0]),
        ([4, 1, 1], [0, 3, 1]),
        ([1, 7, 4], [6, 0, 0]),
        ([6, 1, 5], [0, 1, 0]),
    ):
        rows = [replies[slot][read[slot] :][: right[slot]] + [33] * wrong[slot] for slot in range(3)]
        counts = [len(tokens) for tokens in rows]
        logits = torch.split(model.step([token for tokens in rows for token in tokens], counts), counts)
        for slot in range(3):
            computed[slot] += logits[slot][: right[slot]].clone()
            read[slot] += right[slot]
            model.drop(slot, wrong[slot])
    assert read == [12, 12, 12]
    for slot in range(3):
        if weights.backend.rows_are_exact:
            assert torch.equal(torch.stack(computed[slot]), expected[slot])
        torch.testing.assert_close(torch.stack(computed[slot]), expected[slot], rtol=1e-3, atol=1e-3)
