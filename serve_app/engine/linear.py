"""The matrix products of the model: y = x W^T, in the arithmetic that the engine was made for."""

import torch
from torch import Tensor
from torch.nn import functional as F


class Linear:
    """A bias-free linear layer in fp32, the reference.

    weight: [out_features, in_features], as transformers stores it.
    """

    def __init__(self, weight: Tensor) -> None:
        self._weight = weight.detach().to(torch.float32).contiguous()

    def __call__(self, x: Tensor) -> Tensor:
        """x: [..., in_features] -> [..., out_features]."""
        return F.linear(x, self._weight)
