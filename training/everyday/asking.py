"""Asks about a draft: questions that its facts answer, questions that nothing in it answers, and follow-ups."""

import re
from dataclasses import dataclass

from training.everyday.catalogue import Attribute
from training.everyday.templates import Template
from training.everyday.text import Question
from training.everyday.values import WORDS
from training.everyday.writing import PRONOUNS, Draft, Fact, Form, Key

QUESTION_WORDS = ("when", "who", "whom", "whose", "where", "which", "why", "what")
HOW = {"much": "how-much", "many": "how-many", "long": "how-long", "do": "how-to", "can": "how-to", "to": "how-to"}
FIRST_WORDS = frozenset(WORDS["first_word"])  # those that have a capital only for their place
VERBS = frozenset(WORDS["verb"])


@dataclass(frozen=True)
class Asked:
    """A question and the fact that it asks for, stated or not."""

    key: Key
    question: Question


def ask(draft: Draft) -> list[Asked]:
    """6 to 13 questions in random order, about a quarter of them without an answer, about a quarter follow-ups."""
    random = draft.random
    count = random.randint(6, 10)
    missing = count // 4 + (random.random() < 0.3)
    follow = count // 4 + (random.random() < 0.3)
    asked = [_ask(draft, fact) for fact in _stated(draft, count - missing - follow)]
    asked += [_ask(draft, fact) for fact in _missing(draft, missing)]
    asked += [_follow(draft, fact) for fact in _stated(draft, follow)]
    if random.random() < 0.4:
        asked += [_follow(draft, fact) for fact in _missing(draft, 1)]
    while len(asked) < 6:
        asked.append(_ask(draft, random.choice(draft.facts)))
    random.shuffle(asked)
    return asked


# --- what is asked for


