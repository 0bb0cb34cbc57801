"""Selects the backend by the settings `dtype` and `device`, and by what this machine has."""

import logging
import platform
from typing import Literal

import torch
from torch import Tensor

from serve_app.engine.backends.compiled import Compiled
from serve_app.engine.backends.cuda_graphs import cuda_graph
from serve_app.engine.backends.eager import Eager
from serve_app.engine.backends.kernels import CannotCompile
from serve_app.engine.backends.linear import Float32Linear, HalfLinear, Int8Linear, integer_products_are_exact
from serve_app.engine.backends.protocols import Backend, Linear

logger = logging.getLogger("ray.serve.godel")

Dtype = Literal["auto", "int8", "bfloat16", "float16", "float32"]
Device = Literal["auto", "cpu", "cuda"]

_HALVES = {"bfloat16": torch.bfloat16, "float16": torch.float16}


def select_backend(dtype: Dtype, device: Device) -> Backend:
    """auto: a GPU if there is one, in bfloat16 (float16 if it lacks that); else the CPU, in int8 if kernels.c builds or
    PyTorch is fast in it.

    Raises ValueError that names the setting which this machine does not support.
    """
    if device == "auto":
        device = "cuda" if torch.cuda.is_available() else "cpu"
    return _on_gpu(dtype) if device == "cuda" else _on_cpu(dtype)


def _on_cpu(dtype: Dtype) -> Backend:
    if dtype in ("auto", "int8"):
        try:
            return Compiled()
        except CannotCompile as reason:
            logger.warning("The model runs several times slower than it could: %s", reason)
            return Eager(Int8Linear if dtype == "int8" or _integers_are_fast() else Float32Linear)
    return _floats(dtype, "cpu")


def _integers_are_fast() -> bool:
    """Whether PyTorch multiplies integers faster than floats: on an x86 with VNNI. Without it they are exact only if
    computed as floats, and on ARM PyTorch has no fast kernel for them."""
    return platform.machine() in ("x86_64", "AMD64") and integer_products_are_exact()


def _on_gpu(dtype: Dtype) -> Backend:
    if not torch.cuda.is_available():
        raise ValueError("device: cuda, but PyTorch finds no CUDA GPU here; set it to auto or cpu")
    if dtype == "int8":
        raise ValueError("dtype: int8 is computed on CPUs only; set it to auto, bfloat16, float16 or float32")
    if dtype == "auto":
        dtype = "bfloat16" if torch.cuda.is_bf16_supported() else "float16"
    return _floats(dtype, "cuda")


def _floats(dtype: Dtype, device: str) -> Backend:
    capture = cuda_graph if device == "cuda" else None
    if dtype == "float32":
        return Eager(Float32Linear, device=device, capture=capture)
    half = _HALVES[dtype]

    def linear(weight: Tensor, precise: bool, relu: bool) -> Linear:
        return HalfLinear(half, weight, relu)

    return Eager(linear, kv_dtype=half, device=device, capture=capture)
