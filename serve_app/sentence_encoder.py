"""Pure: a sentence, or a question -> a vector for each of its pieces, as it is meant there.

A word's static vector (`words`) is the same wherever it stands. Here a small transformer reads it with its neighbours,
so that "heavy" behind "How" comes to lie near "weighs". Pre-norm layers (Xiong et al. 2020), RMS norms (Zhang and
Sennrich 2019), and a learnt bias for each distance between two pieces. In numpy, as an ingress has no torch;
`training.sentence_encoder` is the same in PyTorch, and teaches it.
"""

from collections.abc import Mapping, Sequence
from functools import cache, lru_cache
from pathlib import Path

import numpy as np
from safetensors.numpy import load_file

from serve_app.words import WordVectors, unit, word_vectors

ENCODER = Path(__file__).resolve().parents[1] / "models/ranker/encoder.safetensors"

LONGEST = 60  # pieces of a sentence, or of a question, that are read
EARLIER = 20  # of them, at most, of the turn that a question leans on
REACH = 12  # pieces that are further apart are as far apart
EPSILON = 1e-6  # of the norms
_REMEMBERED = 4096  # sentences: some 25 MB, where each has 25 pieces


class SentenceEncoder:
    """Remembers the sentences that it has read. Called by several threads."""

    def __init__(self, weights: Mapping[str, np.ndarray], words: WordVectors) -> None:
        """weights: as `training.sentence_encoder.SentenceEncoder` names them."""
        self._weights = {name: np.ascontiguousarray(value, dtype=np.float32) for name, value in weights.items()}
        self._words = words
        self._layers, self._heads, _ = self._weights["distance"].shape
        self.sentence = lru_cache(_REMEMBERED)(self._sentence)

    def _sentence(self, text: str) -> tuple[np.ndarray, np.ndarray]:
        """[pieces, dimensions], and their mean [dimensions]: each of length 1. Do not write into them."""
        vectors, _ = self._read(pieces(self._words, text))
        return vectors, unit(vectors.sum(axis=0))

    def question(self, text: str, earlier: str = "") -> tuple[np.ndarray, np.ndarray]:
        """[pieces, dimensions] of a question behind the turn `earlier` that it leans on, each of length 1; and how much
        each piece of both counts [pieces]: shares, which add up to 1."""
        vectors, hidden = self._read(*question_pieces(self._words, text, earlier))
        weights = self._weights
        counts = np.logaddexp(0, hidden @ weights["count.weight"][0] + weights["count.bias"][0])
        return vectors, counts / counts.sum()

    def _read(self, ids: Sequence[int], earlier: int = 0) -> tuple[np.ndarray, np.ndarray]:
        """Vectors [pieces, dimensions] and what the layers have made of the pieces [pieces, width]."""
        weights, size = self._weights, len(ids)
        static = self._words.piece_vectors(ids)
        x = static @ weights["enter.weight"].T + weights["enter.bias"]
        x += np.where(np.arange(size)[:, None] < earlier, weights["turn"][1], weights["turn"][0])
        apart = np.clip(np.arange(size) - np.arange(size)[:, None], -REACH, REACH) + REACH
        for layer in range(self._layers):
            x += self._attention(_norm(x, weights[f"layers.{layer}.before_attention.weight"]), layer, apart)
            inner = _norm(x, weights[f"layers.{layer}.before_inner.weight"]) @ weights[f"layers.{layer}.inner.weight"].T
            inner = np.maximum(inner + weights[f"layers.{layer}.inner.bias"], 0)
            x += inner @ weights[f"layers.{layer}.outer.weight"].T + weights[f"layers.{layer}.outer.bias"]
        hidden = _norm(x, weights["norm.weight"])
        vectors = hidden @ weights["leave.weight"].T + weights["leave.bias"] + static @ weights["direct.weight"].T
        return unit(vectors), hidden

    def _attention(self, x: np.ndarray, layer: int, apart: np.ndarray) -> np.ndarray:
        size, width = x.shape
        joint = (x @ self._weights[f"layers.{layer}.attention.weight"].T).reshape(size, 3, self._heads, -1)
        queries, keys, values = joint.transpose(1, 2, 0, 3)  # each [heads, pieces, width of a head]
        scores = queries @ keys.transpose(0, 2, 1) / np.float32(np.sqrt(width / self._heads))
        scores += self._weights["distance"][layer][:, apart]
        scores = np.exp(scores - scores.max(axis=-1, keepdims=True))
        read = scores / scores.sum(axis=-1, keepdims=True) @ values
        return np.asarray(read.transpose(1, 0, 2).reshape(size, width) @ self._weights[f"layers.{layer}.join.weight"].T)


def pieces(words: WordVectors, text: str) -> list[int]:
    """The ids of its first `LONGEST` pieces; of a text without any one that means nothing."""
    return words.pieces(text)[:LONGEST] or [0]


def question_pieces(words: WordVectors, text: str, earlier: str) -> tuple[list[int], int]:
    """Those of a question behind the turn `earlier` that it leans on, and how many of them are of that turn."""
    before = pieces(words, earlier)[:EARLIER] if earlier else []
    return [*before, *pieces(words, text)][:LONGEST], len(before)


def _norm(x: np.ndarray, weight: np.ndarray) -> np.ndarray:
    return np.asarray(x * (weight / np.sqrt((x * x).mean(axis=-1, keepdims=True) + np.float32(EPSILON))))


@cache
def sentence_encoder() -> SentenceEncoder:
    """That of `models/ranker`."""
    return SentenceEncoder(load_file(ENCODER), word_vectors())
