"""The backend of kernels.c: products of eight-bit integers, on CPUs.

Weights are scaled per output channel and activations per token; results equal those of linear.Int8Linear bit for bit.
Keys and values are stored as float16, as a decoding step of many slots is limited by the speed of reading them.
"""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from serve_app.engine.backends.eager import attend
from serve_app.engine.backends.kernels import build_id, load, new, pointer
from serve_app.engine.backends.kv_cache import KVStorage
from serve_app.engine.backends.linear import quantized_weight
from serve_app.engine.backends.protocols import Linear

_LANES = 16  # of vectors.h


class Compiled:
    """For one model. Its layers share memory for results, so only one thread at a time may compute with it."""

    device = torch.device("cpu")
    capture = None
    encoder_batch_tokens = 384
    rows_are_exact = True

    def __init__(self) -> None:
        """Raises CannotCompile."""
        kernels = load()
        kernels.set_threads(torch.get_num_threads())
        self._kernels = kernels
        self.packing = build_id()
        self._rms_norm = kernels.rms_norm
        self._attend_prompt, self._attend_prompt_scratch = kernels.attend_prompt, kernels.attend_prompt_scratch
        self._workspace = _Workspace()

    def pack(self, weight: Tensor) -> tuple[Tensor, Tensor]:
        """Integers in the order in which `linear` of kernels.c reads them, and their scales [out_features]."""
        integers, scale = quantized_weight(weight)
        channels, width = integers.shape
        packed = torch.empty(self._kernels.packed_bytes(channels, width), dtype=torch.int8)
        self._kernels.pack(pointer(integers), channels, width, pointer(packed))
        return packed, scale

    def linear(self, *packed: Tensor, width: int, precise: bool = False, relu: bool = False) -> Linear:
        weight, scale = packed
        return CompiledLinear(
            self._kernels, self._workspace, weight, scale, width=width, precision=1 + precise, relu=relu
        )

    def norm(self, x: Tensor, weight: Tensor, epsilon: float) -> Tensor:
        rows, width = x.shape
        y = self._workspace.take("normed", rows, width)
        self._rms_norm(pointer(x), pointer(weight), epsilon, rows, width, pointer(y))
        return y

    def prompt_bias(self, by_distance: Tensor) -> Tensor:
        return by_distance

    def attend_to_itself(self, qkv: Tensor, lengths: list[int], bias: Tensor) -> Tensor:
        heads, longest = len(bias), (bias.shape[1] + 1) // 2
        size = qkv.shape[1] // (3 * heads)
        y = self._workspace.take("attended", len(qkv), heads * size)
        scratch = self._workspace.scratch(self._attend_prompt_scratch(max(lengths), heads, size))
        by_distance = pointer(bias)
        start = 0
        for tokens in lengths:
            prompt, attended = pointer(qkv[start]), pointer(y[start])
            self._attend_prompt(prompt, tokens, heads, size, by_distance, longest, scratch, attended)
            start += tokens
        return y

    def attend(self, q: Tensor, keys_values: Tensor, bias: Tensor) -> Tensor:
        return attend(q, keys_values, bias)  # for candidates only: too small a part of the work for a kernel

    def kv_cache(self, layers: int, slots: int, size: int, max_prompt: int, reply_bias: Tensor) -> "CompiledKVCache":
        return CompiledKVCache(self._kernels, layers, slots, size, max_prompt, reply_bias)


class CompiledLinear:
    """Equals linear.Int8Linear bit for bit, as sums of integers are exact."""

    def __init__(
        self,
        kernels: Any,
        workspace: "_Workspace",
        weight: Tensor,
        scale: Tensor,
        *,
        width: int,
        precision: int,
        relu: bool,
    ) -> None:
        """weight, scale: from `Compiled.pack`. precision: bytes of an activation, 1 or 2."""
        self._kept = weight, scale  # as kernels.c has only their addresses
        self.channels = len(scale)
        self.layer = new(
            "layer *",
            {
                "weight": pointer(weight),
                "scale": pointer(scale),
                "channels": self.channels,
                "width": width,
                "precision": precision,
                "relu": relu,
            },
        )
        self._linear, self._linear_scratch = kernels.linear, kernels.linear_scratch
        self._workspace = workspace

    def scratch_floats(self, tokens: int) -> int:
        floats: int = self._linear_scratch(self.layer, tokens)
        return floats

    def __call__(self, x: Tensor, onto: Tensor | None = None) -> Tensor:
        tokens = len(x)
        y = self._workspace.take(f"product {self.channels}", tokens, self.channels) if onto is None else onto
        scratch = self._workspace.scratch(self.scratch_floats(tokens))
        self._linear(self.layer, pointer(x), tokens, onto is not None, scratch, pointer(y))
        return y


