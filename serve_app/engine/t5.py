"""The T5 forward pass over slot caches (Raffel et al. 2020). Knows tensors and slots; nothing of requests.

Prompts are encoded packed: the tokens of several prompts stand in one long row, so that matrix products see no padding,
and attention is computed prompt by prompt. Replies are decoded in slots: slots 0..n-1 are the active ones, so a step
works on views of the caches and copies nothing. Where a reply is one of several candidates, no step and no slot is
needed: their trie goes through the decoder at once. arithmetic.py says in which numbers all this is done.
"""

import math
from collections.abc import Iterator, Sequence

import torch
from torch import Tensor

from serve_app.engine.backends.cuda_graphs import GraphedStep
from serve_app.engine.backends.protocols import Attention
from serve_app.engine.trie import Trie
from serve_app.engine.weights import FeedForward, Weights


class T5:
    def __init__(self, weights: Weights, *, slots: int, max_prompt: int, max_reply: int) -> None:
        """Caches for `slots` replies: prompts of at most `max_prompt` tokens, replies of at most `max_reply`.

        The caches' memory is reserved here and used only as slots fill: 2 * decoder_layers * heads * d_kv numbers for
        each prompt token and for each reply token of a slot.
        """
        shape = weights.shape
        self.shape = shape
        self._weights = weights
        self._ops = weights.backend
        self._encoder_bias = self._ops.prompt_bias(_encoder_bias(weights, max_prompt))
        self._decoder_bias = _decoder_bias(weights, max_reply)
        self._cache = self._ops.kv_cache(shape.decoder_layers, slots, shape.d_kv, max_prompt, self._decoder_bias)
        self._graphed: GraphedStep | None = None
        if self._ops.capture:
            self._graphed = GraphedStep(self._logits, self._ops.capture, slots=slots, device=self._ops.device)
            self._graphed.record()

    def encode(self, prompts: Sequence[Sequence[int]]) -> list[Tensor]:
        """Token ids of each prompt -> its encoding [tokens, d_model]."""
        return [encoding for portion in self._portions(prompts) for encoding in self._encode(portion)]

    def _portions(self, prompts: Sequence[Sequence[int]]) -> Iterator[list[Sequence[int]]]:
        """So many prompts at once as suits the arithmetic."""
        portion: list[Sequence[int]] = []
        for prompt in prompts:
            if portion and sum(map(len, portion)) + len(prompt) > self._ops.encoder_batch_tokens:
                yield portion
                portion = []
            portion.append(prompt)
        if portion:
            yield portion

    def _encode(self, prompts: Sequence[Sequence[int]]) -> list[Tensor]:
        lengths = [len(prompt) for prompt in prompts]
        x = self._embed(self._ids([token for prompt in prompts for token in prompt]))
        for layer in self._weights.encoder:
            qkv = layer.qkv(self._norm(x, layer.norm))
            layer.out(self._ops.attend_to_itself(qkv, lengths, self._encoder_bias), onto=x)
            self._feed_forward(layer.feed_forward, x)
        return list(torch.split(self._norm(x, self._weights.encoder_norm).clone(), lengths))

    def fill(self, slot: int, encoding: Tensor) -> None:
        """Give `slot` to a new reply to the prompt of that encoding."""
        for index, layer in enumerate(self._weights.decoder):
            self._cache.fill(slot, index, layer.cross_kv(encoding))

    def step(self, tokens: Sequence[int]) -> Tensor:
        """One decoding step of slots 0..n-1, given the last token of each -> logits [n, vocabulary].

        They last until the next step.
        """
        return self._graphed(tokens) if self._graphed else self._logits(self._ids(tokens))

    def trie_logits(self, trie: Trie, encoding: Tensor) -> Tensor:
        """The replies of a trie to the prompt of that encoding -> logits [branches, vocabulary] of what comes next."""
        x = self._embed(self._ids(trie.tokens))
        self._decode(x, _TrieAttention(self._weights, encoding, self._trie_bias(trie)))
        return self._head(x[[branch.node for branch in trie.branches]])

    def move(self, source: int, target: int) -> None:
        """Slot `target` takes over the reply of slot `source`."""
        self._cache.move(source, target)

    def clear(self, slot: int) -> None:
        """Forget the reply of `slot`, whose numbers are none: it must be gone before another reply moves there."""
        self._cache.clear(slot)

    def _logits(self, tokens: Tensor) -> Tensor:
        """Append one token to the reply of each of slots 0..n-1 -> logits [n, vocabulary]."""
        self._cache.begin(len(tokens))
        x = self._embed(tokens)
        self._decode(x, self._cache)
        self._cache.end()
        return self._head(x)

    def _decode(self, x: Tensor, attention: Attention) -> None:
        """The decoder's layers: x [tokens, d_model], in place."""
        for index, layer in enumerate(self._weights.decoder):
            qkv = layer.qkv(self._norm(x, layer.norm))
            layer.out(attention.attend_to_reply(index, qkv), onto=x)
            q = layer.cross_q(self._norm(x, layer.cross_norm))
            layer.cross_out(attention.attend_to_prompt(index, q), onto=x)
            self._feed_forward(layer.feed_forward, x)

    def _head(self, x: Tensor) -> Tensor:
        """[tokens, d_model] -> logits [tokens, vocabulary]."""
        return self._weights.head(self._norm(x, self._weights.decoder_norm) * self.shape.logit_scale)

    def _trie_bias(self, trie: Trie) -> Tensor:
        """[heads, nodes, nodes]: a node attends to itself and to what leads to it, by the distance in depth."""
        above = torch.eye(len(trie.tokens), dtype=torch.bool)
        for node, parent in enumerate(trie.parents, start=1):
            above[node] |= above[parent]
        depths = self._ids(trie.depths)
        bias = self._decoder_bias[:, (depths[:, None] - depths).clamp(min=0)]
        return bias.masked_fill(~above.to(bias.device), -math.inf)

    def _ids(self, tokens: Sequence[int]) -> Tensor:
        return torch.tensor(tokens, device=self._ops.device)

    def _embed(self, tokens: Tensor) -> Tensor:
        """[n] -> [n, d_model], a copy that the layers may add to."""
        return self._weights.embedding[tokens]

    def _feed_forward(self, layer: FeedForward, x: Tensor) -> None:
        """Added to x."""
        hidden = layer.wi(self._norm(x, layer.norm))
        if layer.gated:
            gate, up = hidden.chunk(2, dim=-1)
            hidden = layer.activation(gate) * up
        else:
            hidden = layer.activation(hidden)
        layer.wo(hidden, onto=x)

    def _norm(self, x: Tensor, weight: Tensor) -> Tensor:
        return self._ops.norm(x, weight, self.shape.norm_epsilon)


