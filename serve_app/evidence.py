"""Pure: how each sentence of a text bears on a dialogue, as one number a feature.

The text is read once, into arrays over its sentences; a dialogue then takes a few products of matrices. For the few
sentences that look best this way, `closeness` compares each piece of the question with each of the sentence (late
interaction, as in ColBERT, Khattab and Zaharia 2020). Which features count how much is for `grounding` to say.
"""

import re
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain

import numpy as np

from serve_app.passages import split_sentences
from serve_app.question_words import WANTS, held, wanted
from serve_app.sentence_encoder import SentenceEncoder
from serve_app.words import WordVectors, content_words, stems, unit

FEATURES = (
    "meaning",  # cosine of the question and the sentence in its context
    "words",  # share of the question's words that the sentence, or by half its context, has: the same or similar ones
    "gap",  # the question's weightiest word that sentence and context lack
    "opening",  # share of the question's words that the sentence opens with
    "defines",  # the same, where a definition is wanted
    "subject",  # share of the sentence's subject that the question has, where a definition is wanted: "What is a node?"
    # is not about "the head node"
    "wanted",  # the sentence has the time, number, name ... that is wanted: where that is telling (see _TELLING)
    "perhaps",  # the same, of things that many sentences have
    "heading",  # it is a heading, which tells where the answer is and not what it is
    "said",  # the reply that the last turn leans on says it
    "length",  # how much the question holds: the sum of its words' weights; the same for all sentences
    "clear",  # whether it is known what is wanted; the same for all sentences
)

CLOSENESS = (
    "near",  # cosines of the question's pieces with the sentence's nearest ones: their mean, by how much each counts
    "near in context",  # the same, where the sentence before it, or its heading, may have the nearest, for less
    "far",  # of the question's piece that counts most without anything near it
    "whole",  # cosine of question and sentence as the means of their pieces
    "nearest",  # the greatest "near" of all sentences: how much the text has to say
    "most alike",  # the greatest "whole"
)

# Cosines below this say nothing: two words drawn at random reach it once in a hundred times.
_UNRELATED = 0.3
# How much a sentence takes on of the one before it in its paragraph, and of its heading.
_CONTEXT = 0.4
_OPENING_WORDS = 3
_SUBJECT_END = re.compile(r"\b(is|are|was|were|has|have|had|can|may|must|will|should|means)\b", re.I)
_SUBJECT_CHARS = 60  # a later verb is of another clause
_TINY = 1e-9
_TELLING = frozenset({"definition", "duration", "place", "reason", "instruction"})

CONTEXT_NEARNESS = 0.6  # of a piece that is near in the context alone

# An earlier turn counts where the last one leans on it, each turn by this much of the one after it.
_DECAY = 0.5
_TURNS_CONSIDERED = 4
_QUESTION_WORDS = 32  # of different ones; more would only cost time and memory
_LEANS = re.compile(
    r"^(and|or|but|also|what about|how about)\b(?! (what|who|when|where|why|how) )"
    r"|\b(it|its|he|she|they|them|him|her|his|their|this|these|that|those)\b",
    re.I,
)

_CLOSED = re.compile(r"[.!?:;][)\"'”’»]*$")
_HEADING_WORDS = 12

# A short string, and its place in a list or dict.
_OBJECT_BYTES = 150


@dataclass(frozen=True)
class _Question:
    """Its words, one row each."""

    stems: list[str]
    vectors: np.ndarray  # [words, dimensions]
    weights: np.ndarray  # [words]: rarity, times how long ago it was said


