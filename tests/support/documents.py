"""What the documents tell people to type: code between fences, and commands between backticks."""

import re
import shlex
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import groupby, takewhile

from tests.support.backend import ROOT

PAGES = sorted(page for folder in ("", "docs/", "models/*/", "bench/") for page in ROOT.glob(f"{folder}*.md"))
# A code span that begins with one of these is a command; between fences, every line is one.
_SPAN = re.compile(r"(?:\w+=\S+ )*(?:make|python|serve|kubectl|docker|helm|kind|minikube|istioctl|curl) \S")
_FENCE = re.compile(r"^ *```(\w*)\n(.*?)^ *```$", re.MULTILINE | re.DOTALL)
_ASSIGNMENT = re.compile(r"\w+=")


@dataclass(frozen=True)
class Fence:
    language: str
    code: str


@dataclass(frozen=True)
class Command:
    """A simple command of a shell: its variables, its program and that one's arguments."""

    text: str
    variables: tuple[str, ...]
    words: tuple[str, ...]

    @property
    def program(self) -> str:
        return self.words[0]


def fences(document: str) -> list[Fence]:
    return [Fence(*found) for found in _FENCE.findall(document)]


def commands(document: str) -> list[Command]:
    """Each once, in their order."""
    scripts = [fence.code for fence in fences(document) if fence.language == "sh"]
    found = [command for script in scripts for command in _simple_commands(script)]
    for span in re.findall(r"`([^`]+)`", _FENCE.sub("", document)):
        inner = " ".join(span.split()).removeprefix('"$(').removesuffix(')"')
        if _SPAN.match(inner):
            found += _simple_commands(inner)
    return list(dict.fromkeys(found))


def _simple_commands(script: str) -> Iterator[Command]:
    script = re.sub(r"\\\n\s*", " ", script)
    script = re.sub(r"<<'(\w+)'\n.*?^\s*\1$", "", script, flags=re.MULTILINE | re.DOTALL)  # what is typed into it
    for line in script.splitlines():
        if re.match(r"\s*\w+\(\)", line):  # a function
            yield Command(line.strip(), (), (line.split()[0],))
            continue
        lexer = shlex.shlex(line, posix=True, punctuation_chars="|;&")
        lexer.whitespace_split = True
        for is_between, group in groupby(lexer, lambda word: set(word) <= set("|;&")):
            words = [] if is_between else list(group)
            variables = list(takewhile(_ASSIGNMENT.match, words))
            if rest := words[len(variables) :]:
                yield Command(" ".join(words), tuple(variables), tuple(rest))
