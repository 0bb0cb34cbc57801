"""`serve_app.sentence_encoder` in PyTorch, to be taught; at first by all-MiniLM-L6-v2.

Distillation (Hinton et al. 2015) piece by piece: both have the same vocabulary, so each vector shall point where the
teacher's last hidden state points, in the directions of its greatest variance.
"""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from safetensors.torch import save
from tokenizers import Tokenizer
from torch import Tensor, nn
from torch.nn import functional as F

from serve_app.sentence_encoder import EPSILON, LONGEST, REACH
from serve_app.words import WordVectors
from training.half_precision import multiplies_bfloat16

WIDTH, INNER, LAYERS, HEADS = 192, 576, 3, 6
DIMENSIONS = 64  # of the vectors that come out
_BATCH = 96  # sentences
_RATE = 2e-3
_WARMUP = 200  # steps
_DIRECTIONS_FROM = 40_000  # vectors of the teacher's
_CPU = torch.device("cpu")


class Layer(nn.Module):
    def __init__(self, dropout: float) -> None:
        super().__init__()
        self.before_attention = nn.RMSNorm(WIDTH, eps=EPSILON)
        self.attention = nn.Linear(WIDTH, 3 * WIDTH, bias=False)
        self.join = nn.Linear(WIDTH, WIDTH, bias=False)
        self.before_inner = nn.RMSNorm(WIDTH, eps=EPSILON)
        self.inner = nn.Linear(WIDTH, INNER)
        self.outer = nn.Linear(INNER, WIDTH)
        self.dropout = nn.Dropout(dropout)
        for added in (self.join.weight, self.outer.weight, self.outer.bias):
            nn.init.zeros_(added)  # at first a layer changes nothing

    def forward(self, x: Tensor, bias: Tensor) -> Tensor:
        batch, size, width = x.shape
        joint = self.attention(self.before_attention(x)).view(batch, size, 3, HEADS, width // HEADS)
        queries, keys, values = joint.permute(2, 0, 3, 1, 4)
        read = F.scaled_dot_product_attention(queries, keys, values, attn_mask=bias.to(queries.dtype))
        x = x + self.dropout(self.join(read.transpose(1, 2).reshape(batch, size, width)))
        return torch.as_tensor(x + self.dropout(self.outer(F.relu(self.inner(self.before_inner(x))))))


class SentenceEncoder(nn.Module):
    static: Tensor

    def __init__(self, words: WordVectors, dropout: float = 0.2) -> None:
        super().__init__()
        static = torch.tensor(words.piece_vectors(range(words.size)))
        self.register_buffer("static", static, persistent=False)
        self.turn = nn.Parameter(torch.zeros(2, WIDTH))  # the last one, and the one that it leans on
        self.enter = nn.Linear(static.shape[1], WIDTH)
        self.layers = nn.ModuleList(Layer(dropout) for _ in range(LAYERS))
        self.distance = nn.Parameter(torch.zeros(LAYERS, HEADS, 2 * REACH + 1))
        self.norm = nn.RMSNorm(WIDTH, eps=EPSILON)
        self.leave = nn.Linear(WIDTH, DIMENSIONS)
        self.direct = nn.Linear(static.shape[1], DIMENSIONS, bias=False)
        self.count = nn.Linear(WIDTH, 1)

    def forward(self, texts: "Padded") -> tuple[Tensor, Tensor]:
        """Vectors [texts, pieces, dimensions] of length 1, and how much each piece of a question counts [texts,
        pieces]: shares, which add up to 1."""
        static = self.static[texts.ids]
        x = self.enter(static) + self.turn[texts.turns]
        places = torch.arange(texts.ids.shape[1])
        apart = (places - places[:, None]).clamp(-REACH, REACH) + REACH
        hidden = torch.zeros(texts.real.shape).masked_fill(~texts.real, -1e4)[:, None, None]
        for layer, distance in zip(self.layers, self.distance, strict=True):
            x = layer(x, distance[:, apart] + hidden)
        read = self.norm(x)
        counts = F.softplus(self.count(read)[..., 0]) * texts.real
        vectors = F.normalize((self.leave(read) + self.direct(static)).float(), dim=-1)
        return vectors, counts / counts.sum(1, keepdim=True)

    def saved(self) -> bytes:
        """As a safetensors file of 16 bits a weight."""
        return save({name: value.half().contiguous() for name, value in self.state_dict().items()})


@dataclass(frozen=True)
class Padded:
    """Texts of several lengths, filled up to the longest."""

    ids: Tensor  # [texts, pieces]
    real: Tensor  # [texts, pieces], bool
    turns: Tensor  # [texts, pieces]: 1 for those of the turn that a question leans on

    @classmethod
    def of(cls, texts: Sequence[Sequence[int]], earlier: Sequence[int] | None = None) -> "Padded":
        """earlier: how many of each text's first pieces are of the turn that it leans on; by default none."""
        sizes = torch.tensor([len(text) for text in texts])
        places = torch.arange(int(sizes.max()))
        ids = nn.utils.rnn.pad_sequence([torch.tensor(text) for text in texts], batch_first=True)
        leant_on = torch.tensor(earlier if earlier is not None else [0] * len(texts))
        return cls(ids, places < sizes[:, None], (places < leant_on[:, None]).long())


# ---- What the teacher makes of sentences


@dataclass(frozen=True)
class Taught:
    """Sentences and the teacher's vectors of their pieces, one after the other."""

    ids: np.ndarray  # [all pieces]
    starts: np.ndarray  # [sentences + 1]
    vectors: np.ndarray  # [all pieces, DIMENSIONS], float16


@torch.inference_mode()
def read_by_teacher(bert: Any, tokenizer: Tokenizer, sentences: Sequence[str], say: Callable[[str], None]) -> Taught:
    """bert: a `BertModel`, whose vocabulary is `tokenizer`'s and the encoder's."""
    encoded = [tokenizer.encode(sentence).ids[: LONGEST + 2] for sentence in sentences]  # with [CLS] and [SEP]
    order = sorted((i for i, ids in enumerate(encoded) if len(ids) > 2), key=lambda i: len(encoded[i]))
    starts = np.cumsum([0, *(len(encoded[i]) - 2 for i in order)])
    ids = np.concatenate([encoded[i][1:-1] for i in order])
    states = np.empty((len(ids), bert.config.hidden_size), dtype=np.float16)
    for first in range(0, len(order), _BATCH):
        batch = Padded.of([encoded[i] for i in order[first : first + _BATCH]])
        with torch.autocast("cpu", torch.bfloat16, enabled=multiplies_bfloat16(_CPU)):
            read = bert(input_ids=batch.ids, attention_mask=batch.real.long()).last_hidden_state
        inside = F.pad(batch.real[:, 2:], (1, 1))  # all real ones but the first and the last
        last = min(first + _BATCH, len(order))
        states[starts[first] : starts[last]] = read[inside].half().numpy()
        if first % (50 * _BATCH) == 0:
            say(f"read by the teacher: {last} of {len(order)} sentences")
    return Taught(ids, starts, _reduced(states))


def _reduced(states: np.ndarray) -> np.ndarray:
    """In the directions of the greatest variance around 0."""
    chosen = states[np.random.default_rng(0).choice(len(states), min(_DIRECTIONS_FROM, len(states)), replace=False)]
    chosen = chosen.astype(np.float32)
    chosen /= np.linalg.norm(chosen, axis=1, keepdims=True)
    directions = np.linalg.eigh(chosen.T @ chosen)[1][:, : -DIMENSIONS - 1 : -1].astype(np.float32)
    blocks = np.array_split(states, max(len(states) // 50_000, 1))
    return np.concatenate([(block.astype(np.float32) @ directions).astype(np.float16) for block in blocks])


def pace(step: int, steps: int, warmup: int) -> float:
    """The share of its rate that learning has: up within `warmup` steps, and down to the end in a line."""
    return min(1, (step + 1) / warmup) * max(0.02, 1 - step / steps)


def distil(encoder: SentenceEncoder, taught: Taught, steps: int, say: Callable[[str], None]) -> None:
    """Each step takes sentences of about the same length."""
    chance = np.random.default_rng(0)
    sizes = np.diff(taught.starts)
    batches = np.array_split(np.argsort(sizes, kind="stable"), max(len(sizes) // _BATCH, 1))
    optimizer = torch.optim.AdamW(encoder.parameters(), lr=_RATE, betas=(0.9, 0.98), weight_decay=0.01)
    began, losses = time.monotonic(), []
    encoder.train()
    for step in range(steps):
        for group in optimizer.param_groups:
            group["lr"] = _RATE * pace(step, steps, _WARMUP)
        chosen = batches[chance.integers(len(batches))]
        places = [np.arange(taught.starts[i], taught.starts[i + 1]) for i in chosen]
        texts = Padded.of([taught.ids[each].tolist() for each in places])
        with torch.autocast("cpu", torch.bfloat16, enabled=multiplies_bfloat16(_CPU)):
            vectors, _ = encoder(texts)
        wanted = F.normalize(torch.tensor(taught.vectors[np.concatenate(places)]).float(), dim=-1)
        loss = 1 - (vectors[texts.real] * wanted).sum(-1).mean()
        optimizer.zero_grad()
        torch.autograd.backward(loss)
        nn.utils.clip_grad_norm_(encoder.parameters(), 1.0)
        optimizer.step()
        losses.append(float(loss.detach()))
        if (step + 1) % 250 == 0 or step + 1 == steps:
            cosine = 1 - np.mean(losses[-250:])
            say(f"distilled: step {step + 1} of {steps}, {time.monotonic() - began:.0f} s, mean cosine {cosine:.3f}")
