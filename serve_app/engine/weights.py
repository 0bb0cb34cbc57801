"""The tensors of a T5 checkpoint -> those that t5.py computes with."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING

import torch
from torch import Tensor
from torch.nn import functional as F

from serve_app.engine.backends.eager import Eager
from serve_app.engine.backends.protocols import Backend, Linear

if TYPE_CHECKING:  # a model replica whose weights are quantised already starts without it
    from transformers import T5Config, T5ForConditionalGeneration

Activation = Callable[[Tensor], Tensor]

# transformers' names. "gelu_new" is the tanh approximation (Hendrycks and Gimpel 2016), which Flan-T5 was trained with.
_ACTIVATIONS: dict[str, Activation] = {"relu": torch.relu_, "gelu_new": partial(F.gelu, approximate="tanh")}


@dataclass(frozen=True)
class Shape:
    """The dimensions and constants of one T5."""

    d_model: int
    d_kv: int
    d_ff: int
    heads: int
    encoder_layers: int
    decoder_layers: int
    vocabulary: int
    gated: bool  # the feed-forward layers
    activation: str  # of _ACTIVATIONS
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


# Gives the tensors of a name: those that it keeps, or those that the function makes.
Keep = Callable[[str, Callable[[], tuple[Tensor, ...]]], tuple[Tensor, ...]]


def made_anew(name: str, make: Callable[[], tuple[Tensor, ...]]) -> tuple[Tensor, ...]:
    """A Keep that keeps nothing."""
    return make()


def from_transformers(model: "T5ForConditionalGeneration", backend: Backend | None = None) -> Weights:
    """The weights of a loaded checkpoint, laid out for `backend`; the default one is PyTorch in float32.

    Raises ValueError if the checkpoint's feed-forward layers are of a kind that is not supported.
    """
    return lay_out(shape_of(model.config), model.state_dict(), backend or Eager())


def lay_out(shape: Shape, values: Mapping[str, Tensor], backend: Backend, keep: Keep = made_anew) -> Weights:
    """values: by transformers' names; each is looked up once, one layer after the other, where `keep` has it not.

    Raises KeyError for a name that is missing, ValueError for a tensor of another size than `shape` says.
    """
    state = _State(values, backend, keep)
    width = shape.d_model
    bias = "block.0.layer.0.SelfAttention.relative_attention_bias"
    return Weights(
        shape=shape,
        backend=backend,
        embedding=state.tensor("shared", shape.vocabulary, width),
        encoder=[_encoder_layer(state.at(f"encoder.block.{i}.layer"), shape) for i in range(shape.encoder_layers)],
        encoder_bias=state.tensor(f"encoder.{bias}", shape.bias_buckets, shape.heads),
        encoder_norm=state.tensor("encoder.final_layer_norm", width),
        decoder=[_decoder_layer(state.at(f"decoder.block.{i}.layer"), shape) for i in range(shape.decoder_layers)],
        decoder_bias=state.tensor(f"decoder.{bias}", shape.bias_buckets, shape.heads),
        decoder_norm=state.tensor("decoder.final_layer_norm", width),
        head=state.linear("lm_head", size=(shape.vocabulary, width)),
    )


@dataclass(frozen=True)
class _State:
    """A view of a checkpoint's tensors: the names below a prefix."""

    values: Mapping[str, Tensor]
    backend: Backend
    keep: Keep
    prefix: str = ""

    def at(self, name: str) -> "_State":
        return replace(self, prefix=f"{self.prefix}{name}.")

    def tensor(self, name: str, *size: int) -> Tensor:
        """A copy: a loaded tensor may be a view of its whole file and would keep that in memory."""
        (tensor,) = self.keep(self.prefix + name, lambda: (self._loaded(name, size).clone(),))
        return tensor

    def linear(self, *names: str, size: tuple[int, int], precise: bool = False, relu: bool = False) -> Linear:
        """One layer that computes those of all `names`, each of that size, with their outputs concatenated."""

        def pack() -> tuple[Tensor, ...]:
            weights = [self._loaded(name, size) for name in names]
            return self.backend.pack(torch.cat(weights) if len(weights) > 1 else weights[0])

        packed = self.keep(self.prefix + " ".join(names), pack)
        return self.backend.linear(*packed, width=size[1], precise=precise, relu=relu)

    def _loaded(self, name: str, size: tuple[int, ...]) -> Tensor:
        weight = self.values[f"{self.prefix}{name}.weight"].detach()
        if weight.shape != size:
            raise ValueError(f"{self.prefix}{name} is {tuple(weight.shape)}, and by the model's config.json {size}")
        return weight.to(self.backend.device, torch.float32).contiguous()


def shape_of(config: "T5Config") -> Shape:
    """Raises ValueError that names what is not supported."""
    if config.dense_act_fn not in _ACTIVATIONS:
        raise ValueError(f"feed_forward_proj {config.feed_forward_proj!r} is not supported: use 'relu' or 'gated-gelu'")
    return Shape(
        d_model=config.d_model,
        d_kv=config.d_kv,
        d_ff=config.d_ff,
        heads=config.num_heads,
        encoder_layers=config.num_layers,
        decoder_layers=config.num_decoder_layers or config.num_layers,
        vocabulary=config.vocab_size,
        gated=config.is_gated_act,
        activation=config.dense_act_fn,
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


def _encoder_layer(layer: _State, shape: Shape) -> EncoderLayer:
    attention = layer.at("0.SelfAttention")
    into, out = _projections(shape)
    return EncoderLayer(
        norm=layer.tensor("0.layer_norm", shape.d_model),
        qkv=attention.linear("q", "k", "v", size=into, precise=True),
        out=attention.linear("o", size=out),
        feed_forward=_feed_forward(layer.at("1"), shape),
    )


def _decoder_layer(layer: _State, shape: Shape) -> DecoderLayer:
    attention, cross = layer.at("0.SelfAttention"), layer.at("1.EncDecAttention")
    into, out = _projections(shape)
    return DecoderLayer(
        norm=layer.tensor("0.layer_norm", shape.d_model),
        qkv=attention.linear("q", "k", "v", size=into, precise=True),
        out=attention.linear("o", size=out),
        cross_norm=layer.tensor("1.layer_norm", shape.d_model),
        cross_q=cross.linear("q", size=into, precise=True),
        cross_kv=cross.linear("k", "v", size=into, precise=True),
        cross_out=cross.linear("o", size=out),
        feed_forward=_feed_forward(layer.at("2"), shape),
    )


def _projections(shape: Shape) -> tuple[tuple[int, int], tuple[int, int]]:
    """The sizes of attention's weights: of queries, keys or values, and of its output."""
    inner = shape.heads * shape.d_kv
    return (inner, shape.d_model), (shape.d_model, inner)


def _feed_forward(layer: _State, shape: Shape) -> FeedForward:
    dense = layer.at("DenseReluDense")
    names = ["wi_0", "wi_1"] if shape.gated else ["wi"]
    relu = shape.activation == "relu" and not shape.gated  # then `wi` applies it
    return FeedForward(
        norm=layer.tensor("layer_norm", shape.d_model),
        wi=dense.linear(*names, size=(shape.d_ff, shape.d_model), relu=relu),
        wo=dense.linear("wo", size=(shape.d_model, shape.d_ff)),
        gated=shape.gated,
        activation=_identity if relu else _ACTIVATIONS[shape.activation],
    )


def _identity(x: Tensor) -> Tensor:
    return x