class SentenceIndex:
    """The sentences of a text's paragraphs, ready to be weighed against dialogues.

    `sentences` are all of them in order, `words` their content words. Memory: a vector a sentence and a distinct word,
    some numbers a word.
    """

    def __init__(self, paragraphs: Sequence[Sequence[str]], vectors: WordVectors) -> None:
        """`before` and `headings`: for each sentence the place of the one before it in its paragraph, and of its
        heading; -1: it has none."""
        self.sentences = [sentence for paragraph in paragraphs for sentence in paragraph]
        self._vectors = vectors
        self._places: dict[str, list[int]] = defaultdict(list)
        for place, sentence in enumerate(self.sentences):
            self._places[sentence].append(place)
        self.before, self.headings = _contexts(paragraphs)
        self._is_heading = np.zeros(len(self.sentences))
        self._is_heading[self.headings[self.headings >= 0]] = 1
        wants = [[want in has for want in WANTS] for has in map(held, self.sentences)]
        self._held = np.array(wants, dtype=bool).reshape(-1, len(WANTS))
        self._index_words()

    def _index_words(self) -> None:
        # Word 0 is none at all. Every sentence has it, so that none is without words.
        ids = {"": 0}
        sentences = [
            [ids.setdefault(word, len(ids)) for word in ("", *content_words(sentence))] for sentence in self.sentences
        ]
        self._words = np.array(list(chain.from_iterable(sentences)), dtype=np.int32)
        self._starts = np.cumsum([0, *map(len, sentences)])[:-1]  # of each sentence among the words

        self.words = frozenset(ids)

        vocabulary = stems(list(ids))
        self._by_stem: dict[str, list[int]] = defaultdict(list)
        for word, stem in enumerate(vocabulary):
            if word:
                self._by_stem[stem].append(word)
        self._frequency = Counter(chain.from_iterable({vocabulary[word] for word in words} for words in sentences))
        self._word_vectors, counts = self._vectors(list(ids))
        self._meanings = self._read_meanings(counts * self._rarity(vocabulary))
        self._openings = np.zeros((_OPENING_WORDS, len(sentences)), dtype=np.int32)
        self._subjects = np.zeros((_OPENING_WORDS, len(sentences)), dtype=np.float32)
        rarity = self._rarity(vocabulary)
        for place, (_, *words) in enumerate(sentences):
            opening = words[:_OPENING_WORDS]
            self._openings[: len(opening), place] = opening
            subject = opening[: _subject_words(self.sentences[place])]
            self._subjects[: len(subject), place] = rarity[subject]

    def _read_meanings(self, weights: np.ndarray) -> np.ndarray:
        """[sentences, dimensions], of length 1: the weighted sum of each sentence's words, and some of its context's.

        Block by block: what a long text takes in between would be several times what it is in the end.
        """
        size, width = len(self.sentences), self._word_vectors.shape[1]
        bounds = np.append(self._starts, len(self._words))
        alone = np.zeros((size + 1, width), dtype=np.float32)  # the last is the context of those that have none: -1
        for block in _blocks(size):
            words = self._words[bounds[block.start] : bounds[block.stop]]
            vectors = self._word_vectors[words]
            vectors *= weights[words, None]
            alone[block] = unit(np.add.reduceat(vectors, bounds[block] - bounds[block.start], axis=0))
        meanings = np.empty((size, width), dtype=np.float32)
        for block in _blocks(size):
            context = _CONTEXT * alone[self.before[block]] + _CONTEXT * alone[self.headings[block]]
            meanings[block] = unit(alone[block] + context)
        return meanings

    @property
    def nbytes(self) -> int:
        """About: its arrays, and what Python takes for each sentence and each distinct word."""
        arrays = (value.nbytes for value in vars(self).values() if isinstance(value, np.ndarray))
        return sum(arrays) + 2 * _OBJECT_BYTES * (len(self.sentences) + len(self._word_vectors))

    def _rarity(self, stems: Sequence[str]) -> np.ndarray:
        """BM25's inverse document frequencies over sentences, 1 for a word that the text does not have."""
        size, frequencies = len(self.sentences), np.array([self._frequency[stem] for stem in stems], dtype=np.float32)
        return np.log1p((size - frequencies + 0.5) / (frequencies + 0.5)) / np.float32(np.log1p((size + 0.5) / 0.5))

    def evidence(self, dialog: Sequence[str]) -> np.ndarray:
        """[sentences, FEATURES]. Raises ValueError for an empty dialogue."""
        if not dialog:
            raise ValueError("dialog: has no turn; the last one is the question")
        columns = dict.fromkeys(FEATURES, np.zeros(len(self.sentences)))
        if not self.sentences:
            return np.zeros((0, len(FEATURES)))
        want = wanted(dialog)
        columns["heading"] = self._is_heading
        columns["said"] = self._said(dialog)
        if want is not None:
            columns["wanted" if want in _TELLING else "perhaps"] = self._held[:, WANTS.index(want)]
            columns["clear"] = np.ones(len(self.sentences))
        question = self._question(dialog)
        if question.stems:
            columns |= self._matches(question)
            columns["defines"] = columns["opening"] * (want == "definition")
            columns["subject"] = columns["subject"] * (want == "definition")
        return np.column_stack([columns[feature] for feature in FEATURES])

    def closeness(self, dialog: Sequence[str], places: np.ndarray, encoder: SentenceEncoder) -> np.ndarray:
        """[places, CLOSENESS] of the sentences at `places`, of which there is at least one."""
        question, shares = encoder.question(dialog[-1], leant_on(dialog))
        befores, headings = self.before[places], self.headings[places]
        needed = sorted({*places.tolist(), *befores.tolist(), *headings.tolist()} - {-1})
        read, means = zip(*(encoder.sentence(self.sentences[place]) for place in needed), strict=True)
        starts = np.cumsum([0, *map(len, read[:-1])])
        near = np.zeros((len(self.sentences) + 1, len(question)), dtype=np.float32)  # the last is no sentence: -1
        near[needed] = np.maximum.reduceat(np.concatenate(read) @ question.T, starts, axis=0)
        own = near[places]
        around = np.maximum(own, CONTEXT_NEARNESS * np.maximum(near[befores], near[headings]))
        whole = np.stack(means)[np.searchsorted(needed, places)] @ unit(shares @ question)
        # Not by BLAS, which may find something invalid where nothing is, as it did here once: numpy's issue 24067.
        in_all, in_context = np.einsum("ps,s->p", own, shares), np.einsum("ps,s->p", around, shares)
        return np.column_stack(
            [
                in_all,
                in_context,
                ((1 - own) * (shares / shares.max())).max(axis=1),
                whole,
                np.full(len(places), in_all.max()),
                np.full(len(places), whole.max()),
            ]
        )

    def _matches(self, question: _Question) -> Mapping[str, np.ndarray]:
        shares = question.weights / question.weights.sum()
        similar = self._similarities(question)  # [words of the question, words of the text]
        by_sentence = np.maximum.reduceat(similar.take(self._words, axis=1), self._starts, axis=1)
        padded = np.pad(by_sentence, ((0, 0), (0, 1)))
        context = np.maximum(padded.take(self.before, axis=1), padded.take(self.headings, axis=1))
        found = np.maximum(by_sentence, 0.5 * context)
        opening = np.maximum.reduce([similar.take(words, axis=1) for words in self._openings])
        subject = (similar.max(axis=0)[self._openings] * self._subjects).sum(axis=0)
        asked = unit(question.weights @ question.vectors)
        return {
            "meaning": self._meanings @ asked,
            "words": shares @ found,
            "gap": ((1 - found) * (question.weights / question.weights.max())[:, None]).max(axis=0),
            "opening": shares @ opening,
            "subject": subject / np.maximum(self._subjects.sum(axis=0), _TINY),
            "length": np.full(len(self.sentences), question.weights.sum()),
        }

    def _similarities(self, question: _Question) -> np.ndarray:
        """1 for words of the same stem; else the cosine, as far as it is above what unrelated words have."""
        cosines = question.vectors @ self._word_vectors.T
        similar = np.clip((cosines - _UNRELATED) / (1 - _UNRELATED), 0, 1)
        for row, stem in enumerate(question.stems):
            similar[row, self._by_stem.get(stem, [])] = 1
        return np.asarray(similar)

    def _question(self, dialog: Sequence[str]) -> _Question:
        said: dict[str, float] = {}
        for age, turn in enumerate(_considered(dialog)):
            for word in reversed(content_words(turn)):  # a question tends to stand at the end
                if len(said) < _QUESTION_WORDS:
                    said.setdefault(word, _DECAY**age)
        vectors, counts = self._vectors(list(said))
        stemmed = stems(list(said))
        recency = np.array(list(said.values()), dtype=np.float32)
        return _Question(stemmed, vectors, counts * self._rarity(stemmed) * recency)

    def _said(self, dialog: Sequence[str]) -> np.ndarray:
        said = np.zeros(len(self.sentences))
        if len(_considered(dialog)) > 1:
            for sentence in split_sentences(dialog[-2]):
                said[self._places.get(sentence, [])] = 1
        return said


