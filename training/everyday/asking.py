"""Asks about a draft: questions that its facts answer, questions that nothing in it answers, and follow-ups."""

import re
from dataclasses import dataclass

from training.everyday.catalogue import Attribute
from training.everyday.templates import Template
from training.everyday.text import Question
from training.everyday.writing import PRONOUNS, Draft, Fact, Form

REQUESTS = (
    "Could you tell me {}?", "Can you tell me {}?", "Do you know {}?", "I would like to know {}.", "Please tell me {}.",
    "I was wondering {}.", "Would you mind telling me {}?", "Any idea {}?", "tell me {}", "I need to know {}", "can u tell me {}?",
    "Does anybody know {}?", "Hello, I'd like to ask {}.", "Excuse me, could you please say {}?", "I want to find out {}.",
    "My question is {}.", "I can't find {}.", "Sorry to bother you, but may I ask {}?", "Does it say {}?",
)  # fmt: skip
KEY_FRAMES = ("{}?", "{}?", "{}", "{}", "{} please", "info on {}?", "{}??")
GREETINGS = (
    "Hi, ",
    "Hello! ",
    "Hi there, ",
    "Hey, ",
    "Good morning. ",
    "One question: ",
    "Quick question: ",
    "Sorry, ",
    "Please, ",
)
TURNS = (
    "And ",
    "Ok, and ",
    "And ",
    "Thanks. ",
    "OK. ",
    "Good to know. ",
    "I see. ",
    "Great, and ",
    "Another thing: ",
    "Then ",
    "Right. ",
)
ALSO = (
    "And {}?",
    "What about {}?",
    "and {}?",
    "And {}?",
    "How about {}?",
    "what about {}",
    "And what about {}?",
    "and {}",
)
FIRST_WORDS = frozenset(
    [
        "what",
        "when",
        "who",
        "whom",
        "whose",
        "how",
        "which",
        "where",
        "why",
        "is",
        "are",
        "was",
        "were",
        "do",
        "does",
        "did",
        "can",
        "could",
        "may",
        "must",
        "will",
        "would",
        "should",
        "has",
        "have",
        "had",
        "at",
        "in",
        "on",
        "from",
        "until",
        "since",
        "under",
        "for",
        "by",
        "to",
        "after",
        "as",
        "tell",
        "there",
        "my",
    ]
)
WORD = re.compile(r"[a-z]+")
KINDS = ("when", "who", "whom", "whose", "where", "which", "why", "what")
VERBS = frozenset(
    [
        "is",
        "are",
        "was",
        "were",
        "do",
        "does",
        "did",
        "can",
        "could",
        "may",
        "must",
        "will",
        "would",
        "should",
        "has",
        "have",
        "am",
    ]
)


@dataclass(frozen=True)
class Asked:
    """A question and what it asks for; `answered` is False where the draft does not mention that."""

    key: tuple[str, str, str]
    question: Question


def ask(draft: Draft) -> list[Asked]:
    """6 to 12 questions, in random order."""
    random = draft.random
    count = random.randint(6, 10)
    missing = count // 4 + (random.random() < 0.3)
    follow = count // 4 + (random.random() < 0.3)
    asked = [_ask(draft, fact) for fact in _spread(draft, count - missing - follow)]
    asked += [_ask(draft, fact) for fact in _missing(draft, missing)]
    asked += [_follow(draft, fact) for fact in _spread(draft, follow)]
    if random.random() < 0.4:
        asked += [_follow(draft, fact) for fact in _missing(draft, 1)]
    while len(asked) < 6:
        asked.append(_ask(draft, random.choice(draft.facts)))
    random.shuffle(asked)
    return asked


