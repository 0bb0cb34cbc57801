"""Pure: how a question speaks of a clause: its subject by name or pronoun, the auxiliary in front, both agreeing."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from random import Random

from training.clauses import AUXILIARIES, BE, DETERMINERS, PREPOSITIONS, Clause, Lexicon, is_adverb
from training.wordings import OTHER_VERBS, PARTICIPLES

_OBJECTS = {"he": "him", "she": "her", "they": "them", "I": "me"}
_OWNERS = {"it": "its", "he": "his", "she": "her", "they": "their", "I": "my", "you": "your"}


@dataclass(frozen=True)
class Subject:
    """What a text is about, as a question says it inside: "the mill", "Ada Marsh"; and the pronoun for it, where one is
    known."""

    name: str
    pronoun: str = "it"  # it, he or she; empty of a person of whom the text says neither
    is_person: bool = False

    @property
    def title(self) -> str:
        return _without_article(self.name)

    def is_named(self, words: str) -> bool:
        """Whether the words are the title, with any article, in the singular or the plural."""
        said, title = _without_article(words.lower()), self.title.lower()
        return said in {title, f"{title}s", f"{title}es", f"{title[:-1]}ies"}


def subject_of(title: str, sentences: Sequence[str], lexicon: Lexicon) -> Subject:
    """The subject of a text: its title with the article ("the", "a") that the first sentence gives it, in lower case
    where it is no name. Whether it is a person, the first sentence tells; whether he or she, all of them."""
    opening = sentences[0] if sentences else ""
    is_common = _is_common(title, sentences, lexicon)
    name = title[0].lower() + title[1:] if is_common else title
    if found := re.match(rf"(The|An?) {re.escape(title)}\b", opening, re.IGNORECASE):
        return Subject(f"{found[1].lower()} {name}")
    definition = re.search(r"\b(?:is|was) (?:an?|the|one of the) (.+)", opening)
    if is_common or not definition or not is_person(definition[1], lexicon):
        return Subject(name)
    said = re.findall(r"\w+", " ".join(sentences).lower())
    men, women = (sum(said.count(word) for word in words) for words in (("he", "his", "him"), ("she", "her")))
    return Subject(name, "she" if women > men else "he" if men else "", is_person=True)


class About:
    """A clause, and a name for its subject that a question can use: `name`, `object` behind a verb or preposition.

    `be` and `do` agree with the name and with the clause's tense; `base` is the verb's base form, "be" of a copula.
    """

    def __init__(self, clause: Clause, subject: Subject, lexicon: Lexicon, rng: Random) -> None:
        self.clause, self.subject, self.lexicon, self.rng = clause, subject, lexicon, rng
        self.base = (lexicon.base(clause.verb, "verb") or "") if clause.verb else "be"
        self.is_title = clause.subject.lower() in {"it", "he", "she"} or subject.is_named(clause.subject)
        self.is_plural = self._is_plural()
        self.is_past = clause.auxiliary in {"was", "were", "had"} or (not clause.auxiliary and self._do() == "did")
        self.name = self._name()
        self.object = _OBJECTS.get(self.name, self.name)
        be = {(False, False): "is", (True, False): "are", (False, True): "was", (True, True): "were"}
        self.be = _agree(be[self.is_plural, self.is_past], self.name)
        self.do = "did" if self.is_past else "do" if self.be in {"are", "am"} else "does"

    @property
    def is_person(self) -> bool:
        """Whether the clause says what a person is: of "Ada Marsh was a teacher"."""
        if self.is_title:
            return self.subject.is_person
        first, *_ = self.clause.subject.split()
        is_common = first.lower() in DETERMINERS or self.lexicon.is_common(first)
        return not is_common and is_person(self.clause.rest, self.lexicon)

    def stem(self, word: str, rest: str) -> str:
        """ "When" and "The mill was built" -> "When was the mill built" + `rest` + "?" """
        auxiliary, verb = self.clause.auxiliary, self.clause.verb
        if not auxiliary:
            auxiliary, verb = self._do(), self.base
        verb = self.rng.choice([verb, verb, *OTHER_VERBS.get(verb, ())])
        negation = "not" if self.clause.negated else ""
        return as_question(word, _agree(auxiliary, self.name), self.name, negation, verb, rest)

    def fill(self, templates: Sequence[str], **known: str) -> str:
        """One of the templates of `training.wordings`, with what it leaves open."""
        template = self.rng.choice(templates)
        return template.format(
            x=self.name, object=self.object, be=self.be, do=self.do, verb=self.base, of=_Of(self.name), **known
        )

    def inside(self, said: str) -> str:
        """The words with a small letter in front, unless they begin with a name."""
        first, _, others = said.partition(" ")
        if self.subject.is_named(said) and first not in {"The", "A", "An"}:
            is_name = not self.subject.title[0].islower()
        else:
            is_name = first.lower() not in DETERMINERS and (others[:1].isupper() or not self.lexicon.is_common(first))
        return said if is_name else said[0].lower() + said[1:]

    def _name(self) -> str:
        said = self.clause.subject
        low = said.lower()
        if low in {"he", "she", "it"}:
            return self.rng.choice([self.subject.name, self.subject.name, low])
        if low in {"they", "these", "this"}:
            return "it" if low == "this" else "they"
        if low in {"we", "you", "i"}:
            return "I" if low == "you" else "you"
        if self.subject.is_named(said):
            pronoun = "they" if self.is_plural else self.subject.pronoun
            return self.rng.choice([self.inside(said), self.inside(said), pronoun or self.inside(said)])
        owner, _, thing = said.partition(" ")
        if owner.lower() in {"its", "his", "her"} and thing.islower() and " of " not in thing:
            return self.rng.choice([f"{owner.lower()} {thing}", f"the {thing} of {self.subject.name}"])
        return self.inside(said)

    def _do(self) -> str:
        verb = self.clause.verb
        if verb == self.base:
            return "do"
        return "does" if verb.endswith("s") and not verb.endswith("ss") else "did"

    def _is_plural(self) -> bool:
        auxiliary = self.clause.auxiliary
        if auxiliary in BE | {"has", "have"}:
            return auxiliary in {"are", "were", "have"}
        if not auxiliary and self._do() != "did":
            return self._do() == "do"
        last = self.clause.subject.split()[-1].lower()
        is_plural_noun = last.endswith("s") and self.lexicon.base(last, "noun") not in {None, last}
        return last in {"they", "these", "we", "you"} or is_plural_noun


class _Of:
    """For templates: {of[weight]} is "the weight of the lamp", or "its weight"."""

    def __init__(self, name: str) -> None:
        self._name = name

    def __getitem__(self, noun: str) -> str:
        return f"{_OWNERS[self._name]} {noun}" if self._name in _OWNERS else f"the {noun} of {self._name}"


# ---- Parts of questions.


def as_question(*parts: str) -> str:
    """The parts as a question, with single spaces."""
    text = " ".join(" ".join(parts).split())
    return f"{text[0].upper()}{text[1:]}?"


def short(rest: str, most: int = 8) -> str | None:
    """`rest`, without an adverb at its end, where it is of at most `most` words and a question can end there; else
    None."""
    words = rest.strip(" ,").split()
    if words and is_adverb(words[-1]) and words[-1] != "first":
        words.pop()
    last = words[-1].lower() if words else ""
    if len(words) > 1 and (last.endswith("ed") or last in PARTICIPLES):  # "the arts produced": the rest belongs to it
        return None
    ends_open = last in PREPOSITIONS | DETERMINERS | AUXILIARIES | {"and", "or", "that"}
    return None if ends_open or len(words) > most or any("," in word for word in words) else " ".join(words)


def third_person(base: str) -> str:
    """ "watch" -> "watches" """
    if re.search(r"(?:s|x|z|ch|sh|o)$", base):
        return f"{base}es"
    return f"{base[:-1]}ies" if re.search(r"[^aeiou]y$", base) else f"{base}s"


def is_person(phrase: str, lexicon: Lexicon) -> bool:
    """Whether a noun phrase speaks of a person: "an English poet", "a film and theatre director"."""
    heads = re.split(r"[,.;]| (?:of|in|who|that|from|for|at|to|on|by|with)\b", phrase)[0]
    return any(lexicon.kind(head.split()[-1]) == "person" for head in heads.split(" and ") if head.strip())


def _is_common(title: str, sentences: Sequence[str], lexicon: Lexicon) -> bool:
    """Whether a title is no name: its words are ordinary ones, and sentences do not write it large."""
    first, *others = title.split()
    if any(word[0].isupper() for word in [first[1:], *others] if word):
        return False
    inside = [re.findall(rf"(?<=[a-z,] ){re.escape(first)}\b", sentence, re.IGNORECASE) for sentence in sentences]
    written = [word[0].islower() for words in inside for word in words]
    return 2 * sum(written) >= len(written) if written else lexicon.is_common(first)


def _agree(auxiliary: str, name: str) -> str:
    forms = {"I": {"are": "am", "were": "was", "is": "am"}, "you": {"is": "are", "was": "were"}}
    return forms.get(name, {}).get(auxiliary, auxiliary)


def _without_article(name: str) -> str:
    return re.sub(r"^(?:the|an?) ", "", name)