class CompiledKVCache(KVStorage):
    """Attention of each slot to as much as it holds, without masks."""

    def __init__(self, kernels: Any, layers: int, slots: int, size: int, max_prompt: int, reply_bias: Tensor) -> None:
        self._size, self._max_prompt, self._max_reply = size, max_prompt, reply_bias.shape[1]
        self._depth = -(-size // _LANES) * _LANES
        super().__init__(torch.float16, layers, slots, self._depth, max_prompt, reply_bias)
        self.kernels = kernels
        self._store_prompt = kernels.store_prompt
        self._attend_to_reply, self._attend_to_prompt = kernels.attend_to_reply, kernels.attend_to_prompt
        self._first_row = torch.zeros(slots + 1, dtype=torch.long)  # of each slot
        self._make_room(slots)
        self.layers = [self._layer(index) for index in range(layers)]

    def _layer(self, index: int) -> Any:
        """What kernels.c reads of a layer: all of its addresses are the same in every step."""
        reply_keys, reply_values = self._replies[index]
        prompt_keys, prompt_values = self._prompts[index]
        return new(
            "kv_cache *",
            {
                "heads": self._heads,
                "size": self._size,
                "depth": self._depth,
                "max_reply": self._max_reply,
                "max_prompt": self._max_prompt,
                "reply_keys": pointer(reply_keys),
                "reply_values": pointer(reply_values),
                "prompt_keys": pointer(prompt_keys),
                "prompt_values": pointer(prompt_values),
                "reply_tokens": pointer(self._reply_lengths),
                "prompt_tokens": pointer(self._prompt_lengths),
                "first_row": pointer(self._first_row),
                "reply_bias": pointer(self._reply_bias),
            },
        )

    def fill(self, slot: int, layer: int, keys_values: Tensor) -> None:
        tokens = len(keys_values)
        self._store_prompt(self.layers[layer], slot, pointer(keys_values), tokens)
        self._prompt_lengths[slot] = tokens
        self._reply_lengths[slot] = 0

    def begin(self, counts: Sequence[int]) -> None:
        super().begin(counts)
        self._first_row[1 : len(counts) + 1] = torch.tensor(counts).cumsum(0)

    def _make_room(self, rows: int) -> None:
        self._result = torch.empty(rows, self._heads * self._size)
        self._to_result = pointer(self._result)

    def _to(self, rows: int) -> Any:
        """Where the results of so many rows are written."""
        if rows > len(self._result):
            self._make_room(rows)
        return self._to_result

    def attend_to_reply(self, layer: int, qkv: Tensor) -> Tensor:
        self._attend_to_reply(self.layers[layer], pointer(qkv), self._slots, self._to(len(qkv)))
        return self._result[: len(qkv)]

    def attend_to_prompt(self, layer: int, q: Tensor) -> Tensor:
        self._attend_to_prompt(self.layers[layer], pointer(q), self._slots, self._to(len(q)))
        return self._result[: len(q)]


class _Workspace:
    """Memory that is reused at every call, as the first access to new pages is slow. It only grows."""

    def __init__(self) -> None:
        self._results: dict[str, Tensor] = {}
        self._scratch = torch.empty(0)
        self._to_scratch = pointer(self._scratch)

    def take(self, purpose: str, rows: int, width: int) -> Tensor:
        """[rows, width], uninitialised; it shares its memory with all others of the same purpose."""
        memory = self._results.get(purpose)
        if memory is None or len(memory) < rows * width:
            memory = self._results[purpose] = torch.empty(rows * width)
        return memory[: rows * width].view(rows, width)

    def scratch(self, floats: int) -> Any:
        """A pointer to memory of that size, for one call of a kernel."""
        if len(self._scratch) < floats:
            self._scratch = torch.empty(floats)
            self._to_scratch = pointer(self._scratch)
        return self._to_scratch
