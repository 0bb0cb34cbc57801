"""Pure: text -> the words that carry its meaning, their stems, and their vectors."""

import re
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from zlib import crc32

import numpy as np
import Stemmer
from model2vec import StaticModel

VECTORS = Path(__file__).resolve().parents[1] / "models/vectors"

_WORD = re.compile(r"[^\W_]+(?:[.,:]\d+)*")  # "4.50" and "10:30" are one word
# Words of grammar: pronouns, articles, prepositions, auxiliaries, question words, and what apostrophes leave behind.
_GRAMMAR = (
    "a about above after again against ain all am an and any are aren as at be because been before being below "
    "between both but by can could couldn d did didn do does doesn doing don down during each few for from "
    "further get got had hadn has hasn have haven having he her here hers herself him himself his how i if in "
    "into is isn it its itself just ll m ma may me might more most must my myself no nor not now o of off on once "
    "only or other our ours ourselves out over own re s same shall shan she should shouldn so some such t than "
    "that the their theirs them themselves then there these they this those through to too under until up us ve "
    "very was wasn we were weren what when where which while who whom why will with won would wouldn y you your "
    "yours yourself yourselves"
)
_LETTERS_A_PIECE = 2  # fewer on average, and a word is only spelt
_OWN_DIRECTIONS = 4096
_BLOCK = 4096  # words read at a time: their pieces' vectors take several times the memory of their own

_IS_GRAMMAR = frozenset(_GRAMMAR.split())

_stemmer = Stemmer.Stemmer("english")


def all_words(text: str) -> list[str]:
    """In order, in lower case."""
    return _WORD.findall(text.lower())


def content_words(text: str) -> list[str]:
    """In order, in lower case, without the words of grammar."""
    return [word for word in all_words(text) if word not in _IS_GRAMMAR]


def stems(words: Sequence[str]) -> list[str]:
    """ "pods" -> "pod"."""
    return list(_stemmer.stemWords(list(words)))


class WordVectors:
    """A Model2Vec model, read word by word: a word's vector is the mean of its pieces' vectors.

    A word that the vocabulary can only spell (of another script, or a number) gets a direction of its own instead, so
    that it is like itself and like nothing else.
    """

    def __init__(self, folder: Path) -> None:
        model = StaticModel.from_pretrained(folder)
        if model.weights is None:
            raise ValueError(f"{folder}: has no weights of its pieces; make it again with `python -m training.vectors`")
        self._tokenizer = model.tokenizer
        self._whole = {word: (piece,) for word, piece in model.tokenizer.get_vocab().items()}
        self._pieces: np.ndarray = model.embedding
        self.size = len(self._pieces)  # of the vocabulary
        self._weights: np.ndarray = model.weights
        lengths = np.sqrt(np.einsum("pd,pd->p", self._pieces, self._pieces, dtype=np.float32))
        self._scale = np.float32(1 / lengths.mean())
        self._own = unit(np.random.default_rng(0).standard_normal((_OWN_DIRECTIONS, model.dim)).astype(np.float32))

    def __call__(self, words: Sequence[str]) -> tuple[np.ndarray, np.ndarray]:
        """Vectors of length 1 [words, dimensions] (an empty word's is 0), and how much each word counts [words]: near 0
        for the commonest, near 1 for rare ones. Both float32."""
        vectors = np.zeros((len(words), self._own.shape[1]), dtype=np.float32)
        counts = np.ones(len(words), dtype=np.float32)
        pieces = [self._whole.get(word) or self._split(word) for word in words]
        known = [i for i, ids in enumerate(pieces) if ids]
        for block in (known[first : first + _BLOCK] for first in range(0, len(known), _BLOCK)):
            starts = np.cumsum([0, *(len(pieces[i]) for i in block[:-1])])
            flat = np.array([piece for i in block for piece in pieces[i]])
            vectors[block] = unit(np.add.reduceat(self._pieces[flat], starts, axis=0, dtype=np.float32))
            counts[block] = np.maximum.reduceat(self._weights[flat], starts)
        for i, (word, ids) in enumerate(zip(words, pieces, strict=True)):
            if len(word) < _LETTERS_A_PIECE * len(ids):
                vectors[i] = self._own[crc32(word.encode()) % _OWN_DIRECTIONS]
        return vectors, counts

    def knows(self, word: str) -> bool:
        """Whether the vocabulary has this word, in lower case, as a whole."""
        return word in self._whole

    def pieces(self, text: str) -> list[int]:
        """The ids of a text's pieces in order, words of grammar and marks included."""
        return list(self._split(text))

    def piece_vectors(self, pieces: Sequence[int]) -> np.ndarray:
        """[pieces, dimensions], float32, as they are: all vectors of the vocabulary together are of length 1 in the
        mean."""
        return np.asarray(self._pieces[np.asarray(pieces)] * self._scale)

    def _split(self, text: str) -> Sequence[int]:
        # One by one: a batch would wake the tokenizer's threads, for a handful of words.
        return self._tokenizer.encode(text, add_special_tokens=False).ids


def unit(vectors: np.ndarray) -> np.ndarray:
    """Each row made as long as 1; rows of zeros stay."""
    lengths = np.linalg.norm(vectors, axis=-1, keepdims=True)
    return np.asarray(np.divide(vectors, lengths, out=np.zeros_like(vectors), where=lengths > 0))


@cache
def word_vectors() -> WordVectors:
    """Those of `models/vectors`."""
    return WordVectors(VECTORS)
