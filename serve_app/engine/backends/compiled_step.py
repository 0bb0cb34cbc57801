"""A decoding step of t5.py as one call of kernels.c, for the models that it computes as a whole."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from serve_app.engine.backends.compiled import CompiledKVCache, CompiledLinear
from serve_app.engine.backends.kernels import new, pointer
from serve_app.engine.backends.protocols import KVCache, Linear
from serve_app.engine.weights import DecoderLayer, Weights


def compiled_step(weights: Weights, cache: KVCache, *, slots: int) -> "CompiledStep | None":
    """None on another backend, and where feed-forward layers have a GELU: that is PyTorch's, whose last bits depend on
    how PyTorch was built."""
    if isinstance(cache, CompiledKVCache) and all(layer.feed_forward.is_relu for layer in weights.decoder):
        return CompiledStep(weights, cache, slots=slots)
    return None


class CompiledStep:
    """What `T5._logits` computes, bit for bit; `decode` in kernels.c reads as `T5._decode` does.

    There is no Python between the operations: other threads of the process can run meanwhile, and kernels.c brings its
    own together once a step instead of once an operation.
    """

    def __init__(self, weights: Weights, cache: CompiledKVCache, *, slots: int) -> None:
        shape = weights.shape
        self._shape, self._threads = shape, torch.get_num_threads()
        head = _compiled(weights.head)
        self._products = [head, *(product for layer in weights.decoder for product in _products(layer).values())]
        by_layer = new(
            "decoder_layer[]", [_layer(*of_layer) for of_layer in zip(weights.decoder, cache.layers, strict=True)]
        )
        self._model = new(
            "decoder *",
            {
                "d_model": shape.d_model,
                "layers": len(by_layer),
                "threads": self._threads,
                "embedding": pointer(weights.embedding),
                "norm": pointer(weights.decoder_norm),
                "epsilon": shape.norm_epsilon,
                "logit_scale": shape.logit_scale,
                "head": head.layer[0],
                "by_layer": by_layer,
            },
        )
        self._kept = weights, by_layer  # as kernels.c has only their addresses
        self._decode = cache.kernels.decode
        self._cache = cache
        self._make_room(slots)

    def __call__(self, tokens: Sequence[int], counts: Sequence[int] | None = None) -> Tensor:
        """As `T5.step`."""
        rows, counts = len(tokens), counts or [1] * len(tokens)
        if rows > len(self._tokens):
            self._make_room(rows)
        self._tokens[:rows] = torch.tensor(tokens)
        self._cache.begin(counts)
        self._decode(self._model, self._to_tokens, len(counts), self._to_logits)
        self._cache.end()
        return self._logits[:rows]

    def _make_room(self, rows: int) -> None:
        """Memory for steps of so many rows."""
        shape, products = self._shape, self._products
        self._model.scratch_floats = shape.d_model + max(product.scratch_floats(rows) for product in products)
        self._memory = {
            "x": torch.empty(rows, shape.d_model),
            "wide": torch.empty(rows, max(product.channels for product in products[1:])),
            "attended": torch.empty(rows, shape.heads * shape.d_kv),
            "scratch": torch.empty(self._threads, self._model.scratch_floats),
        }
        for name, tensor in self._memory.items():
            setattr(self._model, name, pointer(tensor))
        self._tokens = torch.zeros(rows, dtype=torch.long)
        self._logits = torch.empty(rows, shape.vocabulary)
        self._to_tokens, self._to_logits = pointer(self._tokens), pointer(self._logits)


def _products(layer: DecoderLayer) -> dict[str, CompiledLinear]:
    return {
        "qkv": _compiled(layer.qkv),
        "out": _compiled(layer.out),
        "cross_q": _compiled(layer.cross_q),
        "cross_out": _compiled(layer.cross_out),
        "wi": _compiled(layer.feed_forward.wi),
        "wo": _compiled(layer.feed_forward.wo),
    }


def _layer(layer: DecoderLayer, cache: Any) -> dict[str, Any]:
    """The fields of kernels.h's decoder_layer."""
    return {
        "norm": pointer(layer.norm),
        "cross_norm": pointer(layer.cross_norm),
        "feed_forward_norm": pointer(layer.feed_forward.norm),
        "cache": cache[0],
    } | {name: product.layer[0] for name, product in _products(layer).items()}


def _compiled(linear: Linear) -> CompiledLinear:
    if not isinstance(linear, CompiledLinear):
        raise TypeError(f"{type(linear).__name__} is no layer of kernels.c")
    return linear
