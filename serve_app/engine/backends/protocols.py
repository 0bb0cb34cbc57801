"""In which numbers, and by whose code, the model is computed. t5.py is the same in all of them."""

from typing import Protocol

import torch
from torch import Tensor

from serve_app.engine.backends.cuda_graphs import Capture


class Linear(Protocol):
    """A bias-free linear layer."""

    def __call__(self, x: Tensor, onto: Tensor | None = None) -> Tensor:
        """x: [rows, in_features] -> [rows, out_features], which lasts until the next layer of that width is called.

        onto: [rows, out_features] to which it is added, in place.
        """


class Attention(Protocol):
    """What the decoder's tokens attend to."""

    def attend_to_reply(self, layer: int, qkv: Tensor) -> Tensor:
        """[tokens, 3 * heads * d_kv] -> [tokens, heads * d_kv]."""

    def attend_to_prompt(self, layer: int, q: Tensor) -> Tensor:
        """[tokens, heads * d_kv] -> [tokens, heads * d_kv]."""


class KVCache(Attention, Protocol):
    """Keys and values of the replies that are being written: row i of every cache belongs to slot i.

    A decoding step has one token for each slot: the newest one, whose key and value `attend_to_reply` appends first.
    """

    def fill(self, slot: int, layer: int, keys_values: Tensor) -> None:
        """Keep a prompt's keys and values [tokens, 2 * heads * d_kv], and forget the reply that was there."""

    def begin(self, count: int) -> None:
        """A decoding step of slots 0..count - 1 starts: `attend_to_*` speak of these until `end`."""

    def end(self) -> None:
        """The step is done: every slot's reply is one token longer."""

    def move(self, source: int, target: int) -> None:
        """Slot `target` takes over the reply of slot `source`."""

    def clear(self, slot: int) -> None:
        """Zeros for what `slot` holds: a NaN in it would outlive its reply, as masks do not keep a NaN out of a sum."""


class Backend(Protocol):
    """The operations that a T5 is made of."""

    @property
    def device(self) -> torch.device:
        """Where all tensors are."""

    @property
    def capture(self) -> Capture | None:
        """How decoding steps are recorded, where they are."""

    @property
    def encoder_batch_tokens(self) -> int:
        """Prompts are best encoded in portions of about so many tokens."""

    def linear(self, weight: Tensor, *, precise: bool = False, relu: bool = False) -> Linear:
        """weight: [out_features, in_features] in fp32, as transformers stores it. relu: what is negative becomes 0.

        precise: for queries and keys. T5 does not scale their products down, so small errors there decide between
        tokens sooner than anywhere else (`python -m bench.quality` measures it).
        """

    def norm(self, x: Tensor, weight: Tensor, epsilon: float) -> Tensor:
        """T5's layer norm: root mean square, no mean, no bias (Zhang and Sennrich 2019). x: [rows, d_model].

        The result lasts until the next norm.
        """

    def prompt_bias(self, by_distance: Tensor) -> Tensor:
        """[heads, 2 * longest - 1], by the key's position minus the query's -> what `attend_to_itself` reads."""

    def attend_to_itself(self, qkv: Tensor, lengths: list[int], bias: Tensor) -> Tensor:
        """The encoder's attention, each prompt to itself: packed prompts [tokens, 3 * heads * d_kv] -> [tokens, ...].

        bias: as `prompt_bias` made it. T5's attention does not scale by d_kv^-0.5: its initialisation does.
        """

    def attend(self, q: Tensor, keys_values: Tensor, bias: Tensor) -> Tensor:
        """Each query to all keys: [queries, heads * d_kv], [keys, 2 * heads * d_kv] -> [queries, heads * d_kv].

        bias: [heads, queries, keys], or a shape that is spread over these.
        """

    def kv_cache(self, layers: int, slots: int, size: int, max_prompt: int, reply_bias: Tensor) -> KVCache:
        """Empty caches. size: d_kv. reply_bias: [heads, max_reply], by distance."""
