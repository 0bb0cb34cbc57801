"""The matrix products of the model, y = x W^T, in the arithmetic that the engine is made for."""

from collections.abc import Callable
from typing import Literal, Protocol

import torch
from torch import Tensor
from torch.nn import functional as F


class Linear(Protocol):
    """A bias-free linear layer."""

    def __call__(self, x: Tensor) -> Tensor:
        """x: [..., in_features] -> [..., out_features], in fp32."""


# weight [out_features, in_features], as transformers stores it -> the layer
MakeLinear = Callable[[Tensor], Linear]


class Float32Linear:
    """The reference: equal to transformers, token for token."""

    def __init__(self, weight: Tensor) -> None:
        self._weight = weight

    def __call__(self, x: Tensor) -> Tensor:
        return F.linear(x, self._weight)


class Int8Linear:
    """Eight-bit integers on both sides (LLM.int8()'s vector-wise scheme, Dettmers et al. 2022).

    Weights are scaled per output channel, once; activations per token, at each call. So a token's result does not
    depend on the tokens beside it (law 2), as one scale for the whole tensor would have it.
    """

    def __init__(self, weight: Tensor) -> None:
        self._scale = (weight.abs().amax(dim=1) / 127).clamp(min=torch.finfo(torch.float32).tiny)  # [out]
        # Kept as [out, in] and read through its transpose, the layout that oneDNN's kernel takes without repacking.
        self._weight = (weight / self._scale[:, None]).round().to(torch.int8).contiguous().t()

    def __call__(self, x: Tensor) -> Tensor:
        rows = x.reshape(-1, x.shape[-1])
        largest = rows.abs().amax(dim=-1, keepdim=True).clamp(min=torch.finfo(torch.float32).tiny)  # [rows, 1]
        quantized = (rows * (127 / largest)).round_().to(torch.int8)
        y = torch._int_mm(quantized, self._weight).to(torch.float32)  # sums of int8 products are exact in int32
        return y.mul_(largest / 127).mul_(self._scale).view(*x.shape[:-1], -1)


ARITHMETICS: dict[Literal["float32", "int8"], MakeLinear] = {"float32": Float32Linear, "int8": Int8Linear}
