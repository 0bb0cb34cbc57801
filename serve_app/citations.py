"""Pure: a reply and the passages it was given -> which of its words stand in them, and where.

A citation is a run of words that the reply repeats from a passage. From left to right, each is the longest run that
begins at its first word; where several passages hold it, the one given first is cited. A run gives way at the beginning
of a sentence of the reply that some passage repeats further than the run reaches, so that each of several quoted
sentences is found whole. It counts from `MIN_WORDS` words on; a shorter one counts where it is a whole sentence of both
the reply and the passage.

Words are what stands between white space, without the punctuation around it. They are compared as the model reads them,
in Unicode's compatibility form, and without regard to case. Time and memory are linear in the words of both texts.
"""

import re
import unicodedata
from collections.abc import Iterator, Sequence, Set
from dataclasses import dataclass
from functools import lru_cache
from os.path import commonprefix
from typing import NamedTuple

from serve_app.messages import Citation, Passage
from serve_app.suffix_automaton import SuffixAutomaton

# By chance, a sentence shares runs of two words with twelve passages about other subjects for 12 % of its words, runs
# of three for 1 %, of four for 0.2 % (3,000 sentences of an encyclopedia).
MIN_WORDS = 3

# Between words: white space; NUL, which a prompt replaces by a space; accents that stand alone (to some keyboards an
# apostrophe), whose compatibility form begins with a space.
_CHUNK = re.compile(r"[^\s\0\u00a8\u00af\u00b4\u00b8\u02d8-\u02dd]+")
_PUNCTUATION = "".join(c for c in map(chr, range(0x10000)) if unicodedata.category(c)[0] == "P" and c not in "%‰")
_OPENING = _PUNCTUATION + "".join(map(chr, range(0x300, 0x370)))  # with what is left of an accent that stood alone
_SENTENCE_END = re.compile(r"[.!?…。]")


@dataclass(frozen=True)
class Cited:
    """Citations in the reply's order, not overlapping in it, and the share of the reply's words that stand in them."""

    citations: list[Citation]
    grounded: float


class _Word(NamedTuple):
    folded: str
    start: int  # in characters of its text
    end: int
    outer_start: int  # with the punctuation around it
    outer_end: int
    ends_sentence: bool


_GAP = ""  # equals no word, so that no run goes on from it
_PASSAGE_END = _Word(_GAP, 0, 0, 0, 0, ends_sentence=True)


class _Run(NamedTuple):
    start: int  # which word of the reply is the first
    length: int  # in words
    place: int  # which word of the source is the first

    @property
    def end(self) -> int:
        return self.start + self.length


def cite(response: str, passages: Sequence[Passage]) -> Cited:
    """Find the reply's words in its passages. Offsets count characters of `response` and of each passage's own text."""
    reply = _words(response)
    source = _Source(passages, {word.folded for word in reply})
    runs = list(_runs(reply, source))
    return Cited(
        citations=[source.citation(response, reply, run) for run in runs],
        grounded=round(sum(run.length for run in runs) / len(reply), 4) if reply else 0.0,
    )


def _words(text: str) -> list[_Word]:
    words: list[_Word] = []
    for chunk in _CHUNK.finditer(text):
        start, end = _bare(chunk)
        folded = _folded(text[start:end])
        ends_sentence = end < chunk.end() and _SENTENCE_END.search(text, end, chunk.end()) is not None
        if any(map(str.isalnum, folded)):
            words.append(_Word(folded, start, end, *chunk.span(), ends_sentence))
        elif words and ends_sentence:  # the mark stands apart from its word
            words[-1] = words[-1]._replace(ends_sentence=True)
    if words:
        words[-1] = words[-1]._replace(ends_sentence=True)
    return words


# Passages of the configured knowledge come again and again. One that fits into a prompt takes some 15 KB.
_passage_words = lru_cache(maxsize=256)(_words)


def _bare(chunk: re.Match[str]) -> tuple[int, int]:
    """Where the chunk stands without the punctuation around it."""
    if chunk[0].isalnum():  # nine in ten are
        return chunk.span()
    kept = chunk[0].rstrip(_PUNCTUATION)
    end = chunk.start() + len(kept)
    return end - len(kept.lstrip(_OPENING)), end


