"""The operations that t5.py is made of, as protocols that every backend implements.

Backends differ in number formats, in the libraries they call and in the device; t5.py is the same for all of them.
"""

from collections.abc import Sequence
from typing import Protocol

import torch
from torch import Tensor

from serve_app.engine.backends.cuda_graphs import Capture


class Linear(Protocol):
    """A bias-free linear layer."""

    def __call__(self, x: Tensor, onto: Tensor | None = None) -> Tensor:
        """x: [rows, in_features] -> [rows, out_features], valid until a layer of the same width is called.

        onto: [rows, out_features]; the product is added to it in place, and it is returned.
        """


class Attention(Protocol):
    """Attention of the decoder's tokens."""

    def attend_to_reply(self, layer: int, qkv: Tensor) -> Tensor:
        """Self-attention: [tokens, 3 * heads * d_kv] -> [tokens, heads * d_kv]."""

    def attend_to_prompt(self, layer: int, q: Tensor) -> Tensor:
        """Cross-attention: [tokens, heads * d_kv] -> [tokens, heads * d_kv]."""


class KVCache(Attention, Protocol):
    """Keys and values of the running replies and of their prompts: row i of every cache belongs to slot i.

    A decoding step reads the next tokens of each slot's reply, mostly one. They are adjacent rows of what `attend_to_*`
    get. `attend_to_reply` appends the keys and values of all rows first; then each row attends up to its own.
    """

    def fill(self, slot: int, layer: int, keys_values: Tensor) -> None:
        """Store a prompt's keys and values [tokens, 2 * heads * d_kv] and empty the slot's reply."""

    def begin(self, counts: Sequence[int]) -> None:
        """Start a decoding step with so many rows of slots 0, 1, ...; `attend_to_*` refer to these until `end`."""

    def end(self) -> None:
        """Finish the step: the reply of each of these slots is longer by its rows."""

    def drop(self, slot: int, tokens: int) -> None:
        """Shorten the reply of `slot` by its last `tokens`, and erase them as `clear` does."""

    def move(self, source: int, target: int) -> None:
        """Copy the reply and the prompt of slot `source` to slot `target`."""

    def clear(self, slot: int) -> None:
        """Overwrite what `slot` holds with zeros: a NaN would reach its next reply, as a mask only multiplies by 0."""


class Backend(Protocol):
    """The operations of one model on one device."""

    @property
    def device(self) -> torch.device:
        """Where all tensors are."""

    @property
    def capture(self) -> Capture | None:
        """Records decoding steps, to be replayed as a whole; None: steps are computed one operation at a time."""

    @property
    def encoder_batch_tokens(self) -> int:
        """The most prompt tokens that are worth encoding together."""

    @property
    def rows_are_exact(self) -> bool:
        """Whether a row's results are the same bit for bit, however many rows there are and whatever is in the others.

        Then a reply may have several rows in a step: it is the same as with one (laws 2 and 3).
        """

    @property
    def packing(self) -> str | None:
        """Names the form that `pack` gives, so that a file of it is not taken for another; None: not worth keeping."""

    def pack(self, weight: Tensor) -> tuple[Tensor, ...]:
        """What is kept of a weight: [out_features, in_features] in fp32, as transformers stores it."""

    def linear(self, *packed: Tensor, width: int, precise: bool = False, relu: bool = False) -> Linear:
        """packed: from `pack`. width: in_features, which may be padded there. relu: applied to the product.

        precise: for queries and keys. T5 does not scale their products down, so rounding errors there change the next
        token sooner than anywhere else (`python -m bench.quality` measures it).
        """

    def norm(self, x: Tensor, weight: Tensor, epsilon: float) -> Tensor:
        """T5's layer norm: root mean square, no mean, no bias (Zhang and Sennrich 2019). x: [rows, d_model].

        The result is valid until the next call.
        """

    def prompt_bias(self, by_distance: Tensor) -> Tensor:
        """The position bias in the form that `attend_to_itself` reads.

        by_distance: [heads, 2 * longest - 1], by the key's position minus the query's.
        """

    def attend_to_itself(self, qkv: Tensor, lengths: list[int], bias: Tensor) -> Tensor:
        """The encoder's self-attention, within each of the packed prompts: [tokens, 3 * heads * d_kv] -> [tokens, ...].

        bias: from `prompt_bias`. Scores are not scaled by d_kv^-0.5: T5's initialisation includes that factor.
        """

    def attend(self, q: Tensor, keys_values: Tensor, bias: Tensor) -> Tensor:
        """Each query to all keys: [queries, heads * d_kv], [keys, 2 * heads * d_kv] -> [queries, heads * d_kv].

        bias: [heads, queries, keys], or a shape that broadcasts to it.
        """

    def kv_cache(self, layers: int, slots: int, size: int, max_prompt: int, reply_bias: Tensor) -> KVCache:
        """An empty cache. size: d_kv. reply_bias: [heads, max_reply], by distance."""
