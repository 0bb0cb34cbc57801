"""T5 (Raffel et al. 2020) as it is taught on a CPU: transformers' names for the weights, all in one type.

Under autocast transformers' own T5 spends a tenth of its time in matrix products here: the rest goes into casts, masks
and dropout of attention. This one has none of these; dropout takes whole channels of what a layer adds.
"""

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from transformers import T5Config

from training.pieces import PAD

_FORBIDDEN = -1e4
_EPSILON = 1e-6


class Norm(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(width))

    def forward(self, x: Tensor) -> Tensor:
        return F.rms_norm(x, x.shape[-1:], self.weight, _EPSILON)


class Attention(nn.Module):
    def __init__(self, config: T5Config, *, biased: bool) -> None:
        """biased: whether it holds the position bias of its stack."""
        super().__init__()
        width, inner = config.d_model, config.num_heads * config.d_kv
        self._heads = config.num_heads
        self.q, self.k, self.v = (nn.Linear(width, inner, bias=False) for _ in range(3))
        self.o = nn.Linear(inner, width, bias=False)
        if biased:
            self.relative_attention_bias = nn.Embedding(config.relative_attention_num_buckets, config.num_heads)
            nn.init.zeros_(self.relative_attention_bias.weight)
        nn.init.normal_(self.q.weight, std=(width * config.d_kv) ** -0.5)  # T5 does not scale its products
        for weight in (self.k.weight, self.v.weight):
            nn.init.normal_(weight, std=width**-0.5)
        nn.init.normal_(self.o.weight, std=inner**-0.5)

    def forward(self, x: Tensor, bias: Tensor, read: Tensor | None = None) -> Tensor:
        """read: by default x itself. bias: broadcasts to [n, heads, tokens of x, tokens of read]."""
        read = x if read is None else read
        queries, keys, values = (
            each.unflatten(-1, (self._heads, -1)).transpose(1, 2) for each in (self.q(x), self.k(read), self.v(read))
        )
        weights = (queries @ keys.transpose(2, 3) + bias).softmax(-1)
        return torch.as_tensor(self.o((weights @ values).transpose(1, 2).flatten(2)))


class FeedForward(nn.Module):
    def __init__(self, config: T5Config) -> None:
        super().__init__()
        self.wi = nn.Linear(config.d_model, config.d_ff, bias=False)
        self.wo = nn.Linear(config.d_ff, config.d_model, bias=False)
        nn.init.normal_(self.wi.weight, std=config.d_model**-0.5)
        nn.init.normal_(self.wo.weight, std=config.d_ff**-0.5)

    def forward(self, x: Tensor) -> Tensor:
        return torch.as_tensor(self.wo(F.relu(self.wi(x))))


class SubLayer(nn.Module):
    """What it adds to its input is `inner` of that, normalized."""

    def __init__(self, name: str, inner: nn.Module, config: T5Config) -> None:
        super().__init__()
        self._name, self._dropout = name, config.dropout_rate
        self.add_module(name, inner)
        self.layer_norm = Norm(config.d_model)

    def forward(self, x: Tensor, *given: Tensor | None) -> Tensor:
        added = torch.as_tensor(self.get_submodule(self._name)(self.layer_norm(x), *given))
        if self.training and self._dropout:
            kept = torch.rand(len(x), 1, x.shape[-1]) >= self._dropout
            added = added * (kept.to(x.dtype) / (1 - self._dropout))
        return x + added


class Block(nn.Module):
    def __init__(self, config: T5Config, *, first: bool, decoder: bool) -> None:
        super().__init__()
        layers = [("SelfAttention", Attention(config, biased=first)), ("DenseReluDense", FeedForward(config))]
        if decoder:
            layers.insert(1, ("EncDecAttention", Attention(config, biased=False)))
        self.layer = nn.ModuleList(SubLayer(name, inner, config) for name, inner in layers)

    def forward(self, x: Tensor, bias: Tensor, read: Tensor | None, read_mask: Tensor | None) -> Tensor:
        attention, *cross, feed_forward = self.layer
        x = attention(x, bias)
        for layer in cross:
            x = layer(x, read_mask, read)
        return torch.as_tensor(feed_forward(x))


class Stack(nn.Module):
    def __init__(self, config: T5Config, *, decoder: bool) -> None:
        super().__init__()
        layers = (config.num_decoder_layers if decoder else None) or config.num_layers
        self.block = nn.ModuleList(Block(config, first=index == 0, decoder=decoder) for index in range(layers))
        self.final_layer_norm = Norm(config.d_model)
        self._buckets, self._distance = config.relative_attention_num_buckets, config.relative_attention_max_distance
        self._decoder = decoder

    def forward(
        self,
        x: Tensor,
        mask: Tensor,
        read: Tensor | None = None,
        read_mask: Tensor | None = None,
    ) -> list[Tensor]:
        """[n, tokens, width] after each layer, normalized after the last one.

        The masks are added to what attention scores.
        """
        bias = self._position_bias(x.shape[1]) + mask
        states = []
        for block in self.block:
            x = block(x, bias, read, read_mask)
            states.append(x)
        return [*states[:-1], self.final_layer_norm(x)]

    def _position_bias(self, size: int) -> Tensor:
        places = torch.arange(size)
        buckets = self.bucket(places - places[:, None])
        of_offsets = self.get_submodule("block.0.layer.0.SelfAttention.relative_attention_bias")
        return torch.as_tensor(of_offsets(buckets).permute(2, 0, 1)[None])

    def bucket(self, offsets: Tensor) -> Tensor:
        """T5's: each small offset its own, larger ones by their logarithm; a decoder sees what is behind it alone."""
        buckets, base = self._buckets, torch.zeros_like(offsets)
        if self._decoder:
            sizes = (-offsets).clamp(min=0)
        else:
            buckets //= 2
            base, sizes = (offsets > 0) * buckets, offsets.abs()
        exact = buckets // 2
        logarithm = (sizes.clamp(min=1) / exact).log() / math.log(self._distance / exact)
        large = exact + (logarithm * (buckets - exact)).long()
        return base + torch.where(sizes < exact, sizes, large.clamp(max=buckets - 1))


class T5(nn.Module):
    """ReLU, embeddings tied to the head."""

    def __init__(self, config: T5Config) -> None:
        super().__init__()
        self.config = config
        self.shared = nn.Embedding(config.vocab_size, config.d_model)
        self.encoder = Stack(config, decoder=False)
        self.decoder = Stack(config, decoder=True)

    def encode(self, prompts: Tensor) -> list[Tensor]:
        """prompts: [n, tokens] -> [n, tokens, width] after each layer."""
        return list(self.encoder(self.shared(prompts), self._mask(prompts)))

    def score(self, encoded: Tensor, prompts: Tensor, replies: Tensor) -> Tensor:
        """replies: [n, tokens], padded with negative numbers -> logits of their tokens [tokens of all, vocabulary]."""
        given = F.pad(replies.clamp(min=PAD)[:, :-1], (1, 0), value=PAD)
        size = given.shape[1]
        ahead = torch.full((size, size), _FORBIDDEN, dtype=encoded.dtype).triu(1)
        decoded = self.decoder(self.shared(given), ahead, encoded, self._mask(prompts))[-1]
        return F.linear(decoded[replies >= 0] * self.config.d_model**-0.5, self.shared.weight)

    def _mask(self, prompts: Tensor) -> Tensor:
        return (prompts == PAD)[:, None, None].to(self.shared.weight.dtype) * _FORBIDDEN