def _stated(draft: Draft, count: int) -> list[Fact]:
    """`count` facts of the draft, each once before any twice; what the subject is comes up less often than the rest."""
    random = draft.random
    facts = [fact for fact in draft.facts if fact.attribute is not draft.what or random.random() < 0.4]
    rounds = -(-count // len(facts))
    return [fact for _ in range(rounds) for fact in random.sample(facts, len(facts))][:count]


def _missing(draft: Draft, count: int) -> list[Fact]:
    """Up to `count` facts that the draft could state and does not: of an attribute that it does not mention, or of one
    that it states of something else."""
    random = draft.random
    found: list[Fact] = []
    for _ in range(4 * count):
        if len(found) == count:
            break
        subject = random.choice(draft.subjects)
        stated = {fact.attribute.name: fact.attribute for fact in draft.facts if fact.subject is subject}
        faceted = [attribute for attribute in stated.values() if attribute.facets]
        attribute = random.choice(faceted if faceted and random.random() < 0.5 else draft.attributes)
        facet = random.choice(attribute.facets) if attribute.facets else ()
        fact = draft.fact(subject, attribute, facet)
        if fact.key not in draft.mentioned and not _near(attribute, stated):
            found.append(fact)
    return found


def _near(attribute: Attribute, stated: dict[str, Attribute]) -> bool:
    """Whether a stated attribute may answer this one's questions."""
    return any(
        name in attribute.near or attribute.name in other.near
        for name, other in stated.items()
        if other is not attribute
    )


# --- how it is asked


def _ask(draft: Draft, fact: Fact) -> Asked:
    text, kind = _wording(draft, fact, _form(draft, fact))
    return Asked(fact.key, Question(_typed(draft, text), fact.sentence, kind))


def _form(draft: Draft, fact: Fact) -> Form:
    """How a question refers to its subject; by name where there are two."""
    subject, random = fact.subject, draft.random
    if draft.pair:
        return random.choice((subject.name, subject.name, *(subject.others if subject.person else ())))
    if subject.organisation and random.random() < 0.35:
        return PRONOUNS["you"]
    return random.choice((subject.name, subject.pronoun, subject.pronoun, *subject.others, *subject.others))


def _wording(draft: Draft, fact: Fact, form: Form) -> tuple[str, str]:
    """A question, and its kind: a sentence, a clause in a request, or a few key words."""
    random, attribute = draft.random, fact.attribute
    facet = random.choice(fact.facet) if fact.facet else ""
    clauses = _fitting(fact, attribute.clauses)
    chance = random.random()
    if chance < 0.18 and clauses:
        clause = fact.word(random.choice(clauses), form, facet)
        clause = clause[0].lower() + clause[1:]
        return random.choice(WORDS["request"]).format(clause), kind_of(clause)
    if chance < 0.32 and attribute.keys:
        return _key(draft, fact, facet), "key"
    text = fact.word(random.choice(_fitting(fact, attribute.asks) or attribute.asks), form, facet)
    return text, kind_of(text)


def _key(draft: Draft, fact: Fact, facet: str) -> str:
    random = draft.random
    key = fact.word(random.choice(fact.attribute.keys), fact.subject.name, facet)
    key = key[0].lower() + key[1:]
    name = fact.subject.name.it
    if draft.pair or random.random() < 0.25:
        key = random.choice((f"{key} {name}", f"{name} {key}", f"{name}: {key}"))
    return random.choice(WORDS["key_form"]).format(key)


def _fitting(fact: Fact, templates: tuple[Template, ...]) -> tuple[Template, ...]:
    """Those that the fact's statement answers; all where it is not stated."""
    if fact.sentence is None:
        return templates
    return tuple(template for template in templates if template.answered_by(fact.said))


def _typed(draft: Draft, text: str, greeted: bool = False) -> str:
    """As people type it: sometimes with a greeting, sometimes without capitals or question mark."""
    random = draft.random
    chance = random.random()
    if chance < 0.05 and not greeted and _is_plain(text):
        text = f"{random.choice(WORDS['greeting'])} {_uncapped(text)}"
    if chance > 0.86:
        return text.lower().rstrip("?.")
    if chance > 0.8:
        return text.rstrip("?")
    return _uncapped(text) if chance > 0.76 else text


def _is_plain(text: str) -> bool:
    """Whether it begins as a question does, not with "Hello, I'd like to ask"."""
    return text.split(" ", 1)[0].lower() in FIRST_WORDS


def _uncapped(text: str) -> str:
    return text[0].lower() + text[1:] if _is_plain(text) else text


def kind_of(ask: str) -> str:
    """The kind of a question or a clause by its words: "yes-no" if it begins with a verb, else its question word."""
    words = re.findall(r"[a-z]+", ask.lower())
    if words and words[0] in VERBS:
        return "yes-no"
    for word, after in zip(words, (*words[1:], ""), strict=True):
        if word == "how":
            return HOW.get(after, "how")
        if word in QUESTION_WORDS:
            return "who" if word in ("whom", "whose") else "when" if (word, after) == ("what", "time") else word
        if word in ("whether", "if") or word in VERBS:
            return "yes-no"
    return "key"


# --- follow-ups


def _follow(draft: Draft, fact: Fact) -> Asked:
    """The fact asked for after a turn or two on others, with a pronoun or in a few words."""
    random = draft.random
    others = [other for other in draft.facts if other.key != fact.key]
    last, text = _continue(draft, fact, others)
    turns = [last]
    if random.random() < 0.35:
        turns.insert(0, random.choice(others))
    history: list[str] = []
    for turn in turns:
        history += [_ask(draft, turn).question.ask, draft.sentences[turn.sentence or 0]]
    return Asked(fact.key, Question(_typed(draft, text, greeted=True), fact.sentence, "follow-up", tuple(history)))


def _continue(draft: Draft, fact: Fact, others: list[Fact]) -> tuple[Fact, str]:
    """The fact that was asked for last, and the question that follows."""
    random, attribute = draft.random, fact.attribute
    siblings = [other for other in others if other.attribute is attribute]
    if siblings and random.random() < 0.7:
        last = random.choice(siblings)
        return last, random.choice(WORDS["also"]).format(_change(draft, last, fact))
    same = [other for other in others if other.subject is fact.subject]
    leads = [other for other in same if other.attribute.name in attribute.after]
    if leads and random.random() < 0.8:
        last = random.choice(leads)
        asks = _fitting(fact, attribute.after[last.attribute.name])
        if asks:
            return last, fact.word(random.choice(asks), fact.subject.pronoun)
    pronominal = tuple(ask for ask in _fitting(fact, attribute.asks) if ask.takes_pronoun)
    if same and pronominal and random.random() < 0.8:
        last = random.choice(same)
        form = PRONOUNS["you"] if fact.subject.organisation and random.random() < 0.4 else fact.subject.pronoun
        text = fact.word(random.choice(pronominal), form, random.choice(fact.facet) if fact.facet else "")
    else:
        last = random.choice(others)
        text, _ = _wording(draft, fact, _form(draft, fact))
    if _is_plain(text) and random.random() < 0.5:
        text = f"{random.choice(WORDS['turn'])} {_uncapped(text)}"
    return last, text


def _change(draft: Draft, last: Fact, fact: Fact) -> str:
    """What differs between two facts of one attribute: the thing it is stated of, the subject, or both."""
    facet = draft.random.choice(fact.facet) if fact.facet != last.facet else ""
    name = fact.subject.name.it if fact.subject is not last.subject else ""
    return f"{name} {facet}".strip()
