"""The model's matrix products y = x W^T by PyTorch's own operations, in three number formats."""

from abc import ABC, abstractmethod
from collections.abc import Callable
from functools import cache

import torch
from torch import Tensor
from torch.nn import functional as F

from serve_app.engine.backends.protocols import Linear

# weight [out_features, in_features], precise, relu (see `Backend.linear`) -> layer
MakeLinear = Callable[[Tensor, bool, bool], Linear]

_TINY = torch.finfo(torch.float32).tiny  # a row of zeros must not divide by zero


class _Linear(ABC):
    """What the layers have in common: ReLU, and the addition."""

    _relu: bool

    @abstractmethod
    def _product(self, x: Tensor) -> Tensor: ...

    def __call__(self, x: Tensor, onto: Tensor | None = None) -> Tensor:
        y = self._product(x)
        if self._relu:
            y.relu_()
        return y if onto is None else onto.add_(y)


class Float32Linear(_Linear):
    """The reference: its replies equal transformers', token for token."""

    def __init__(self, weight: Tensor, precise: bool = False, relu: bool = False) -> None:
        self._weight = weight
        self._relu = relu

    def _product(self, x: Tensor) -> Tensor:
        return F.linear(x, self._weight)


class HalfLinear(_Linear):
    """Sixteen-bit floats, for hardware that multiplies them faster; the residual stream stays float32.

    So float16 does not overflow there, as T5 is known to do, and bfloat16 does not lose small additions.
    """

    def __init__(self, dtype: torch.dtype, weight: Tensor, relu: bool = False) -> None:
        self._weight = weight.to(dtype)
        self._relu = relu

    def _product(self, x: Tensor) -> Tensor:
        return F.linear(x.to(self._weight.dtype), self._weight).float()


class Int8Linear(_Linear):
    """Integer weights and activations (LLM.int8()'s vector-wise scheme, Dettmers et al. 2022).

    Weights have eight bits and are scaled per output channel, once; activations per token, at each call. So a token's
    result does not depend on the other tokens of the batch (law 2); with one scale for the whole tensor it would. If
    `precise`, activations have sixteen bits, as two rows of bytes: 256 * high + low.
    """

    def __init__(self, weight: Tensor, precise: bool = False, relu: bool = False) -> None:
        integers, self._scale = quantized_weight(weight)
        self._weight = integers.t()  # the layout that oneDNN's kernel takes without repacking
        self._bytes = 1 + precise
        self._relu = relu

    def _product(self, x: Tensor) -> Tensor:
        limit = 127 if self._bytes == 1 else 127 * 256
        largest = x.abs().amax(dim=-1, keepdim=True).clamp(min=_TINY)  # [rows, 1]
        whole = (x * (limit / largest)).round_()
        if self._bytes == 1:
            y = self._sums(whole)
        else:
            high = ((whole + 128) / 256).floor_()
            y = 256 * self._sums(high) + self._sums(whole - 256 * high)
        return y.mul_(largest / limit).mul_(self._scale)

    def _sums(self, integers: Tensor) -> Tensor:
        if integer_products_are_exact():
            return torch._int_mm(integers.to(torch.int8), self._weight).to(torch.float32)
        return (integers.double() @ self._weight.double()).to(torch.float32)


@cache
def integer_products_are_exact() -> bool:
    """Whether torch._int_mm is. On an x86 without VNNI oneDNN adds products in pairs, which saturate at 16 bits."""
    largest = torch.full((32, 32), 127, dtype=torch.int8)
    return bool((torch._int_mm(largest, largest) == 32 * 127 * 127).all())


def quantized_weight(weight: Tensor) -> tuple[Tensor, Tensor]:
    """[out, in] -> integers [out, in] in -127..127, and the scale of each output channel [out]."""
    scale = (weight.abs().amax(dim=1) / 127).clamp(min=_TINY)
    return (weight / scale[:, None]).round_().to(torch.int8), scale