def leant_on(dialog: Sequence[str]) -> str:
    """The user's turn before the last one, where that leans on it; or nothing."""
    return dialog[-3] if len(dialog) >= 3 and len(_considered(dialog)) > 1 else ""


def _considered(dialog: Sequence[str]) -> Sequence[str]:
    """The turns that say what is asked for, newest first: the last alone, unless it leans on those before it."""
    leans = _LEANS.search(dialog[-1]) or not content_words(dialog[-1])
    return dialog[: -_TURNS_CONSIDERED - 1 : -1] if leans else dialog[-1:]


def _subject_words(sentence: str) -> int:
    """How many content words the subject has: those before the first verb that is sure to be one, or else one."""
    end = _SUBJECT_END.search(sentence, 0, _SUBJECT_CHARS)
    return max(len(content_words(sentence[: end.start()])), 1) if end else 1


def _blocks(size: int, block: int = 128) -> Iterator[slice]:
    return (slice(first, min(first + block, size)) for first in range(0, size, block))


def _contexts(paragraphs: Sequence[Sequence[str]]) -> tuple[np.ndarray, np.ndarray]:
    """For each sentence the place of the one before it in its paragraph, and that of its heading; -1: it has none."""
    before, headings = [], []
    place, heading = 0, -1
    for paragraph, is_heading in zip(paragraphs, _are_headings(paragraphs), strict=True):
        if is_heading:
            heading = place
        for step in range(len(paragraph)):
            before.append(place - 1 if step else -1)
            headings.append(heading)
            place += 1
    return np.array(before, dtype=np.int32), np.array(headings, dtype=np.int32)


def _are_headings(paragraphs: Sequence[Sequence[str]]) -> list[bool]:
    """Headings are short lines without a closing mark, one or two together (a title, a section) before closed text: a
    longer run of them is a list."""
    headings = [False] * len(paragraphs)
    run: list[int] = []
    for place, paragraph in enumerate(paragraphs):
        if len(paragraph) == 1 and not _CLOSED.search(paragraph[0]) and paragraph[0].count(" ") < _HEADING_WORDS:
            run.append(place)
            continue
        if len(run) <= 2:
            for heading in run:
                headings[heading] = True
        run = []
    return headings
