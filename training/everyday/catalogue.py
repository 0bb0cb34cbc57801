"""The attributes and the kinds of subject, as read from `data/`: what can be said and asked of what."""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from functools import cached_property

from training.everyday.templates import DATA, Block, Template, blocks, split


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

    @cached_property
    def naming(self) -> "Attribute":
        """It with only the wordings that say of which subject they speak, for texts that have two."""
        says, asks, clauses = (
            tuple(template for template in templates if template.names_subject)
            for templates in (self.says, self.asks, self.clauses)
        )
        return replace(self, says=says, asks=asks, clauses=clauses)

    @cached_property
    def compares(self) -> bool:
        """Whether it is stated of a subject beside another."""
        return any("{other}" in template.text for template in self.says)


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

    @cached_property
    def alone(self) -> tuple[Attribute, ...]:
        """What can be said of one subject."""
        return tuple(attribute for attribute in self.has if not attribute.compares)

    @cached_property
    def paired(self) -> tuple[Attribute, ...]:
        """What can be said of two, so that every sentence and every question tells which is meant."""
        naming = tuple(attribute.naming for attribute in self.has)
        return tuple(attribute for attribute in naming if attribute.says and len(attribute.asks) > 1)


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


def _near() -> dict[str, frozenset[str]]:
    """data/near.txt: for each attribute, those of its lines."""
    near: dict[str, frozenset[str]] = {}
    for line in (DATA / "near.txt").read_text(encoding="utf-8").splitlines():
        if not line.startswith("#"):
            group = frozenset(line.split())
            near |= {name: near.get(name, frozenset()) | group for name in group}
    return near


def _attributes() -> dict[str, Attribute]:
    """All attributes by name. Raises ValueError for one that is there twice or has no statement or question."""
    found: dict[str, Attribute] = {}
    near = _near()
    for block in blocks("attributes-*.txt"):
        attribute = _attribute(block)
        if block.name in found or not (attribute.says and attribute.asks and attribute.keys):
            raise ValueError(
                f"attribute {block.name!r} must occur once, with statements (=), questions (?) and keys (:)"
            )
        found[block.name] = replace(attribute, near=attribute.near | near.get(block.name, frozenset()))
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
    return Kind(
        name=block.name,
        names=block.wordings("name"),
        nouns=block.wordings("noun"),
        pronoun=block.settings["pronoun"],
        first_years=(low, high),
        titles=block.wordings("title"),
        pairs="pairs" in block.settings,
        what=replace(_attribute(block), name="what"),
        has=has,
        fillers=tuple(block.lines["-"]),
    )


ATTRIBUTES = _attributes()
KINDS = _kinds()
