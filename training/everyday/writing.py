"""Writes a text: picks what is said of a subject, or of two, and words it sentence by sentence."""

import re
from dataclasses import dataclass, field
from random import Random

from training.everyday.catalogue import KINDS, Attribute, Kind
from training.everyday.templates import Template
from training.everyday.values import WORDS, Manner, Values

MOST_FACTS = 12  # two more sentences say what two subjects are
Key = tuple[str, str, str]  # of a fact: the subject's name, the attribute's, and of what it is stated
SPEAKS = re.compile(r"\b(we|us|our)\b", re.IGNORECASE)
JOINTS = (", and ", ", and ", "; ")


@dataclass(frozen=True)
class Form:
    """One way to refer to a subject: as the sentence's subject, as owner and as object."""

    it: str
    its: str
    them: str
    plural: bool = False

    @classmethod
    def named(cls, name: str, plural: bool = False) -> "Form":
        return cls(name, name + ("'" if name.endswith("s") else "'s"), name, plural)


PRONOUNS = {
    "it": Form("it", "its", "it"),
    "they": Form("they", "their", "them", plural=True),
    "we": Form("we", "our", "us", plural=True),
    "you": Form("you", "your", "you", plural=True),
    "she": Form("she", "her", "her"),
    "he": Form("he", "his", "him"),
}


@dataclass(frozen=True)
class Subject:
    kind: Kind
    name: Form
    others: tuple[Form, ...]  # further ways to name it: "the hotel", the surname
    pronoun: Form
    speaks: bool  # its text says "we"
    values: Values  # what its name is made of

    @property
    def person(self) -> bool:
        return self.kind.pronoun == "person"

    def tells_apart(self, other: "Subject") -> bool:
        """Whether each has a name that does not mean the other as well."""
        shared = {self.name, *self.others} & {other.name, *other.others}
        return not shared if self.person else self.name not in shared

    @property
    def organisation(self) -> bool:
        return self.kind.pronoun == "we"


@dataclass
class Fact:
    """One attribute of a subject, with the values that its statement and its questions share."""

    subject: Subject
    attribute: Attribute
    values: Values
    facet: tuple[str, ...] = ()
    sentence: int | None = None
    said: str = ""  # the wording of its statement, slots not filled

    @property
    def key(self) -> Key:
        return self.subject.name.it, self.attribute.name, self.facet[0] if self.facet else ""

    def word(self, template: Template, form: Form, facet: str = "") -> str:
        """The template in words, its subject in this form. A name that begins a sentence gets its capital."""
        values = self.values
        again = form if form.it in PRONOUNS else self.subject.pronoun
        values["it"], values["its"], values["them"], values["name"] = form.it, form.its, form.them, self.subject.name.it
        values["again_it"], values["again_its"], values["again_them"] = again.it, again.its, again.them
        if facet:
            values["f"] = facet
        wording = values.manner.random.choice(template.variants(form.plural))
        if template in self.attribute.says:
            self.said = wording
        text = wording.format_map(values)
        return text[0].upper() + text[1:].replace("..", ".")  # "8 p.m." may end a sentence


@dataclass
class Draft:
    """A text on its way: its subjects, its sentences and what each fact's sentence is."""

    random: Random
    manner: Manner
    kind: Kind
    subjects: tuple[Subject, ...]
    facts: list[Fact] = field(default_factory=list)
    sentences: list[str] = field(default_factory=list)

    @property
    def mentioned(self) -> set[Key]:
        return {fact.key for fact in self.facts}

    @property
    def pair(self) -> bool:
        return len(self.subjects) == 2

    @property
    def attributes(self) -> tuple[Attribute, ...]:
        """What can be stated and asked for here."""
        return self.kind.paired if self.pair else self.kind.alone

    @property
    def what(self) -> Attribute:
        return self.kind.what.naming if self.pair else self.kind.what

    def fact(self, subject: Subject, attribute: Attribute, facet: tuple[str, ...] = ()) -> Fact:
        values = Values(self.manner, subject.values.year)
        if attribute is self.what:
            values.update(subject.values)
        values["other"] = next((other.name.it for other in self.subjects if other is not subject), "")
        return Fact(subject, attribute, values, facet)


def write(random: Random) -> Draft:
    """A draft with 4 to 14 sentences, its facts in the order of their sentences."""
    manner = Manner(random)
    kind = random.choice(KINDS)
    first = _subject(kind, Values(manner, random.randint(*kind.first_years)))
    subjects: tuple[Subject, ...] = (first,)
    if kind.pairs and random.random() < 0.35:
        second = _subject(kind, _relative(first))
        if first.tells_apart(second):
            subjects += (second,)
    draft = Draft(random, manner, kind, subjects)
    length = random.randint(4, 12)
    draft.facts = _order(draft, _pick(draft, length))
    _say_all(draft)
    return draft


def _relative(subject: Subject) -> Values:
    """Where the values of a subject's companion begin: of the same sort, and often of the same brand."""
    manner = subject.values.manner
    values = Values(manner, manner.random.randint(*subject.kind.first_years))
    noun = subject.values.get("noun", "")
    shared = [slot for slot in subject.values if slot == "noun" or "{" + slot + "}" in noun]
    if "model" in subject.values and manner.random.random() < 0.5:
        shared.append("brand")
    values.update({slot: subject.values[slot] for slot in shared})
    return values


