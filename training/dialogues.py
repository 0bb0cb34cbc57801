"""A user's dialogues, in GODEL's published form: a file of JSON lines -> `Dialogue`s. Knows no model.

    {"Context": "turn EOS turn EOS turn", "Knowledge": "...", "Response": "..."}

`Context` holds the turns so far, the oldest first, `Knowledge` the text that the reply is grounded in (it may be empty)
and `Response` the reply to learn. `Instruction`, which may be left out, replaces the configured one. Blank lines are
skipped.
"""

import codecs
import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import IO, Annotated, Any

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError

from serve_app.errors import reason
from serve_app.messages import Text

MAX_LINES = 100_000
MAX_LINE_BYTES = 256 * 1024
MAX_FILE_BYTES = 512 * 1024**2
SHOWN_PROBLEMS = 20

_TURN_END = re.compile(r"(?<!\S)EOS(?!\S)")
_T5_MARK = re.compile(r"<(/?s|pad|unk|extra_id_\d+)>")
_KINDS: Mapping[type, str] = {
    dict: "an object", list: "a list", str: "a text", int: "a number", float: "a number", bool: "a truth value",
    type(None): "null",
}  # fmt: skip


class DialoguesError(Exception):
    """The file cannot be used; names every wrong line, the field and the remedy, and quotes none of it."""


@dataclass(frozen=True)
class Dialogue:
    turns: tuple[str, ...]  # the oldest first; `response` replies to the last
    knowledge: str
    response: str
    instruction: str | None = None  # None: the configured one


@dataclass(frozen=True)
class Split:
    training: list[Dialogue]
    validation: list[Dialogue]


def read(path: Path) -> list[Dialogue]:
    """All lines of the file. Raises DialoguesError where one is wrong, or where there are too many."""
    if not path.is_file():
        raise DialoguesError(f"{path}: there is no such file; DATA names a file of JSON lines")
    if (size := path.stat().st_size) > MAX_FILE_BYTES:
        raise DialoguesError(f"{path}: {size} bytes; at most {MAX_FILE_BYTES} can be read, so use a part of it")
    dialogues, problems, wrong = [], [], 0
    with path.open("rb") as file:
        for number, line in _lines(file):
            if number > MAX_LINES:
                raise DialoguesError(f"{path}: more than {MAX_LINES} lines; use a part of them")
            try:
                dialogues.append(_parse(line))
            except _WrongLine as error:
                wrong += 1
                if wrong <= SHOWN_PROBLEMS:
                    problems.append(f"line {number}: {error}")
    if wrong > SHOWN_PROBLEMS:
        problems.append(f"and {wrong - SHOWN_PROBLEMS} more lines")
    if problems:
        raise DialoguesError(f"{path}: wrong lines, so nothing is trained:\n  " + "\n  ".join(problems))
    if not dialogues:
        raise DialoguesError(f"{path}: the file is empty; write one dialogue a line, as docs/fine-tuning.md shows")
    return dialogues


def split(dialogues: list[Dialogue], share: float, seed: int) -> Split:
    """Keep about `share` of the lines, and at least one dialogue, for validation.

    Lines with the same first turn and the same knowledge are taken for steps of one dialogue and stay together: else
    the model would be measured on what it was trained on. Raises DialoguesError where all lines are one dialogue.
    """
    groups: dict[tuple[str, str], list[Dialogue]] = {}
    for dialogue in dialogues:
        groups.setdefault((_folded(dialogue.turns[0]), _folded(dialogue.knowledge)), []).append(dialogue)
    if len(groups) < 2:
        raise DialoguesError(
            "all lines have the same first turn and the same Knowledge, so they are one dialogue; "
            "give at least two: one to train on, one to validate on"
        )
    order = list(groups.values())
    Random(seed).shuffle(order)
    largest = max(order, key=len)  # always trained on: something must be, whatever the share
    others = [group for group in order if group is not largest]
    room = max(round(share * len(dialogues)), min(map(len, others)))
    training, validation = [*largest], list[Dialogue]()
    for group in others:
        if len(group) <= room:
            room -= len(group)
            validation += group
        else:
            training += group
    return Split(training, validation)


class _WrongLine(Exception):
    """Says which field is wrong and what would be right."""


def _lines(file: IO[bytes]) -> Iterator[tuple[int, bytes]]:
    """Numbered from one, without the blank ones; of a line that is too long, only what shows that it is."""
    number = 0
    while line := file.readline(MAX_LINE_BYTES + 1):
        number += 1
        if number == 1:
            line = line.removeprefix(codecs.BOM_UTF8)
        if line.strip():
            yield number, line
        while not line.endswith(b"\n") and (rest := file.readline(MAX_LINE_BYTES)):
            line = rest


def _parse(line: bytes) -> Dialogue:
    if len(line) > MAX_LINE_BYTES:
        raise _WrongLine(f"more than {MAX_LINE_BYTES} bytes; shorten Knowledge or Context")
    try:
        values = json.loads(line.decode().rstrip())
    except UnicodeDecodeError as error:
        raise _WrongLine(f"byte {error.start + 1} is not UTF-8; save the file as UTF-8") from None
    except (ValueError, RecursionError) as error:
        why = f"{error.msg} at {error.pos + 1}" if isinstance(error, json.JSONDecodeError) else "too deep or too long"
        raise _WrongLine(f"not JSON ({why}); a line is one whole object, {{...}}, with no comma after it") from None
    if not isinstance(values, dict):
        raise _WrongLine(f"{_KINDS[type(values)]}; a line is one object with Context, Knowledge and Response")
    try:
        fields = _Fields.model_validate(values)
    except ValidationError as error:
        raise _WrongLine("; ".join(map(_explain, error.errors()))) from None
    return Dialogue(_turns(fields.context), fields.knowledge, fields.response, fields.instruction)


def _turns(context: str) -> tuple[str, ...]:
    return tuple(turn.strip() for turn in _TURN_END.split(context))


def _without_blank_turns(context: str) -> str:
    for number, turn in enumerate(_turns(context), start=1):
        if not turn:
            raise ValueError(f"turn {number} is blank; write a turn before and after every EOS")
    return context


def _not_blank(text: str) -> str:
    if not text.strip():
        raise ValueError("blank; write a text, or leave it out")
    return text


def _without_marks(text: str) -> str:
    if mark := _T5_MARK.search(text):
        raise ValueError(f"holds {mark[0]}, which T5 reads as a mark and not as text; take it out")
    return text


class _Fields(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")

    context: Annotated[Text, AfterValidator(_without_blank_turns), Field(alias="Context")]
    knowledge: Annotated[Text, Field(alias="Knowledge")]
    response: Annotated[Text, AfterValidator(_not_blank), AfterValidator(_without_marks), Field(alias="Response")]
    instruction: Annotated[Annotated[Text, AfterValidator(_not_blank)] | None, Field(alias="Instruction")] = None


def _explain(mistake: Any) -> str:
    """One of pydantic's `errors()`: the field and the remedy."""
    field = str(mistake["loc"][0])[:40]
    match mistake["type"]:
        case "missing":
            problem = f"missing; {'write an empty text where there is none' if field == 'Knowledge' else 'add it'}"
        case "extra_forbidden":
            problem = "no field of this form; its fields are Context, Knowledge, Response and, if wanted, Instruction"
        case "string_type":
            joined = ", its turns joined by ' EOS '" if field == "Context" else ""
            problem = f"{_KINDS[type(mistake['input'])]}; it must be one text{joined}"
        case _:
            problem = reason(mistake)
    return f"{field}: {problem}"


def _folded(text: str) -> str:
    return " ".join(text.split()).lower()