class _TrieAttention:
    """A trie's nodes attend to each other, and to a prompt; nothing is kept."""

    def __init__(self, weights: Weights, encoding: Tensor, bias: Tensor) -> None:
        """encoding: [tokens, d_model]. bias: [heads, nodes, nodes]."""
        self._ops = weights.backend
        self._layers = weights.decoder
        self._encoding = encoding
        self._bias = bias
        self._no_bias = torch.zeros(len(bias), 1, 1, device=bias.device)

    def attend_to_reply(self, layer: int, qkv: Tensor) -> Tensor:
        width = qkv.shape[1] // 3
        return self._ops.attend(qkv[:, :width], qkv[:, width:], self._bias)

    def attend_to_prompt(self, layer: int, q: Tensor) -> Tensor:
        return self._ops.attend(q, self._layers[layer].cross_kv(self._encoding), self._no_bias)


def _encoder_bias(weights: Weights, length: int) -> Tensor:
    """[heads, 2 * length - 1], by the key's position minus the query's plus length - 1."""
    relative = torch.arange(1 - length, length, device=weights.backend.device)
    return weights.encoder_bias[_bucket(relative, weights, bidirectional=True)].T.contiguous()


def _decoder_bias(weights: Weights, length: int) -> Tensor:
    """[heads, length], by the query's position minus the key's."""
    position = torch.arange(length, device=weights.backend.device)
    return weights.decoder_bias[_bucket(-position, weights, bidirectional=False)].T.contiguous()


def _bucket(relative: Tensor, weights: Weights, *, bidirectional: bool) -> Tensor:
    """Key position minus query position -> bucket: exact when near, logarithmic when far (Raffel et al. 2020, 2.1)."""
    buckets = weights.shape.bias_buckets
    offset = torch.zeros_like(relative)
    if bidirectional:
        buckets //= 2
        offset = (relative > 0) * buckets
    distance = relative.abs()
    exact = buckets // 2
    ratio = torch.log(distance.clamp(min=1).float() / exact) / math.log(weights.shape.bias_max_distance / exact)
    far = (exact + (ratio * (buckets - exact)).long()).clamp(max=buckets - 1)
    return offset + torch.where(distance < exact, distance, far)
