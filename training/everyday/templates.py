"""Reads the templates in `data/`. A file is a list of blocks; a block describes one attribute or one kind of subject.

    ## weight                                 a block begins
    near: size load                           a setting: words, or wordings parted by ';'
    = {it} [weighs|weigh] {kilos}.            a statement
    ? How (heavy|massive) [is|are] {it}?      a question
    ? @(town|near) Where is {it} made?        a question for statements that have one of these (a slot or words)
    ~ how heavy {it} [is|are]                 a question as a clause, for "Could you tell me ..."
    : weight; how heavy                       what someone types who types no sentence
    / for children; kids; my son              one of several that it is stated of: in statements; in questions
    & price | Is that with the cable?         a question that asks this right after `price` was answered
    - We look forward to your visit.          a sentence that answers nothing

`{slot}` is a value (see `values`), `(a|b)` a free choice, `[is|are]` the verb's form for one and for many. `{it}`,
`{its}` and `{them}` are the subject: in one of its forms at first, as a pronoun where the same template has it again;
`{name}` is its name.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cache, cached_property
from itertools import chain
from pathlib import Path

DATA = Path(__file__).parent / "data"
MARKS = "=?~:/&-"
VOWEL_SOUND = r"(?i:(?!uni|use|usu|eu|one\b|once|util)[aeiou]|8|11\b|18\b|hour|honest|heir|honou?r|[flmnrsx]-?\d)"
CHOICE = re.compile(r"\(([^()]*\|[^()]*)\)")
SUBJECT = re.compile(r"\{(it|its|them|name)\}")
AGREEMENT = re.compile(r"\[([^|\]]*)\|([^|\]]*)\]")


@dataclass
class Block:
    name: str
    settings: dict[str, str] = field(default_factory=dict)
    lines: dict[str, list[str]] = field(default_factory=lambda: {mark: [] for mark in MARKS})

    def words(self, setting: str) -> tuple[str, ...]:
        return tuple(self.settings.get(setting, "").split())

    def wordings(self, setting: str) -> tuple[str, ...]:
        return tuple(part.strip() for part in self.settings.get(setting, "").split(";") if part.strip())


@dataclass(frozen=True)
class Template:
    """A wording, its choices not yet made."""

    text: str
    needs: tuple[str, ...] = ()  # slots or words of which a statement must have one to answer it

    @classmethod
    def read(cls, line: str) -> "Template":
        if not line.startswith("@("):
            return cls(line)
        needs, _, text = line[2:].partition(") ")
        return cls(text, tuple(needs.split("|")))

    def answered_by(self, wording: str) -> bool:
        return not self.needs or any(need in wording for need in self.needs)

    @cached_property
    def names_subject(self) -> bool:
        return SUBJECT.search(self.text) is not None

    @cached_property
    def takes_pronoun(self) -> bool:
        return self.names_subject and "{name}" not in self.text

    @cached_property
    def starts_with_subject(self) -> bool:
        return self.text.startswith(("{it}", "{its}"))

    def variants(self, plural: bool) -> tuple[str, ...]:
        """Every way to make its choices, with the verb's form for one or for many."""
        return _variants(self.text, plural)


@cache
def _variants(text: str, plural: bool) -> tuple[str, ...]:
    agreed = AGREEMENT.sub(r"\2" if plural else r"\1", text)
    return tuple(_tidy(_refer_again(wording)) for wording in choices(agreed))


def _refer_again(wording: str) -> str:
    """`{it} lost {its} lid` as `{it} lost {again_its} lid`: a pronoun after the first mention."""
    first = SUBJECT.search(wording)
    if not first:
        return wording
    rest = re.sub(r"\{(it|its|them)\}", r"{again_\1}", wording[first.end() :])
    return wording[: first.end()] + rest


def choices(text: str) -> Iterator[str]:
    """`a (b|c)` as `a b`, `a c`. Brackets without a bar are left as they are."""
    found = CHOICE.search(text)
    if not found:
        yield text
        return
    for option in found[1].split("|"):
        yield from choices(text[: found.start()] + option + text[found.end() :])


def blocks(pattern: str) -> Iterator[Block]:
    """The blocks of the files that match, in order. Raises ValueError for a line that is none of the above."""
    for path in sorted(DATA.glob(pattern)):
        yield from _blocks(path)


def _blocks(path: Path) -> Iterator[Block]:
    block: Block | None = None
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
        if line.startswith("## "):
            if block:
                yield block
            block = Block(line[3:].strip())
        elif line.strip() and not line.startswith("# "):
            _add(block, line.strip(), f"{path.name}, line {number}")
    if block:
        yield block


def _add(block: Block | None, line: str, where: str) -> None:
    mark, _, rest = line.partition(" ")
    if block and mark in MARKS and rest:
        block.lines[mark].append(rest.strip())
    elif block and mark.endswith(":") and rest:
        block.settings[mark[:-1]] = rest.strip()
    else:
        raise ValueError(
            f"{where}: {line!r} is no template; it must begin with ## or one of {' '.join(MARKS)} or 'word:'"
        )


def split(lines: list[str], by: str = ";") -> tuple[str, ...]:
    return tuple(part.strip() for part in chain.from_iterable(line.split(by) for line in lines) if part.strip())


def _tidy(wording: str) -> str:
    """Without the spaces that an empty choice leaves, and with "an" where it belongs."""
    wording = re.sub(r" +(?=[ ,.;?!])", "", wording).strip()
    wording = re.sub(r"\b[Aa] \{(\w+)\}", r"{\1:a}", wording)
    return re.sub(rf"\b([Aa]) (?={VOWEL_SOUND})", r"\1n ", wording)


def article(noun: str) -> str:
    return f"{'an' if re.match(VOWEL_SOUND, noun) else 'a'} {noun}"
