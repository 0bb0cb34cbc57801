"""The memory of the KV cache, shared by the backends; each adds its own attention over it."""

import math
import mmap
from collections.abc import Sequence

import torch
from torch import Tensor


class KVStorage:
    """Keys and values of the slots' replies and prompts, with their lengths."""

    def __init__(
        self, dtype: torch.dtype, layers: int, slots: int, size: int, max_prompt: int, reply_bias: Tensor
    ) -> None:
        """Memory is reserved here; on a CPU it becomes resident only as slots fill. reply_bias: [heads, max_reply]."""
        self._heads, max_reply = reply_bias.shape
        self._reply_bias = reply_bias
        self._device = reply_bias.device
        self._replies = _reserve(dtype, self._device, layers, 2, slots, self._heads, max_reply, size)
        self._prompts = _reserve(dtype, self._device, layers, 2, slots, self._heads, max_prompt, size)
        self._reply_lengths = torch.zeros(slots, dtype=torch.long, device=self._device)
        self._prompt_lengths = torch.zeros(slots, dtype=torch.long, device=self._device)
        self._slots = 0  # in the current step

    def begin(self, counts: Sequence[int]) -> None:
        self._slots = len(counts)
        self._rows: int | Tensor = 1 if max(counts) == 1 else torch.tensor(counts, device=self._device)  # of each

    def end(self) -> None:
        self._reply_lengths[: self._slots] += self._rows

    def drop(self, slot: int, tokens: int) -> None:
        length = int(self._reply_lengths[slot])
        self._replies[:, :, slot, :, length - tokens : length] = 0
        self._reply_lengths[slot] = length - tokens

    def move(self, source: int, target: int) -> None:
        for caches, lengths in ((self._replies, self._reply_lengths), (self._prompts, self._prompt_lengths)):
            tokens = int(lengths[source])
            caches[:, :, target, :, :tokens] = caches[:, :, source, :, :tokens]
            lengths[target] = tokens

    def clear(self, slot: int) -> None:
        for caches, lengths in ((self._replies, self._reply_lengths), (self._prompts, self._prompt_lengths)):
            caches[:, :, slot, :, : int(lengths[slot])] = 0
            lengths[slot] = 0


def _reserve(dtype: torch.dtype, device: torch.device, *shape: int) -> Tensor:
    """Zeros that take no memory until written, then in large pages: the first access to a page is slow."""
    if device.type != "cpu":
        return torch.zeros(shape, dtype=dtype, device=device)
    memory = mmap.mmap(-1, math.prod(shape) * dtype.itemsize)
    if hasattr(mmap, "MADV_HUGEPAGE"):  # Linux
        memory.madvise(mmap.MADV_HUGEPAGE)
    return torch.frombuffer(memory, dtype=dtype).view(shape)
