"""The arithmetic in eight-bit integers by kernels.c.

Weights are scaled per output channel and activations per token, as in linear.Int8Linear, bit for bit. Keys and values
are kept as float16: a decoding step of many slots is bound by how fast they can be read.
"""

import ctypes

import torch
from torch import Tensor
from torch.nn import functional as F

from serve_app.engine.backends.eager import attend
from serve_app.engine.backends.kernels import load
from serve_app.engine.backends.kv_cache import KVStorage
from serve_app.engine.backends.linear import quantized_weight
from serve_app.engine.backends.protocols import Linear

_CHANNELS, _TILE, _LANES = 16, 32, 16  # CHANNELS, BLOCKS * CHANNELS and LANES in kernels.c


class Compiled:
    """For one model: its layers share memory, so no two threads may compute with it."""

    device = torch.device("cpu")
    capture = None
    encoder_batch_tokens = 384

    def __init__(self) -> None:
        """Raises CannotCompile."""
        self._kernels = load()
        self._kernels.set_threads(torch.get_num_threads())
        self._workspace = _Workspace()

    def linear(self, weight: Tensor, *, precise: bool = False, relu: bool = False) -> Linear:
        return _Linear(weight, 1 + precise, relu, self._kernels, self._workspace)

    def norm(self, x: Tensor, weight: Tensor, epsilon: float) -> Tensor:
        rows, width = x.shape
        y = self._workspace.take("normed", rows, width)
        self._kernels.rms_norm(x.data_ptr(), weight.data_ptr(), epsilon, rows, width, y.data_ptr())
        return y

    def prompt_bias(self, by_distance: Tensor) -> Tensor:
        return by_distance

    def attend_to_itself(self, qkv: Tensor, lengths: list[int], bias: Tensor) -> Tensor:
        count, longest = len(bias), (bias.shape[1] + 1) // 2
        size = qkv.shape[1] // (3 * count)
        y = self._workspace.take("attended", len(qkv), count * size)
        scratch = self._workspace.take("scratch", 1, self._kernels.attend_prompt_scratch(max(lengths), count, size))
        start = 0
        for tokens in lengths:
            self._kernels.attend_prompt(
                qkv[start].data_ptr(),
                tokens,
                count,
                size,
                bias.data_ptr(),
                longest,
                scratch.data_ptr(),
                y[start].data_ptr(),
            )
            start += tokens
        return y

    def attend(self, q: Tensor, keys_values: Tensor, bias: Tensor) -> Tensor:
        return attend(q, keys_values, bias)  # too small a part of the work for a kernel of its own

    def kv_cache(self, layers: int, slots: int, size: int, max_prompt: int, reply_bias: Tensor) -> "CompiledKVCache":
        return CompiledKVCache(self._kernels, layers, slots, size, max_prompt, reply_bias)


class _Linear:
    """linear.Int8Linear, bit for bit: sums of integers are exact. The weights are packed as kernels.c reads them."""

    def __init__(self, weight: Tensor, lines: int, relu: bool, kernels: ctypes.CDLL, workspace: "_Workspace") -> None:
        """lines: of bytes for a token's activations, 1 or 2."""
        integers, scale = quantized_weight(weight)
        self._channels = len(weight)
        self._weight = _packed(integers)
        self._scale = F.pad(scale, (0, -len(scale) % _TILE))
        self._lines = lines
        self._relu = relu
        self._kernels = kernels
        self._take = workspace.take

    def __call__(self, x: Tensor, onto: Tensor | None = None) -> Tensor:
        tokens, width = x.shape
        y = self._take(f"product {self._channels}", tokens, self._channels) if onto is None else onto
        scratch = self._take("scratch", 1, self._kernels.linear_scratch(tokens, width, self._lines))
        self._kernels.linear(
            x.data_ptr(),
            self._weight.data_ptr(),
            self._scale.data_ptr(),
            tokens,
            width,
            self._channels,
            self._lines,
            self._relu,
            onto is not None,
            scratch.data_ptr(),
            y.data_ptr(),
        )
        return y


def _packed(weight: Tensor) -> Tensor:
    """Integers [out, in] as kernels.c's `linear` reads them; both filled up with zeros, to whole tiles and fours."""
    channels, width = weight.shape
    filled = F.pad(weight, (0, -width % 4, 0, -channels % _TILE)).bitwise_xor_(-128).view(torch.uint8)  # plus 128
    blocks = filled.view(-1, _CHANNELS, filled.shape[1] // 4, 4)
    return blocks.transpose(1, 2).contiguous()


class CompiledKVCache(KVStorage):
    def __init__(
        self, kernels: ctypes.CDLL, layers: int, slots: int, size: int, max_prompt: int, reply_bias: Tensor
    ) -> None:
        self._size, self._depth = size, -(-size // _LANES) * _LANES
        super().__init__(torch.float16, layers, slots, self._depth, max_prompt, reply_bias)
        self._max_prompt, self._max_reply = max_prompt, reply_bias.shape[1]
        self._kernels = kernels
        self._result = torch.empty(slots, self._heads * size)

    def fill(self, slot: int, layer: int, keys_values: Tensor) -> None:
        tokens = len(keys_values)
        keys, values = self._prompts[layer, :, slot]
        self._kernels.store_prompt(
            keys_values.data_ptr(),
            tokens,
            self._heads,
            self._max_prompt,
            self._size,
            self._depth,
            keys.data_ptr(),
            values.data_ptr(),
        )
        self._prompt_lengths[slot] = tokens
        self._reply_lengths[slot] = 0

    def begin(self, count: int) -> None:
        self._active = slice(count)
        self._attended = self._result[:count]

    def attend_to_reply(self, layer: int, qkv: Tensor) -> Tensor:
        keys, values = self._replies[layer, :, self._active]
        self._kernels.attend_to_reply(
            qkv.data_ptr(),
            keys.data_ptr(),
            values.data_ptr(),
            self._reply_lengths[self._active].data_ptr(),
            self._reply_bias.data_ptr(),
            len(qkv),
            self._heads,
            self._max_reply,
            self._size,
            self._depth,
            self._attended.data_ptr(),
        )
        return self._attended

    def attend_to_prompt(self, layer: int, q: Tensor) -> Tensor:
        keys, values = self._prompts[layer, :, self._active]
        self._kernels.attend_to_prompt(
            q.data_ptr(),
            keys.data_ptr(),
            values.data_ptr(),
            self._prompt_lengths[self._active].data_ptr(),
            len(q),
            self._heads,
            self._max_prompt,
            self._size,
            self._depth,
            self._attended.data_ptr(),
        )
        return self._attended


class _Workspace:
    """Memory that is used again at every call, so no step waits for fresh pages. It grows to what was asked for."""

    def __init__(self) -> None:
        self._memory: dict[str, Tensor] = {}

    def take(self, purpose: str, rows: int, width: int) -> Tensor:
        """[rows, width], not initialised; what was taken for the same purpose before is overwritten."""
        memory = self._memory.get(purpose)
        if memory is None or len(memory) < rows * width:
            memory = self._memory[purpose] = torch.empty(rows * width)
        return memory[: rows * width].view(rows, width)