def _folded(word: str) -> str:
    return word.lower() if word.isascii() else unicodedata.normalize("NFKC", word).casefold()


def _runs(reply: Sequence[_Word], source: "_Source") -> Iterator[_Run]:
    start = 0
    while start < len(reply):
        run = _give_way(source.longest_run(reply, start), reply, source)
        if run.length < MIN_WORDS:
            run = source.short_sentence(reply, start)
        if run.length:
            yield run
        start += run.length or 1


def _give_way(run: _Run, reply: Sequence[_Word], source: "_Source") -> _Run:
    """The run, or as much of it as stands before the sentence that it ends within, if that is repeated further."""
    sentence = run.end
    while sentence > run.start and not reply[sentence - 1].ends_sentence:
        sentence -= 1
    if run.start < sentence < run.end and source.longest_run(reply, sentence).end > run.end:
        return run._replace(length=sentence - run.start)
    return run


class _Source:
    """The words of all passages in a row, with the end of each marked. A run that is not there has length 0.

    Only words that the reply has can be in a run. All others are gaps between runs, and so are those that stand alone
    between two gaps, as no run of one word matters.
    """

    def __init__(self, passages: Sequence[Passage], asked: Set[str]) -> None:
        """asked: the words, folded, of the reply."""
        self._words = [
            (passage, word) for passage in passages for word in (*_passage_words(passage.text), _PASSAGE_END)
        ]
        self._runs = SuffixAutomaton()
        self._places: list[int] = []  # in `_words`, of what `_runs` holds
        self._short_sentences: dict[tuple[str, ...], int] = {}
        shared = [word.folded in asked for _, word in self._words]  # the last is a passage's end, and so is [-1]
        begin = 0  # of the sentence
        for place, (_, word) in enumerate(self._words):
            if shared[place] and (shared[place - 1] or shared[place + 1]):
                if not shared[place - 1]:
                    self._append(_GAP, place)
                self._append(word.folded, place)
            if word.ends_sentence:
                if place + 1 - begin < MIN_WORDS:
                    sentence = tuple(word.folded for _, word in self._words[begin : place + 1])
                    self._short_sentences.setdefault(sentence, begin)
                begin = place + 1

    def _append(self, word: str, place: int) -> None:
        self._runs.append(word)
        self._places.append(place)

    def longest_run(self, reply: Sequence[_Word], start: int) -> _Run:
        """The longest run of the reply's words from `start` on that stands in a passage."""
        length, begin = self._runs.longest_run(reply[i].folded for i in range(start, len(reply)))
        return _Run(start, length, self._places[begin] if length else 0)

    def short_sentence(self, reply: Sequence[_Word], start: int) -> _Run:
        """The sentence that begins at `start` in the reply, if it is short and a passage holds it as a sentence."""
        begins = start == 0 or reply[start - 1].ends_sentence
        for end in range(start + 1, min(start + MIN_WORDS, len(reply) + 1)):
            place = self._short_sentences.get(tuple(word.folded for word in reply[start:end]))
            if begins and reply[end - 1].ends_sentence and place is not None:
                return _Run(start, end - start, place)
        return _Run(start, 0, 0)

    def citation(self, response: str, reply: Sequence[_Word], run: _Run) -> Citation:
        """The run in characters, with what both sides have of the punctuation around it."""
        first, last = reply[run.start], reply[run.end - 1]
        (passage, source_first), (_, source_last) = self._words[run.place], self._words[run.place + run.length - 1]
        text = passage.text
        before = _common(
            response[first.outer_start : first.start][::-1], text[source_first.outer_start : source_first.start][::-1]
        )
        after = _common(response[last.end : last.outer_end], text[source_last.end : source_last.outer_end])
        return Citation(
            start=first.start - before,
            end=last.end + after,
            passage=passage.id,
            passage_start=source_first.start - before,
            passage_end=source_last.end + after,
        )


def _common(one: str, other: str) -> int:
    """How many characters both begin with."""
    return len(commonprefix([one, other]))
