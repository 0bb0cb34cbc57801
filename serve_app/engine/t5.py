"""The T5 forward pass over slot caches (Raffel et al. 2020). Knows tensors and slots; nothing of requests.

Prompts are encoded packed: the tokens of several prompts stand in one long row, so that matrix products see no padding,
and attention is computed prompt by prompt. Replies are decoded in slots: slots 0..n-1 are the active ones, so a step
works on views of the caches and copies nothing. arithmetic.py says in which numbers all this is done.
"""

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from serve_app.engine.graphs import GraphedStep
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
        self._ops = weights.arithmetic
        self._encoder_bias = _encoder_bias(weights, max_prompt)  # [heads, max_prompt, max_prompt]
        self._decoder_bias = _decoder_bias(weights, max_reply)  # [heads, max_reply], by distance
        self._slots = self._ops.slots(shape.decoder_layers, slots, shape.d_kv, max_prompt, self._decoder_bias)
        self._graphed: GraphedStep | None = None
        if self._ops.capture:
            self._graphed = GraphedStep(self._logits, self._ops.capture, slots=slots, device=self._ops.device)
            self._graphed.record()

    def encode(self, prompts: Sequence[Sequence[int]]) -> list[Tensor]:
        """Token ids of each prompt -> its encoding [tokens, d_model]."""
        lengths = [len(prompt) for prompt in prompts]
        x = self._embed(self._ids([token for prompt in prompts for token in prompt]))
        for layer in self._weights.encoder:
            qkv = layer.qkv(self._norm(x, layer.norm))
            x += layer.out(self._ops.attend_to_itself(qkv, lengths, self._encoder_bias))
            x += self._feed_forward(layer.feed_forward, x)
        return list(torch.split(self._norm(x, self._weights.encoder_norm), lengths))

    def fill(self, slot: int, encoding: Tensor) -> None:
        """Give `slot` to a new reply to the prompt of that encoding."""
        for index, layer in enumerate(self._weights.decoder):
            self._slots.fill(slot, index, layer.cross_kv(encoding))

    def step(self, tokens: Sequence[int]) -> Tensor:
        """One decoding step of slots 0..n-1, given the last token of each -> logits [n, vocabulary].

        They last until the next step.
        """
        return self._graphed(tokens) if self._graphed else self._logits(self._ids(tokens))

    def move(self, source: int, target: int) -> None:
        """Slot `target` takes over the reply of slot `source`."""
        self._slots.move(source, target)

    def _logits(self, tokens: Tensor) -> Tensor:
        """Append one token to the reply of each of slots 0..n-1 -> logits [n, vocabulary]."""
        self._slots.begin(len(tokens))
        x = self._embed(tokens)
        for index, layer in enumerate(self._weights.decoder):
            qkv = layer.qkv(self._norm(x, layer.norm))
            x += layer.out(self._slots.attend_to_reply(index, qkv))
            q = layer.cross_q(self._norm(x, layer.cross_norm))
            x += layer.cross_out(self._slots.attend_to_prompt(index, q))
            x += self._feed_forward(layer.feed_forward, x)
        self._slots.end()
        return self._weights.head(self._norm(x, self._weights.decoder_norm) * self.shape.logit_scale)

    def _ids(self, tokens: Sequence[int]) -> Tensor:
        return torch.tensor(tokens, device=self._ops.device)

    def _embed(self, tokens: Tensor) -> Tensor:
        """[n] -> [n, d_model], a copy that the layers may add to."""
        return self._weights.embedding[tokens]

    def _feed_forward(self, layer: FeedForward, x: Tensor) -> Tensor:
        hidden = layer.wi(self._norm(x, layer.norm))
        if not layer.gated:
            return layer.wo(layer.activation(hidden))
        gate, up = hidden.chunk(2, dim=-1)
        return layer.wo(layer.activation(gate) * up)

    def _norm(self, x: Tensor, weight: Tensor) -> Tensor:
        return self._ops.norm(x, weight, self.shape.norm_epsilon)


def _encoder_bias(weights: Weights, length: int) -> Tensor:
    position = torch.arange(length, device=weights.arithmetic.device)
    buckets = _bucket(position[None] - position[:, None], weights, bidirectional=True)
    return weights.encoder_bias[buckets].permute(2, 0, 1).contiguous()


def _decoder_bias(weights: Weights, length: int) -> Tensor:
    position = torch.arange(length, device=weights.arithmetic.device)
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
