"""The T5 forward pass over a KV cache of slots (Raffel et al. 2020). Knows tensors and slots; nothing of requests.

Prompts are encoded packed: the tokens of several prompts are one long sequence, so that matrix products contain no
padding, and attention is computed prompt by prompt. Replies are decoded in slots: slots 0..n-1 are the active ones, so
a step works on views of the cache and copies nothing. A reply that is one of given candidates needs no slot: the
decoder reads the trie of the candidates in one pass. The operations are the backend's (backends/protocols.py).
"""

import math
from collections.abc import Iterator, Sequence

import torch
from torch import Tensor

from serve_app.engine.backends.compiled_step import CompiledStep, compiled_step
from serve_app.engine.backends.cuda_graphs import GraphedStep
from serve_app.engine.backends.protocols import Attention
from serve_app.engine.trie import Trie
from serve_app.engine.weights import FeedForward, Weights


class T5:
    def __init__(self, weights: Weights, *, slots: int, max_prompt: int, max_reply: int) -> None:
        """slots: the most replies decoded at once. max_prompt, max_reply: their tokens.

        The cache's memory is reserved here and becomes resident only as slots fill: 2 * decoder_layers * heads * d_kv
        numbers for each prompt token and for each reply token of a slot.
        """
        shape = weights.shape
        self.shape = shape
        self._weights = weights
        self._ops = weights.backend
        self._encoder_bias = self._ops.prompt_bias(_encoder_bias(weights, max_prompt))
        self._decoder_bias = _decoder_bias(weights, max_reply)
        self._cache = self._ops.kv_cache(shape.decoder_layers, slots, shape.d_kv, max_prompt, self._decoder_bias)
        self._whole_step: GraphedStep | CompiledStep | None = compiled_step(weights, self._cache, slots=slots)
        if self._ops.capture:
            self._whole_step = GraphedStep(self._logits, self._ops.capture, slots=slots, device=self._ops.device)
            self._whole_step.record()

    def encode(self, prompts: Sequence[Sequence[int]]) -> list[Tensor]:
        """Token ids of each prompt -> its encoding [tokens, d_model]."""
        return [encoding for portion in self._portions(prompts) for encoding in self._encode(portion)]

    def _portions(self, prompts: Sequence[Sequence[int]]) -> Iterator[list[Sequence[int]]]:
        """The prompts in groups of at most `encoder_batch_tokens`; a longer prompt is a group of its own."""
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
        """Start a new reply in `slot`, to the prompt of that encoding."""
        for index, layer in enumerate(self._weights.decoder):
            self._cache.fill(slot, index, layer.cross_kv(encoding))

    def step(self, tokens: Sequence[int], counts: Sequence[int] | None = None) -> Tensor:
        """One decoding step of slots 0..n-1, given the next token of each reply -> logits [n, vocabulary].

        counts: how many of `tokens`, one after the other, each slot reads; None: one. Each token has a row of logits.
        The logits are valid until the next step. They are those of `_logits`, which some backends compute as a whole.
        """
        return self._whole_step(tokens, counts) if self._whole_step else self._logits(self._ids(tokens), counts)

    def trie_logits(self, trie: Trie, encoding: Tensor) -> Tensor:
        """The logits [branches, vocabulary] of the token after each branch, for the prompt of that encoding."""
        x = self._embed(self._ids(trie.tokens))
        self._decode(x, _TrieAttention(self._weights, encoding, self._trie_bias(trie)))
        return self._head(x[[branch.node for branch in trie.branches]])

    def move(self, source: int, target: int) -> None:
        """Copy the reply of slot `source` to slot `target`."""
        self._cache.move(source, target)

    def clear(self, slot: int) -> None:
        """Erase the reply of `slot`, so that a NaN in it cannot reach the next reply there."""
        self._cache.clear(slot)

    def drop(self, slot: int, tokens: int) -> None:
        """Take the last `tokens` of the reply of `slot` back."""
        self._cache.drop(slot, tokens)

    def _logits(self, tokens: Tensor, counts: Sequence[int] | None = None) -> Tensor:
        """Append tokens to the replies of slots 0..n-1, one or `counts` each -> logits [tokens, vocabulary]."""
        self._cache.begin(counts or [1] * len(tokens))
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
        """[heads, nodes, nodes]: a node attends to itself and to its ancestors; distances are those of depth."""
        above = torch.eye(len(trie.tokens), dtype=torch.bool)
        for node, parent in enumerate(trie.parents, start=1):
            above[node] |= above[parent]
        depths = self._ids(trie.depths)
        bias = self._decoder_bias[:, (depths[:, None] - depths).clamp(min=0)]
        return bias.masked_fill(~above.to(bias.device), -math.inf)

    def _ids(self, tokens: Sequence[int]) -> Tensor:
        return torch.tensor(tokens, device=self._ops.device)

    def _embed(self, tokens: Tensor) -> Tensor:
        """[n] -> [n, d_model], a copy, to which the layers add in place."""
        return self._weights.embedding[tokens]

    def _feed_forward(self, layer: FeedForward, x: Tensor) -> None:
        """Adds the layer's output to x, in place."""
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
    """Attention of a trie's nodes to their ancestors and to a prompt; nothing is cached."""

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