def _spread(draft: Draft, count: int) -> list[Fact]:
    """`count` facts, each once before any twice."""
    rounds = -(-count // len(draft.facts))
    return [fact for _ in range(rounds) for fact in draft.random.sample(draft.facts, len(draft.facts))][:count]


def _missing(draft: Draft, count: int) -> list[Fact]:
    """Facts that the draft could have stated of its subjects and did not: another attribute, or one stated of another thing."""
    random = draft.random
    pair = len(draft.subjects) == 2
    found = []
    for _ in range(4 * count):
        if len(found) == count:
            break
        subject = random.choice(draft.subjects)
        stated = {fact.attribute.name: fact.attribute for fact in draft.facts if fact.subject is subject}
        faceted = [one for one in stated.values() if one.facets]
        attribute = random.choice(faceted if faceted and random.random() < 0.5 else draft.kind.has)
        facet = random.choice(attribute.facets) if attribute.facets else ()
        fact = draft.fact(subject, attribute, facet)
        if fact.key in draft.mentioned or not _far(attribute, stated) or (pair and len(attribute.named_asks) < 3):
            continue
        if any("{other}" in template.text for template in attribute.says):
            continue
        found.append(fact)
    return found


def _far(attribute: Attribute, stated: dict[str, Attribute]) -> bool:
    """Whether no stated attribute may answer this one's questions."""
    return not any(
        other in attribute.near or attribute.name in one.near for other, one in stated.items() if one is not attribute
    )


def _ask(draft: Draft, fact: Fact) -> Asked:
    text = _wording(draft, fact, _form(draft, fact))
    return Asked(fact.key, Question(_typed(draft, text), fact.sentence, kind_of(text)))


def _form(draft: Draft, fact: Fact) -> Form:
    """How a question refers to its subject; by name where there are two."""
    subject, random = fact.subject, draft.random
    if len(draft.subjects) == 2:
        surnames = subject.others if draft.kind.pronoun == "person" else ()
        return random.choice((subject.name, subject.name, *surnames))
    if subject.organisation and random.random() < 0.35:
        return PRONOUNS["you"]
    return random.choice((subject.name, subject.pronoun, subject.pronoun, *subject.others, *subject.others))


def _wording(draft: Draft, fact: Fact, form: Form) -> str:
    """A question as a sentence, as a clause in a request, or as a few key words."""
    random, attribute = draft.random, fact.attribute
    facet = random.choice(fact.facet) if fact.facet else ""
    pair = len(draft.subjects) == 2
    clauses = tuple(one for one in attribute.clauses if one.names_subject or not pair)
    chance = random.random()
    if chance < 0.18 and clauses:
        clause = fact.word(random.choice(clauses), form, facet)
        return random.choice(REQUESTS).format(clause[0].lower() + clause[1:])
    if chance < 0.32 and attribute.keys:
        return _key(draft, fact, facet)
    return fact.word(random.choice(_fitting(fact, attribute.named_asks if pair else attribute.asks)), form, facet)


def _fitting(fact: Fact, templates: tuple[Template, ...]) -> tuple[Template, ...]:
    """Those that the fact's statement answers; all where it was not stated."""
    if fact.sentence is None:
        return templates
    return tuple(template for template in templates if template.answered_by(fact.said))


def _key(draft: Draft, fact: Fact, facet: str) -> str:
    random = draft.random
    key = fact.word(random.choice(fact.attribute.keys), fact.subject.name, facet)
    key = key[0].lower() + key[1:]
    name = fact.subject.name.it
    if len(draft.subjects) == 2 or random.random() < 0.25:
        key = random.choice((f"{key} {name}", f"{name} {key}", f"{name}: {key}", f"{key} of {name}"))
    return random.choice(KEY_FRAMES).format(key)


def _typed(draft: Draft, text: str) -> str:
    """As people type it: sometimes with a greeting, sometimes without capitals or question mark."""
    random = draft.random
    chance = random.random()
    if chance < 0.05 and not text.startswith(TURNS):
        text = random.choice(GREETINGS) + uncapped(text)
    if chance > 0.86:
        return text.lower().rstrip("?.")
    if chance > 0.8:
        return text.rstrip("?")
    return uncapped(text) if chance > 0.76 else text


def uncapped(text: str) -> str:
    """Without the capital where the first word has one only for its place."""
    return text[0].lower() + text[1:] if text.split(" ", 1)[0].lower() in FIRST_WORDS else text


def kind_of(ask: str) -> str:
    """The kind of a question by its words: its question word, "yes-no" for one that begins with a verb, "key" for none."""
    words = WORD.findall(ask.lower())
    for word, after in zip(words, (*words[1:], ""), strict=True):
        if word == "how":
            return {
                "much": "how-much",
                "many": "how-many",
                "long": "how-long",
                "do": "how-to",
                "can": "how-to",
                "to": "how-to",
            }.get(after, "how")
        if word in KINDS:
            return "who" if word in ("whom", "whose") else "when" if (word, after) == ("what", "time") else word
        if word in ("whether", "if"):
            return "yes-no"
    return "yes-no" if any(word in VERBS for word in words[:2]) else "key"


def _follow(draft: Draft, fact: Fact) -> Asked:
    """The fact asked for after a turn or two on others, with a pronoun or in a few words."""
    random = draft.random
    before = [
        other
        for other in draft.facts
        if other.key != fact.key and (other.subject is fact.subject or random.random() < 0.2)
    ]
    if not before:
        return _ask(draft, fact)
    last, text = _continue(draft, fact, before)
    turns = [last]
    if random.random() < 0.35:
        turns.insert(0, random.choice([other for other in draft.facts if other.key != fact.key]))
    history: list[str] = []
    for turn in turns:
        history += [_ask(draft, turn).question.ask, draft.sentences[turn.sentence or 0]]
    return Asked(fact.key, Question(_typed(draft, text), fact.sentence, "follow-up", tuple(history)))


def _continue(draft: Draft, fact: Fact, before: list[Fact]) -> tuple[Fact, str]:
    """The fact that was asked for last, and the question that follows."""
    random, attribute = draft.random, fact.attribute
    siblings = [other for other in before if other.attribute is attribute]
    leads = [other for other in before if other.subject is fact.subject and other.attribute.name in attribute.after]
    if siblings and random.random() < 0.7:
        last = random.choice(siblings)
        change = random.choice(fact.facet) if last.facet != fact.facet else fact.subject.name.it
        if last.facet != fact.facet and last.subject is not fact.subject:
            change = f"{fact.subject.name.it} {change}"
        return last, random.choice(ALSO).format(change)
    if leads and random.random() < 0.8:
        last = random.choice(leads)
        return last, fact.word(random.choice(attribute.after[last.attribute.name]), fact.subject.pronoun)
    last = random.choice(before)
    templates = _fitting(fact, attribute.named_asks)
    if last.subject is fact.subject and templates and random.random() < 0.85:
        form = PRONOUNS["you"] if fact.subject.organisation and random.random() < 0.4 else fact.subject.pronoun
        text = fact.word(random.choice(_pronominal(templates)), form, random.choice(fact.facet) if fact.facet else "")
    else:
        text = _wording(draft, fact, _form(draft, fact))
    return last, random.choice(TURNS) + uncapped(text) if random.random() < 0.5 else text


def _pronominal(templates: tuple[Template, ...]) -> tuple[Template, ...]:
    """Those that a pronoun can stand in, if there are any."""
    return tuple(one for one in templates if "{name}" not in one.text) or templates
