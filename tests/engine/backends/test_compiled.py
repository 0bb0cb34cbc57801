"""kernels.c: its norm and its attention against PyTorch's."""

import pytest
import torch
from torch import Tensor

from serve_app.engine.backends.compiled import Compiled
from serve_app.engine.backends.eager import Eager
from tests.engine.support import needs_compiled


def numbers(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


@needs_compiled
@pytest.mark.parametrize("width", [1, 15, 64, 768])
def test_norm_equals_eager(width: int) -> None:
    x, weight = numbers(20, width), numbers(width, seed=1)
    torch.testing.assert_close(Compiled().norm(x, weight, 1e-6), Eager().norm(x, weight, 1e-6))


@needs_compiled
@pytest.mark.parametrize(("heads", "size"), [(2, 64), (3, 12), (1, 32), (5, 3), (2, 100)])
def test_a_prompts_attention_equals_eager(heads: int, size: int) -> None:
    """Lengths around the sizes of tiles, and scores so far apart that a softmax that does not shift would overflow."""
    lengths = [1, 5, 6, 7, 31, 32, 33, 90]
    qkv, bias = 3 * numbers(sum(lengths), 3 * heads * size), 20 * numbers(heads, 2 * 96 - 1, seed=1)
    ours, expected = (ops.attend_to_itself(qkv, lengths, ops.prompt_bias(bias)) for ops in (Compiled(), Eager()))
    torch.testing.assert_close(ours, expected, rtol=1e-4, atol=1e-4)


@needs_compiled
@pytest.mark.parametrize(("heads", "size"), [(2, 64), (3, 12), (1, 32), (5, 3), (2, 100)])
def test_slots_equal_eager(heads: int, size: int) -> None:
    """Replies of several lengths over prompts of several lengths; keys and values are rounded to float16."""
    bias = numbers(heads, 40)
    ours, reference = (made.kv_cache(2, 3, size, 50, bias) for made in (Compiled(), Eager()))
    for slots in (ours, reference):
        for slot, tokens in enumerate((50, 1, 17)):
            for layer in range(2):
                slots.fill(slot, layer, numbers(tokens, 2 * heads * size, seed=slot + 10 * layer))
    for step, count in enumerate([1, 3, 3, 2, 3, *[1] * 30]):
        for slots in (ours, reference):
            slots.begin([1] * count)
        for layer in range(2):
            qkv, q = numbers(count, 3 * heads * size, seed=step), numbers(count, heads * size, seed=step)
            for name, x in (("attend_to_reply", qkv), ("attend_to_prompt", q)):
                expected = getattr(reference, name)(layer, x)
                torch.testing.assert_close(getattr(ours, name)(layer, x), expected, rtol=2e-2, atol=2e-2)
        for slots in (ours, reference):
            slots.end()


@needs_compiled
def test_keys_beyond_float16_do_not_become_infinite() -> None:
    slots = Compiled().kv_cache(1, 1, 16, 4, torch.zeros(1, 4))
    slots.fill(0, 0, torch.full((2, 32), 1e9))
    slots.begin([1])
    assert bool(slots.attend_to_prompt(0, torch.full((1, 16), 1e-6)).isfinite().all())
