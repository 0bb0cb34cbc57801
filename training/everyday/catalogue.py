"""The attributes and the kinds of subject, as read from `data/`: what can be said and asked of what."""

from collections.abc import Iterable
from dataclasses import dataclass

from training.everyday.templates import Block, Template, blocks, split


@dataclass(frozen=True)
class Attribute:
    """One thing that can be stated of a subject, with the wordings of its statements and questions."""

    name: str
    near: frozenset[
        str
    ]  # attributes whose statements may answer this one's questions: none is asked for as missing beside them
    clash: frozenset[str]  # attributes that would contradict it, or make its questions ambiguous, in the same text
    says: tuple[Template, ...]
    asks: tuple[Template, ...]
    clauses: tuple[Template, ...]
    keys: tuple[Template, ...]
    facets: tuple[
        tuple[str, ...], ...
    ]  # where it is stated of several things: each one's name in statements, then in questions
    after: dict[str, tuple[Template, ...]]  # its questions right after another attribute was answered

    @property
    def named_says(self) -> tuple[Template, ...]:
        return tuple(template for template in self.says if template.names_subject)

    @property
    def named_asks(self) -> tuple[Template, ...]:
        return tuple(template for template in self.asks if template.names_subject)


@dataclass(frozen=True)
class Kind:
    """A kind of subject: how its examples are called and what can be said of them."""

    name: str
    names: tuple[str, ...]
    nouns: tuple[str, ...]
    pronoun: str  # it, they, we (an organisation that may speak for itself) or person
    first_years: tuple[int, int]
    titles: tuple[str, ...]
    pairs: bool  # a text may compare two of them
    what: Attribute  # what it is
    has: tuple[Attribute, ...]
    fillers: tuple[str, ...]


def _templates(lines: Iterable[str]) -> tuple[Template, ...]:
    return tuple(map(Template.read, lines))


def _attribute(block: Block) -> Attribute:
    after: dict[str, tuple[Template, ...]] = {}
    for line in block.lines["&"]:
        other, _, ask = line.partition(" | ")
        after[other] = (*after.get(other, ()), Template.read(ask))
    return Attribute(
        block.name,
        frozenset(block.words("near") + block.words("clash")),
        frozenset(block.words("clash")),
        _templates(block.lines["="]),
        _templates(block.lines["?"]),
        _templates(block.lines["~"]),
        _templates(split(block.lines[":"])),
        tuple(split([line]) for line in block.lines["/"]),
        after,
    )


def _attributes() -> dict[str, Attribute]:
    """All attributes by name. Raises ValueError for one that is there twice or has no statement or question."""
    found: dict[str, Attribute] = {}
    for block in blocks("attributes-*.txt"):
        attribute = _attribute(block)
        if block.name in found or not (attribute.says and attribute.asks and attribute.keys):
            raise ValueError(
                f"attribute {block.name!r} must occur once, with statements (=), questions (?) and keys (:)"
            )
        found[block.name] = attribute
    return found


def _kinds() -> tuple[Kind, ...]:
    """All kinds of subject. Raises KeyError for an attribute or a group that is not there."""
    groups: dict[str, tuple[Attribute, ...]] = {}
    kinds = []
    for block in blocks("subjects.txt"):
        members: dict[str, Attribute] = {}
        for word in block.words("has"):
            members |= {one.name: one for one in (groups[word] if word.startswith("@") else (ATTRIBUTES[word],))}
        for word in block.words("not"):
            members.pop(word, None)
        if block.name.startswith("@"):
            groups[block.name] = tuple(members.values())
        else:
            kinds.append(_kind(block, tuple(members.values())))
    return tuple(kinds)


def _kind(block: Block, has: tuple[Attribute, ...]) -> Kind:
    low, high = map(int, block.settings["base"].split("-"))
    what = Attribute(
        "what", frozenset({"used-for"}), frozenset(), _templates(block.lines["="]), _templates(block.lines["?"]), (), (), (), {}
    )  # fmt: skip
    return Kind(
        block.name, block.wordings("name"), block.wordings("noun"), block.settings["pronoun"], (low, high), block.wordings("title"),
        "pairs" in block.settings, what, has, tuple(block.lines["-"]),
    )  # fmt: skip


ATTRIBUTES = _attributes()
KINDS = _kinds()
