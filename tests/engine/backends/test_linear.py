"""The matrix products: exact in float32; in int8 close, and independent of the other tokens of the batch."""

import math
from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from serve_app.engine.backends.compiled import Compiled
from serve_app.engine.backends.eager import Eager
from serve_app.engine.backends.linear import Float32Linear, HalfLinear, Int8Linear
from serve_app.engine.backends.protocols import Backend, Linear
from serve_app.engine.t5 import T5
from serve_app.engine.weights import from_transformers
from tests.engine.support import needs_compiled, random_prompts
from tests.support.checkpoints import initial_t5

MakeInt8 = Callable[..., Linear]


def compiled(weight: Tensor, precise: bool, relu: bool = False) -> Linear:
    backend = Compiled()
    return backend.linear(*backend.pack(weight), width=weight.shape[1], precise=precise, relu=relu)


@pytest.fixture(params=[Int8Linear, pytest.param(compiled, marks=needs_compiled)])
def int8(request: pytest.FixtureRequest) -> MakeInt8:
    made: MakeInt8 = request.param
    return made


def numbers(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def test_float32_is_x_times_the_weights_transpose() -> None:
    weight, x = numbers(96, 64), numbers(5, 64, seed=1)
    torch.testing.assert_close(Float32Linear(weight)(x), x @ weight.T)


@pytest.mark.parametrize(("precise", "least"), [(False, 0.9998), (True, 0.99995)])
def test_int8_is_close_to_it(int8: MakeInt8, precise: bool, least: float) -> None:
    weight, x = numbers(96, 64), numbers(9, 64, seed=1)
    close = torch.cosine_similarity(int8(weight, precise)(x), x @ weight.T, dim=-1)
    assert close.shape == (9,)
    assert bool((close > least).all())


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_is_close_to_it(dtype: torch.dtype) -> None:
    weight, x = numbers(96, 64), numbers(5, 64, seed=1)
    y = HalfLinear(dtype, weight)(x)
    assert y.dtype == torch.float32
    torch.testing.assert_close(y, x @ weight.T, rtol=2e-2, atol=2e-1)


@needs_compiled
@pytest.mark.parametrize("precise", [False, True])
@pytest.mark.parametrize("rows", [1, 2, 3, 4, 5, 8, 9, 16, 17, 50])
@pytest.mark.parametrize(("channels", "width"), [(96, 64), (45, 12), (1, 4), (33, 260), (40, 30)])
def test_compiled_equals_eager_bit_for_bit(precise: bool, rows: int, channels: int, width: int) -> None:
    weight, x = numbers(channels, width), numbers(rows, width, seed=rows)
    x[0, 0] = 50  # a token with an outlier
    for relu in (False, True):
        assert torch.equal(compiled(weight, precise, relu)(x), Int8Linear(weight, precise, relu)(x))


@pytest.mark.parametrize("make", [Float32Linear, Int8Linear, pytest.param(compiled, marks=needs_compiled)])
@pytest.mark.parametrize("rows", [1, 5, 20])
@pytest.mark.parametrize("channels", [96, 45])
def test_a_product_can_be_added_to_what_is_there(make: MakeInt8, rows: int, channels: int) -> None:
    layer, x, before = make(numbers(channels, 64), False), numbers(rows, 64, seed=1), numbers(rows, channels, seed=2)
    expected, y = before + layer(x), before.clone()
    assert layer(x, onto=y) is y
    torch.testing.assert_close(y, expected)


@pytest.mark.parametrize("make", [Float32Linear, Int8Linear, pytest.param(compiled, marks=needs_compiled)])
def test_relu_leaves_nothing_negative(make: MakeInt8) -> None:
    weight, x = numbers(45, 64), numbers(5, 64, seed=1)
    assert torch.equal(make(weight, False, True)(x), make(weight, False, False)(x).clamp(min=0))


@pytest.mark.parametrize("precise", [False, True])
def test_a_token_far_larger_than_the_others_does_not_coarsen_them(int8: MakeInt8, precise: bool) -> None:
    """Law 2 by construction: one scale for the whole tensor would round the other tokens to nothing."""
    layer, x = int8(numbers(96, 64), precise), numbers(16, 64, seed=1)
    alone = layer(x[3:4].clone()).clone()
    x[7] *= 1e6
    assert torch.equal(layer(x)[3:4], alone)


@pytest.mark.parametrize("precise", [False, True])
def test_an_output_channel_far_larger_than_the_others_does_not_coarsen_them(int8: MakeInt8, precise: bool) -> None:
    weight, x = numbers(96, 64), numbers(4, 64, seed=1)
    before = int8(weight.clone(), precise)(x)
    weight[5] *= 1e6
    after = int8(weight, precise)(x)
    others = torch.arange(96) != 5
    assert torch.equal(after[:, others], before[:, others])


@pytest.mark.parametrize("precise", [False, True])
def test_zeros_stay_zeros(int8: MakeInt8, precise: bool) -> None:
    assert torch.equal(int8(numbers(96, 64), precise)(torch.zeros(2, 64)), torch.zeros(2, 96))
    assert torch.equal(int8(torch.zeros(8, 64), precise)(numbers(2, 64)), torch.zeros(2, 8))


@pytest.mark.parametrize("make", [lambda: Eager(Int8Linear), pytest.param(Compiled, marks=needs_compiled)])
@pytest.mark.parametrize("feed_forward", ["relu", "gated-gelu"])
def test_logits_of_a_whole_t5_are_close_in_int8(make: Callable[[], Backend], feed_forward: str) -> None:
    model = initial_t5(feed_forward_proj=feed_forward, d_model=64, d_kv=16, d_ff=128)
    (prompt,) = random_prompts([20])
    exact, rounded = (
        _logits(T5(from_transformers(model, backend), slots=1, max_prompt=32, max_reply=16), prompt)
        for backend in (Eager(Float32Linear), make())
    )
    assert bool((torch.cosine_similarity(exact, rounded, dim=-1) > 0.999).all())


def _logits(t5: T5, prompt: list[int]) -> Tensor:
    t5.fill(0, t5.encode([prompt])[0])
    return torch.cat([t5.step([token]).clone() for token in (0, 5, 9, 33)])


@pytest.mark.parametrize("broken", [math.nan, math.inf, -math.inf])
@pytest.mark.parametrize("relu", [False, True])
@pytest.mark.parametrize("precise", [False, True])
def test_what_is_no_number_stays_none_and_touches_no_other_row(
    int8: MakeInt8, broken: float, relu: bool, precise: bool
) -> None:
    """No integer stands for NaN: the kernels once made a small number of it, which hid that a model was broken."""
    layer, x = int8(numbers(40, 64), precise, relu), numbers(5, 64)
    expected = layer(x).clone()
    x[2, 7] = broken
    y = layer(x)
    assert not y[2].isfinite().any()
    others = [0, 1, 3, 4]
    assert torch.equal(y[others], expected[others])


@pytest.mark.parametrize("precise", [False, True])
def test_where_pytorchs_integer_products_saturate_they_are_computed_as_floats(
    monkeypatch: pytest.MonkeyPatch, precise: bool
) -> None:
    """oneDNN held to AVX2 once made 130,560 of the 16,516,096 below."""
    monkeypatch.setattr("serve_app.engine.backends.linear.integer_products_are_exact", lambda: False)
    monkeypatch.setattr(torch, "_int_mm", lambda *_: pytest.fail("not exact"))
    largest = Int8Linear(torch.ones(4, 1024), precise)(torch.ones(2, 1024))
    torch.testing.assert_close(largest, torch.full((2, 4), 1024.0))
