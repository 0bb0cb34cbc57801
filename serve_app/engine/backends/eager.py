"""The backend of PyTorch's own operations: runs wherever PyTorch does; in float32 it equals transformers."""

import math
import sys
from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional as F

from serve_app.engine.backends.cuda_graphs import Capture
from serve_app.engine.backends.kv_cache import KVStorage
from serve_app.engine.backends.linear import Float32Linear, MakeLinear
from serve_app.engine.backends.protocols import Linear


class Eager:
    """Norms, sums and the activations between layers are float32; linear layers and caches are as configured."""

    encoder_batch_tokens = sys.maxsize
    packing = None
    rows_are_exact = False  # libraries choose their kernel, and so the order of a row's sum, by the number of rows

    def __init__(
        self,
        linear: MakeLinear = Float32Linear,
        *,
        kv_dtype: torch.dtype = torch.float32,
        device: str = "cpu",
        capture: Capture | None = None,
    ) -> None:
        """kv_dtype: of keys, values and attention.

        capture: records decoding steps. Their shapes are fixed then, so attention reads the caches' whole length.
        """
        self._linear = linear
        self._kv_dtype = kv_dtype
        self.device = torch.device(device)
        self.capture = capture

    def pack(self, weight: Tensor) -> tuple[Tensor]:
        return (weight,)

    def linear(self, *packed: Tensor, width: int, precise: bool = False, relu: bool = False) -> Linear:
        (weight,) = packed
        return self._linear(weight, precise, relu)

    def norm(self, x: Tensor, weight: Tensor, epsilon: float) -> Tensor:
        return F.rms_norm(x, weight.shape, weight, epsilon)

    def prompt_bias(self, by_distance: Tensor) -> Tensor:
        longest = (by_distance.shape[1] + 1) // 2
        return by_distance.unfold(1, longest, 1).flip(1)  # [heads, queries, keys]

    def attend_to_itself(self, qkv: Tensor, lengths: list[int], bias: Tensor) -> Tensor:
        attended = []
        for prompt in torch.split(qkv.to(self._kv_dtype), lengths):
            q, k, v = _heads(prompt[None], 3, len(bias))
            attended.append(_attend(q, k, v, bias[None, :, : len(prompt), : len(prompt)])[0])
        return torch.cat(attended)

    def attend(self, q: Tensor, keys_values: Tensor, bias: Tensor) -> Tensor:
        return attend(q.to(self._kv_dtype), keys_values.to(self._kv_dtype), bias)

    def kv_cache(self, layers: int, slots: int, size: int, max_prompt: int, reply_bias: Tensor) -> "EagerKVCache":
        fixed = self.capture is not None
        return EagerKVCache(self._kv_dtype, layers, slots, size, max_prompt, reply_bias, fixed_shapes=fixed)


