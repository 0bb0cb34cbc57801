"""The T5 forward pass over slot caches (Raffel et al. 2020). Knows tensors and slots; nothing of requests.

Prompts are encoded packed: the tokens of several prompts stand in one long row, so that matrix products see no padding,
and attention is computed prompt by prompt. Replies are decoded in slots: row i of every cache belongs to slot i, and
slots 0..n-1 are the active ones, so a decoding step works on views of the caches and copies nothing.
"""

import math
from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from serve_app.engine.weights import DecoderLayer, EncoderLayer, FeedForward, Weights


class T5:
    def __init__(self, weights: Weights, *, slots: int, max_prompt: int, max_reply: int) -> None:
        """Caches for `slots` replies: prompts of at most `max_prompt` tokens, replies of at most `max_reply`.

        The caches' memory is reserved here and used only as slots fill: 2 * decoder_layers * heads * d_kv floats for
        each prompt token and for each reply token of a slot.
        """
        shape = weights.shape
        self.shape = shape
        self._weights = weights
        self._encoder_bias = _encoder_bias(weights, max_prompt)  # [heads, max_prompt, max_prompt]
        self._decoder_bias = _decoder_bias(weights, max_reply)  # [heads, max_reply], by distance
        layers = shape.decoder_layers
        self._self_kv = _reserve(layers, 2, slots, shape.heads, max_reply, shape.d_kv)
        self._cross_kv = _reserve(layers, 2, slots, shape.heads, max_prompt, shape.d_kv)
        self._prompt_lengths = torch.zeros(slots, dtype=torch.long)
        self._reply_lengths = torch.zeros(slots, dtype=torch.long)

    def encode(self, prompts: Sequence[Sequence[int]]) -> list[Tensor]:
        """Token ids of each prompt -> its encoding [tokens, d_model]."""
        lengths = [len(prompt) for prompt in prompts]
        x = self._weights.embedding[torch.tensor([token for prompt in prompts for token in prompt])]
        for layer in self._weights.encoder:
            x = x + self._encoder_attention(layer, self._norm(x, layer.norm), lengths)
            x = x + self._feed_forward(layer.feed_forward, x)
        return list(torch.split(self._norm(x, self._weights.encoder_norm), lengths))

    def fill(self, slot: int, encoding: Tensor, prefix: Sequence[int]) -> None:
        """Give `slot` to a new reply: the prompt's keys and values, and those of the tokens written already."""
        length = len(encoding)
        for index, layer in enumerate(self._weights.decoder):
            kv = self._heads(layer.cross_kv(encoding)[None], 2)  # [2, 1, heads, length, d_kv]
            self._cross_kv[index, :, slot, :, :length] = kv[:, 0]
        self._prompt_lengths[slot] = length
        self._reply_lengths[slot] = 0
        # Token by token, as they were written elsewhere: in one go the sums would be rounded in another order, and a
        # sampled reply could go on otherwise than it would have (law 3).
        for token in prefix:
            self._decode([token], slice(slot, slot + 1))

    def step(self, tokens: Sequence[int]) -> Tensor:
        """One decoding step of slots 0..n-1, given the last token of each -> logits [n, vocabulary]."""
        hidden = self._decode(tokens, slice(0, len(tokens)))
        return self._weights.head(hidden[:, 0] * self.shape.logit_scale)

    def move(self, source: int, target: int) -> None:
        """Slot `target` takes over the reply of slot `source`."""
        reply, prompt = int(self._reply_lengths[source]), int(self._prompt_lengths[source])
        self._self_kv[:, :, target, :, :reply] = self._self_kv[:, :, source, :, :reply]
        self._cross_kv[:, :, target, :, :prompt] = self._cross_kv[:, :, source, :, :prompt]
        self._reply_lengths[target], self._prompt_lengths[target] = reply, prompt

    def _encoder_attention(self, layer: EncoderLayer, x: Tensor, lengths: list[int]) -> Tensor:
        attended = []
        for packed in torch.split(layer.qkv(x), lengths):
            q, k, v = self._heads(packed[None], 3)
            bias = self._encoder_bias[None, :, : len(packed), : len(packed)]
            attended.append(self._attend(q, k, v, bias)[0])
        return layer.out(torch.cat(attended))

    def _decode(self, tokens: Sequence[int], slots: slice) -> Tensor:
        """Append one token to the reply of each of n slots -> the decoder's output [n, 1, d_model]."""
        rows = torch.arange(slots.start, slots.stop)
        positions = self._reply_lengths[slots].clone()
        self_bias = self._self_bias(positions)
        cross_bias = self._cross_bias(slots)
        x = self._weights.embedding[torch.tensor(tokens)[:, None]]
        for index, layer in enumerate(self._weights.decoder):
            x = x + self._self_attention(index, layer, self._norm(x, layer.norm), slots, rows, positions, self_bias)
            x = x + self._cross_attention(index, layer, self._norm(x, layer.cross_norm), slots, cross_bias)
            x = x + self._feed_forward(layer.feed_forward, x)
        self._reply_lengths[slots] += 1
        return self._norm(x, self._weights.decoder_norm)

    def _self_attention(
        self, index: int, layer: DecoderLayer, x: Tensor, slots: slice, rows: Tensor, positions: Tensor, bias: Tensor
    ) -> Tensor:
        q, k, v = self._heads(layer.qkv(x), 3)
        keys, values = self._self_kv[index]
        keys[rows, :, positions] = k[:, :, 0]
        values[rows, :, positions] = v[:, :, 0]
        length = bias.shape[-1]
        return layer.out(self._attend(q, keys[slots, :, :length], values[slots, :, :length], bias))

    def _cross_attention(self, index: int, layer: DecoderLayer, x: Tensor, slots: slice, bias: Tensor) -> Tensor:
        (q,) = self._heads(layer.cross_q(x), 1)
        length = bias.shape[-1]
        keys, values = self._cross_kv[index, :, slots, :, :length]
        return layer.cross_out(self._attend(q, keys, values, bias))

    def _self_bias(self, positions: Tensor) -> Tensor:
        """Position bias, and the mask of what a slot has not written: positions [n] -> [n, heads, 1, longest reply]."""
        distance = positions[:, None] - torch.arange(int(positions.max()) + 1)  # [n, keys]
        bias = self._decoder_bias[:, distance.clamp(min=0)].transpose(0, 1)
        return bias.masked_fill((distance < 0)[:, None], -math.inf)[:, :, None]

    def _cross_bias(self, slots: slice) -> Tensor:
        """The mask of each slot's own prompt length: [n, 1, 1, longest prompt]. Attention to a prompt has no bias."""
        lengths = self._prompt_lengths[slots, None]
        beyond = torch.arange(int(lengths.max())) >= lengths
        return torch.zeros(beyond.shape).masked_fill(beyond, -math.inf)[:, None, None]

    def _heads(self, x: Tensor, parts: int) -> Tensor:
        """[n, tokens, parts * heads * d_kv] -> [parts, n, heads, tokens, d_kv]."""
        n, tokens, _ = x.shape
        return x.view(n, tokens, parts, self.shape.heads, self.shape.d_kv).permute(2, 0, 3, 1, 4)

    def _attend(self, q: Tensor, k: Tensor, v: Tensor, bias: Tensor) -> Tensor:
        """T5's attention does not scale by d_kv^-0.5: its initialisation does. -> [n, tokens, heads * d_kv]"""
        out = F.scaled_dot_product_attention(q, k, v, attn_mask=bias, scale=1.0)
        return out.transpose(1, 2).flatten(2)

    def _feed_forward(self, layer: FeedForward, x: Tensor) -> Tensor:
        x = self._norm(x, layer.norm)
        if layer.gate is None:
            return layer.wo(layer.activation(layer.wi(x)))
        return layer.wo(layer.activation(layer.gate(x)) * layer.wi(x))

    def _norm(self, x: Tensor, weight: Tensor) -> Tensor:
        """T5's layer norm: root mean square, no mean, no bias (Zhang and Sennrich 2019)."""
        return F.rms_norm(x, weight.shape, weight, self.shape.norm_epsilon)


def _reserve(*shape: int) -> Tensor:
    """Zeros that take no memory until written: numpy asks for fresh pages, where torch.zeros would touch them all."""
    return torch.from_numpy(np.zeros(shape, dtype=np.float32))


def _encoder_bias(weights: Weights, length: int) -> Tensor:
    position = torch.arange(length)
    buckets = _bucket(position[None] - position[:, None], weights, bidirectional=True)
    return weights.encoder_bias[buckets].permute(2, 0, 1).contiguous()


def _decoder_bias(weights: Weights, length: int) -> Tensor:
    return weights.decoder_bias[_bucket(-torch.arange(length), weights, bidirectional=False)].T.contiguous()


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
