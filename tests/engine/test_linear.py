"""The matrix products: exact in float32; in int8 close, and the same for a token whoever stands beside it."""

import pytest
import torch
from torch import Tensor

from serve_app.engine.linear import Float32Linear, Int8Linear
from serve_app.engine.t5 import T5
from serve_app.engine.weights import from_transformers
from tests.checkpoints import initial_t5
from tests.engine.support import random_prompts


@pytest.fixture
def weight() -> Tensor:
    return torch.randn(96, 64, generator=torch.Generator().manual_seed(0))


def tokens(*shape: int) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize("shape", [(64,), (1, 64), (2, 3, 64)])
def test_float32_is_x_times_the_weights_transpose(weight: Tensor, shape: tuple[int, ...]) -> None:
    x = tokens(*shape)
    torch.testing.assert_close(Float32Linear(weight)(x), x @ weight.T)


@pytest.mark.parametrize("shape", [(64,), (1, 64), (2, 3, 64)])
def test_int8_is_close_to_it(weight: Tensor, shape: tuple[int, ...]) -> None:
    x = tokens(*shape)
    close = torch.cosine_similarity(Int8Linear(weight)(x), x @ weight.T, dim=-1)
    assert close.shape == shape[:-1]
    assert bool((close > 0.999).all())


def test_a_token_far_larger_than_the_others_does_not_coarsen_them(weight: Tensor) -> None:
    """Law 2 by construction: one scale for the whole tensor would round the other tokens to nothing."""
    x = tokens(16, 64)
    alone = Int8Linear(weight)(x[3:4])
    x[7] *= 1e6
    assert torch.equal(Int8Linear(weight)(x)[3:4], alone)


def test_an_output_channel_far_larger_than_the_others_does_not_coarsen_them(weight: Tensor) -> None:
    x = tokens(4, 64)
    before = Int8Linear(weight)(x)
    weight[5] *= 1e6
    after = Int8Linear(weight)(x)
    others = torch.arange(96) != 5
    assert torch.equal(after[:, others], before[:, others])


def test_zeros_stay_zeros(weight: Tensor) -> None:
    assert torch.equal(Int8Linear(weight)(torch.zeros(2, 64)), torch.zeros(2, 96))
    assert torch.equal(Int8Linear(torch.zeros(8, 64))(tokens(2, 64)), torch.zeros(2, 8))


@pytest.mark.parametrize("feed_forward", ["relu", "gated-gelu"])
def test_logits_of_a_whole_t5_are_close_in_int8(feed_forward: str) -> None:
    model = initial_t5(feed_forward_proj=feed_forward, d_model=64, d_kv=16, d_ff=128)
    (prompt,) = random_prompts([20])
    exact, rounded = (
        _logits(T5(from_transformers(model, make), slots=1, max_prompt=32, max_reply=16), prompt)
        for make in (Float32Linear, Int8Linear)
    )
    assert bool((torch.cosine_similarity(exact, rounded, dim=-1) > 0.999).all())


def _logits(t5: T5, prompt: list[int]) -> Tensor:
    t5.fill(0, t5.encode([prompt])[0], prefix=[])
    return torch.cat([t5.step([token]) for token in (0, 5, 9, 33)])