class EagerKVCache(KVStorage):
    """Attention of all slots at once, with a mask for the positions that a slot has not filled."""

    def __init__(
        self,
        dtype: torch.dtype,
        layers: int,
        slots: int,
        size: int,
        max_prompt: int,
        reply_bias: Tensor,
        *,
        fixed_shapes: bool = False,
    ) -> None:
        """fixed_shapes: attend to the caches' whole length, masked, so that no shape depends on the slots' content."""
        super().__init__(dtype, layers, slots, size, max_prompt, reply_bias)
        self._fixed_shapes = fixed_shapes

    def fill(self, slot: int, layer: int, keys_values: Tensor) -> None:
        tokens = len(keys_values)
        self._prompts[layer, :, slot, :, :tokens] = _heads(keys_values[None], 2, self._heads)[:, 0]
        self._prompt_lengths[slot] = tokens
        self._reply_lengths[slot] = 0

    def begin(self, counts: Sequence[int]) -> None:
        super().begin(counts)
        # A recorded step also computes idle slots, whose lengths keep growing and whose prompts may be empty. Clamped,
        # they write inside of the cache, and no softmax is over nothing, which would put a NaN into the cache.
        self._positions = self._reply_lengths[: self._slots].clamp(max=self._replies.shape[-2] - 1)  # of each row
        prompts = self._prompt_lengths[: self._slots].clamp(min=1)
        self._slot_of_row = torch.arange(self._slots, device=self._device)
        self._read: slice | Tensor = slice(self._slots)  # a view of the caches, where each slot has one row
        if isinstance(self._rows, Tensor):
            self._read = self._slot_of_row = self._slot_of_row.repeat_interleave(self._rows)
            within = torch.cat([torch.arange(count, device=self._device) for count in counts])
            self._positions, prompts = self._positions[self._read] + within, prompts[self._read]
        self._reply_mask = self._biased(self._positions, self._span(self._positions + 1, self._replies))
        self._prompt_mask = _mask(prompts, self._span(prompts, self._prompts))

    def attend_to_reply(self, layer: int, qkv: Tensor) -> Tensor:
        q, k, v = _heads(qkv[:, None].to(self._replies.dtype), 3, self._heads)
        keys, values = self._replies[layer]
        keys[self._slot_of_row, :, self._positions] = k[:, :, 0]
        values[self._slot_of_row, :, self._positions] = v[:, :, 0]
        span = self._reply_mask.shape[-1]
        return _attend(q, keys[self._read, :, :span], values[self._read, :, :span], self._reply_mask)[:, 0]

    def attend_to_prompt(self, layer: int, q: Tensor) -> Tensor:
        span = self._prompt_mask.shape[-1]
        keys, values = self._prompts[layer][:, self._read, :, :span]
        queries = _heads(q[:, None].to(self._prompts.dtype), 1, self._heads)[0]
        return _attend(queries, keys, values, self._prompt_mask)[:, 0]

    def _span(self, lengths: Tensor, caches: Tensor) -> int:
        """The number of positions that attention reads."""
        return caches.shape[-2] if self._fixed_shapes else int(lengths.max())

    def _biased(self, positions: Tensor, span: int) -> Tensor:
        """Position bias, and minus infinity where a slot has no key yet: positions [n] -> [n, heads, 1, span]."""
        distance = positions[:, None] - torch.arange(span, device=self._device)  # [n, keys]
        bias = self._reply_bias[:, distance.clamp(min=0)].transpose(0, 1)
        return bias.masked_fill((distance < 0)[:, None], -math.inf)[:, :, None]


def _mask(lengths: Tensor, span: int) -> Tensor:
    """Zero, and minus infinity beyond each prompt: lengths [n] -> [n, 1, 1, span]. Cross-attention has no bias."""
    beyond = torch.arange(span, device=lengths.device) >= lengths[:, None]
    return torch.zeros(beyond.shape, device=lengths.device).masked_fill(beyond, -math.inf)[:, None, None]


def attend(q: Tensor, keys_values: Tensor, bias: Tensor) -> Tensor:
    """`Backend.attend`, in the dtype of the arguments."""
    (queries,), (keys, values) = _heads(q[None], 1, len(bias)), _heads(keys_values[None], 2, len(bias))
    return _attend(queries, keys, values, bias[None])[0]


def _heads(x: Tensor, parts: int, count: int) -> Tensor:
    """[n, tokens, parts * heads * d_kv] -> [parts, n, heads, tokens, d_kv]."""
    n, tokens, _ = x.shape
    return x.view(n, tokens, parts, count, -1).permute(2, 0, 3, 1, 4)


def _attend(q: Tensor, k: Tensor, v: Tensor, bias: Tensor) -> Tensor:
    """[n, heads, tokens, d_kv] -> [n, tokens, heads * d_kv], in float32."""
    out = F.scaled_dot_product_attention(q, k, v, attn_mask=bias.to(q.dtype), scale=1.0)
    return out.transpose(1, 2).flatten(2).float()
