"""Texts with questions, written by hand, to learn from: which sentence of a text answers, or that none does.

Files of many texts each:

    = The Harbour Loft                                        the title
    The Harbour Loft is a hostel on the quay of Vessby.       one sentence a line, numbered from 1 through the text
    It has 46 beds in nine rooms.

    Guests must leave by ten on the day that they depart.     behind an empty line: another paragraph

    ? how many people can sleep there | 2                     the sentence that answers, and others that do: "2,5"
    + And when do they have to go? | 3                        it leans on the question before it, and its answer
    ? is there a sauna | -                                    the text does not say

They share nothing with `training.questions`, whose development questions judge what is learnt here.
"""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

FOLDER = Path(__file__).parent
DECLINED = "I don't know."  # the reply before a question that leans on one that the text does not answer

_QUESTION = re.compile(r"([?+]) (.*\S) *\| *(-|\d+(?:,\d+)*)")


class HandwrittenError(ValueError):
    """A line is wrong; names the file, the line and what would be right."""


@dataclass(frozen=True)
class Question:
    dialog: tuple[str, ...]  # user, bot, ..., user
    answers: tuple[int, ...]  # places of the sentences that answer, the best first; none: the text does not say


@dataclass(frozen=True)
class Text:
    title: str
    paragraphs: tuple[tuple[str, ...], ...]  # of sentences
    questions: tuple[Question, ...]

    @property
    def sentences(self) -> list[str]:
        """In their order, as the questions' answers count them."""
        return [sentence for paragraph in self.paragraphs for sentence in paragraph]


def load(folder: Path = FOLDER) -> list[Text]:
    """All texts of all files, in the order of the files' names. Raises HandwrittenError."""
    return [text for path in sorted(folder.glob("*.txt")) for text in _texts(path)]


def _texts(path: Path) -> Iterator[Text]:
    parts = re.split(r"^= ", path.read_text(encoding="utf-8"), flags=re.M)
    number = 1 + parts[0].count("\n")
    for part in parts[1:]:
        title, *lines = part.splitlines()
        yield _text(title, lines, path, number)
        number += part.count("\n")


def _text(title: str, lines: Sequence[str], path: Path, number: int) -> Text:
    """number: of the title's line."""
    paragraphs: list[list[str]] = [[]]
    questions: list[Question] = []
    for at, line in enumerate(lines, start=number + 1):
        if found := _QUESTION.fullmatch(line):
            sentences = [sentence for paragraph in paragraphs for sentence in paragraph]
            mark, asked, numbers = found.groups()
            answers = () if numbers == "-" else tuple(int(each) - 1 for each in numbers.split(","))
            if wrong := [place + 1 for place in answers if not 0 <= place < len(sentences)]:
                raise HandwrittenError(f"{path}:{at}: there is no sentence {wrong[0]}, but 1 to {len(sentences)}")
            if mark == "+" and not questions:
                raise HandwrittenError(f"{path}:{at}: `+` leans on a question, but none stands before it; write `?`")
            questions.append(Question((*_before(questions, sentences, mark), asked), answers))
        elif line.startswith(("? ", "+ ")):
            raise HandwrittenError(f"{path}:{at}: a question ends in `| 3`, `| 3,5` or `| -`: {line!r}")
        elif not line:
            paragraphs.append([])
        elif questions:
            raise HandwrittenError(f"{path}:{at}: a sentence behind the questions; write it above them: {line!r}")
        else:
            paragraphs[-1].append(line)
    return Text(title, tuple(tuple(sentences) for sentences in paragraphs if sentences), tuple(questions))


def _before(questions: Sequence[Question], sentences: Sequence[str], mark: str) -> tuple[str, ...]:
    """The turns before a question."""
    if mark == "?":
        return ()
    last = questions[-1]
    return (*last.dialog, sentences[last.answers[0]] if last.answers else DECLINED)
