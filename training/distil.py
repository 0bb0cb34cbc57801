"""The ranking's sentence encoder teaches the first layers of models/mini what words mean in their sentences.

That encoder reads each sentence by itself, T5 all of them in one prompt: word by word, a linear map of what T5's first
layers make of the prompt is to point where the encoder's vectors point (cosine). The layers behind are left to compare.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice

import numpy as np
import torch
from safetensors.torch import load_file
from torch import Tensor, nn
from torch.nn import functional as F

from serve_app.sentence_encoder import ENCODER, pieces
from serve_app.words import WordVectors
from training.batches import Batch, Encoder
from training.sentence_encoder import DIMENSIONS, Padded, SentenceEncoder

LAYERS = 3  # of T5's encoder that learn from it
_AT_ONCE = 256  # texts


@dataclass(frozen=True)
class Read:
    """A text's words: where each stands among T5's tokens of the text, and the encoder's vector of it."""

    places: list[tuple[int, int]]
    vectors: np.ndarray  # [words, DIMENSIONS], float16


_UNREAD = Read([], np.empty((0, DIMENSIONS), dtype=np.float16))


def read_by_encoder(texts: Iterable[str], words: WordVectors, encode: Encoder) -> dict[str, Read]:
    """encode: whose tokens T5 reads. Texts are read as far as the encoder reads."""
    encoder = SentenceEncoder(words)
    encoder.load_state_dict({name: weight.float() for name, weight in load_file(ENCODER).items()})
    encoder.eval()
    by_length = iter(sorted(set(texts), key=len))
    read: dict[str, Read] = {}
    while chunk := list(islice(by_length, _AT_ONCE)):
        with torch.inference_mode():
            vectors, _ = encoder(Padded.of([pieces(words, text) for text in chunk]))
        for text, of_text in zip(chunk, vectors.numpy(), strict=True):
            read[text] = _by_word(text, of_text, words, encode)
    return read


def _by_word(text: str, vectors: np.ndarray, words: WordVectors, encode: Encoder) -> Read:
    """Neither tokenizer's pieces reach across a space."""
    places, means, own, other = [], [], 0, 0
    for word in text.split():
        size, taken = len(encode.ids(word)), len(words.pieces(word))
        if taken and other + taken <= len(vectors):
            places.append((own, own + size))
            means.append(vectors[other : other + taken].mean(axis=0))
        own, other = own + size, other + taken
    if own != len(encode.ids(text)):
        return _UNREAD
    return Read(places, np.array(means, dtype=np.float16).reshape(-1, DIMENSIONS))


class Imitation(nn.Module):
    """The map from what T5's first layers make to the encoder's vectors."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.norm = nn.RMSNorm(width)
        self.leave = nn.Linear(width, DIMENSIONS)

    def forward(self, states: Sequence[Tensor], batch: Batch, read: Mapping[str, Read]) -> Tensor:
        """states: from `T5.encode` -> 1 - the words' mean cosine."""
        vectors = self.leave(self.norm(states[LAYERS - 1])).float()
        sums = F.pad(vectors.cumsum(1), (0, 0, 1, 0))
        rows, starts, ends, wanted = [], [], [], []
        for row, text, first in batch.texts:
            known = read.get(text, _UNREAD)
            for (start, end), vector in zip(known.places, known.vectors, strict=True):
                rows.append(row)
                starts.append(first + start)
                ends.append(first + end)
                wanted.append(vector)
        of_words = sums[rows, ends] - sums[rows, starts]
        return 1 - F.cosine_similarity(of_words, torch.tensor(np.array(wanted)).float(), dim=-1).mean()