def _subject(kind: Kind, values: Values) -> Subject:
    manner = values.manner
    random = manner.random
    if kind.pronoun == "person":
        pronoun = random.choice(("she", "he"))
        full = values["woman" if pronoun == "she" else "man"]
        first, last = full.split(" ", 1)
        parts = (Form.named(last), Form.named(random.choice((first, last))))
        return Subject(kind, Form.named(str(full)), parts, PRONOUNS[pronoun], False, values)
    if "noun" not in values:
        values["noun"] = random.choice(kind.nouns)
    plural = kind.pronoun == "they"
    name = Form.named(random.choice(kind.names).format_map(values), plural)
    noun = values["noun"].format_map(values)
    others = (Form.named(noun, plural),) if noun.startswith("the ") else ()
    speaks = kind.pronoun == "we" and random.random() < 0.5
    return Subject(kind, name, others, PRONOUNS["they" if plural else "it"], speaks, values)


def _pick(draft: Draft, length: int) -> list[list[Fact]]:
    """Groups of facts, each the same attribute of several things or subjects, `length` in all or a few more. Attributes
    that are easily confused are drawn together."""
    random = draft.random
    pool = list(draft.attributes)
    random.shuffle(pool)
    groups: list[list[Fact]] = []
    chosen: set[str] = set()
    barred: set[str] = set()
    while pool and sum(map(len, groups)) < length:
        attribute = pool.pop()
        if attribute.name in barred or attribute.clash & chosen:
            continue
        chosen.add(attribute.name)
        barred |= attribute.clash
        groups.append(_group(draft, attribute))
        if random.random() < 0.4:
            pool.sort(key=lambda one: one.name in attribute.near or attribute.name in one.near)
    return groups


def _group(draft: Draft, attribute: Attribute) -> list[Fact]:
    random = draft.random
    subjects = draft.subjects if random.random() < 0.7 else (random.choice(draft.subjects),)
    facets = random.sample(attribute.facets, random.choice((1, 2, 2, 3))) if attribute.facets else [()]
    return [draft.fact(subject, attribute, facet) for facet in facets for subject in subjects]


def _order(draft: Draft, groups: list[list[Fact]]) -> list[Fact]:
    """First what the subject is (mostly), then the groups; of two subjects, sometimes one after the other."""
    random = draft.random
    facts = [fact for group in groups for fact in group][:MOST_FACTS]
    if random.random() < 0.3:
        random.shuffle(facts)
    if random.random() < 0.75:
        facts = [draft.fact(subject, draft.what) for subject in draft.subjects] + facts
    if draft.pair and random.random() < 0.5:
        facts.sort(key=lambda fact: fact.subject is draft.subjects[1])
    return facts


def _say_all(draft: Draft) -> None:
    random = draft.random
    named: set[str] = set()
    before: Fact | None = None
    for fact in draft.facts:
        template = _template(draft, fact)
        same = before is not None and before.subject is fact.subject
        joined = same and template.starts_with_subject and random.random() < 0.15 and _short(draft.sentences[-1])
        form = _form(draft, fact, named, same, joined)
        text = fact.word(template, form, fact.facet[0] if fact.facet else "")
        if template.names_subject:
            named.add(fact.subject.name.it)
        if joined:
            text = text if form is fact.subject.name else text[0].lower() + text[1:]
            draft.sentences[-1] = draft.sentences[-1][:-1] + random.choice(JOINTS) + text
        else:
            draft.sentences.append(text)
        fact.sentence = len(draft.sentences) - 1
        before = fact
    while len(draft.sentences) < 4 or (random.random() < 0.15 and len(draft.sentences) < 14):
        _fill(draft)


def _template(draft: Draft, fact: Fact) -> Template:
    says = fact.attribute.says
    if not fact.subject.speaks:
        says = tuple(template for template in says if not SPEAKS.search(template.text)) or says
    return draft.random.choice(says)


def _short(sentence: str) -> bool:
    return sentence.endswith(".") and len(sentence) < 90 and ";" not in sentence and " and " not in sentence


def _form(draft: Draft, fact: Fact, named: set[str], same: bool, joined: bool) -> Form:
    """How a statement refers to its subject: by name at first, and wherever another subject came between."""
    subject, random = fact.subject, draft.random
    if subject.name.it not in named or (draft.pair and not same) or fact.attribute is draft.what:
        return subject.name
    if joined:
        return PRONOUNS["we"] if subject.speaks else subject.pronoun
    if subject.speaks and random.random() < 0.75:
        return PRONOUNS["we"]
    others = subject.others if subject.person or not draft.pair else ()
    return random.choice((subject.name, subject.pronoun, subject.pronoun, *others))


def _fill(draft: Draft) -> None:
    """A sentence that answers nothing goes to a place of its own; the facts behind it move on by one."""
    fillers = [one for one in draft.kind.fillers + WORDS["filler"] if one not in draft.sentences]
    place = draft.random.randint(1, len(draft.sentences))
    draft.sentences.insert(place, draft.random.choice(fillers))
    for fact in draft.facts:
        if fact.sentence is not None and fact.sentence >= place:
            fact.sentence += 1
