"""A transformers T5 checkpoint -> the tensors that t5.py computes with."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import partial

import torch
from torch import Tensor
from torch.nn import functional as F
from transformers import T5Config, T5ForConditionalGeneration

from serve_app.engine.backends.eager import Eager
from serve_app.engine.backends.protocols import Backend, Linear

Activation = Callable[[Tensor], Tensor]

# transformers' names. "gelu_new" is the tanh approximation (Hendrycks and Gimpel 2016), which Flan-T5 was trained with.
_ACTIVATIONS: dict[str, Activation] = {"relu": torch.relu_, "gelu_new": partial(F.gelu, approximate="tanh")}


@dataclass(frozen=True)
class Shape:
    """The dimensions and constants of one T5."""

    d_model: int
    d_kv: int
    heads: int
    decoder_layers: int
    vocabulary: int
    norm_epsilon: float
    bias_buckets: int
    bias_max_distance: int
    logit_scale: float  # d_model^-0.5 if the head is tied to the embedding (T5), else 1 (T5 v1.1, Flan-T5)
    start_token: int
    eos_token: int


@dataclass(frozen=True)
class FeedForward:
    """wo(act(wi x)); gated: wo(act(gate x) * up x) (Shazeer 2020), where wi is gate and up concatenated."""

    norm: Tensor
    wi: Linear
    wo: Linear
    gated: bool
    activation: Activation  # may change its argument in place

    @property
    def is_relu(self) -> bool:
        """Whether it is wo(relu(wi x)), and `wi` applies the ReLU."""
        return not self.gated and self.activation is _identity


@dataclass(frozen=True)
class EncoderLayer:
    norm: Tensor
    qkv: Linear  # q, k and v in one layer: [3 * heads * d_kv, d_model]
    out: Linear
    feed_forward: FeedForward


@dataclass(frozen=True)
class DecoderLayer:
    norm: Tensor
    qkv: Linear
    out: Linear
    cross_norm: Tensor
    cross_q: Linear
    cross_kv: Linear  # k and v of the encoder's output
    cross_out: Linear
    feed_forward: FeedForward


@dataclass(frozen=True)
class Weights:
    shape: Shape
    backend: Backend
    embedding: Tensor  # [vocabulary, d_model]
    encoder: list[EncoderLayer]
    encoder_bias: Tensor  # [bias_buckets, heads]
    encoder_norm: Tensor
    decoder: list[DecoderLayer]
    decoder_bias: Tensor  # [bias_buckets, heads]
    decoder_norm: Tensor
    head: Linear


def from_transformers(model: T5ForConditionalGeneration, backend: Backend | None = None) -> Weights:
    """The weights of a loaded checkpoint, laid out for `backend`; the default one is PyTorch in float32.

    Raises ValueError if the checkpoint's feed-forward layers are of a kind that is not supported.
    """
    config = model.config
    if config.dense_act_fn not in _ACTIVATIONS:
        raise ValueError(f"feed_forward_proj {config.feed_forward_proj!r} is not supported: use 'relu' or 'gated-gelu'")
    backend = backend or Eager()
    state = _State(model.state_dict(), backend)
    first = "block.0.layer.0.SelfAttention.relative_attention_bias"
    shape = _shape(config)
    return Weights(
        shape=shape,
        backend=backend,
        embedding=state.tensor("shared"),
        encoder=[_encoder_layer(state.at(f"encoder.block.{i}.layer"), config) for i in range(config.num_layers)],
        encoder_bias=state.tensor(f"encoder.{first}"),
        encoder_norm=state.tensor("encoder.final_layer_norm"),
        decoder=[_decoder_layer(state.at(f"decoder.block.{i}.layer"), config) for i in range(shape.decoder_layers)],
        decoder_bias=state.tensor(f"decoder.{first}"),
        decoder_norm=state.tensor("decoder.final_layer_norm"),
        head=state.linear("lm_head"),
    )


@dataclass(frozen=True)
class _State:
    """A view of a state dict: the names below a prefix."""

    values: Mapping[str, Tensor]
    backend: Backend
    prefix: str = ""

    def at(self, name: str) -> "_State":
        return replace(self, prefix=f"{self.prefix}{name}.")

    def tensor(self, name: str) -> Tensor:
        """A copy: the loaded tensor is a view of its whole file and would keep that in memory."""
        return self._loaded(name).clone()

    def _loaded(self, name: str) -> Tensor:
        weight = self.values[f"{self.prefix}{name}.weight"].detach()
        return weight.to(self.backend.device, torch.float32).contiguous()

    def linear(self, *names: str, precise: bool = False, relu: bool = False) -> Linear:
        """One layer that computes those of all `names`, with their outputs concatenated."""
        weights = [self._loaded(name) for name in names]
        joined = torch.cat(weights) if len(weights) > 1 else weights[0]
        return self.backend.linear(joined, precise=precise, relu=relu)


def _shape(config: T5Config) -> Shape:
    return Shape(
        d_model=config.d_model,
        d_kv=config.d_kv,
        heads=config.num_heads,
        decoder_layers=config.num_decoder_layers or config.num_layers,
        vocabulary=config.vocab_size,
        norm_epsilon=config.layer_norm_epsilon,
        bias_buckets=config.relative_attention_num_buckets,
        bias_max_distance=config.relative_attention_max_distance,
        logit_scale=config.d_model**-0.5 if config.scale_decoder_outputs else 1.0,
        start_token=_single(getattr(config, "decoder_start_token_id", None), "decoder_start_token_id"),
        eos_token=_single(config.eos_token_id, "eos_token_id"),
    )


def _single(token: object, name: str) -> int:
    if not isinstance(token, int):
        raise ValueError(f"{name} is {token!r}; the engine needs one token id in the model's config.json")
    return token


def _encoder_layer(layer: _State, config: T5Config) -> EncoderLayer:
    attention = layer.at("0.SelfAttention")
    return EncoderLayer(
        norm=layer.tensor("0.layer_norm"),
        qkv=attention.linear("q", "k", "v", precise=True),
        out=attention.linear("o"),
        feed_forward=_feed_forward(layer.at("1"), config),
    )


def _decoder_layer(layer: _State, config: T5Config) -> DecoderLayer:
    attention, cross = layer.at("0.SelfAttention"), layer.at("1.EncDecAttention")
    return DecoderLayer(
        norm=layer.tensor("0.layer_norm"),
        qkv=attention.linear("q", "k", "v", precise=True),
        out=attention.linear("o"),
        cross_norm=layer.tensor("1.layer_norm"),
        cross_q=cross.linear("q", precise=True),
        cross_kv=cross.linear("k", "v", precise=True),
        cross_out=cross.linear("o"),
        feed_forward=_feed_forward(layer.at("2"), config),
    )


def _feed_forward(layer: _State, config: T5Config) -> FeedForward:
    dense = layer.at("DenseReluDense")
    names = ["wi_0", "wi_1"] if config.is_gated_act else ["wi"]
    relu = config.dense_act_fn == "relu" and not config.is_gated_act  # then `wi` applies it
    return FeedForward(
        norm=layer.tensor("layer_norm"),
        wi=dense.linear(*names, relu=relu),
        wo=dense.linear("wo"),
        gated=config.is_gated_act,
        activation=_identity if relu else _ACTIVATIONS[config.dense_act_fn],
    )


def _identity(x: Tensor) -> Tensor:
    return x
