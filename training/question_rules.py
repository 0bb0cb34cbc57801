"""Pure: a sentence -> questions that it answers, by rules over its clauses.

A rule asks only where it is sure, as a few right questions teach more than many doubtful ones. No question contains the
answer that it asks for. What people type, in bits and with other words, is in `training.noisy_questions`.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from random import Random

from training import spans
from training.clauses import (
    AUXILIARIES,
    BE,
    DETERMINERS,
    PREPOSITIONS,
    PRONOUNS,
    Clause,
    Lexicon,
    clauses,
    is_adverb,
)
from training.wordings import (
    COLOURS,
    LYING,
    MADE,
    MEASURES,
    NO_OBJECT,
    OTHER_QUESTIONS,
    OTHER_VERBS,
    PAST,
    WITH_PREPOSITION,
)

KINDS = ("when", "where", "who", "how-many", "how-much", "how-long", "which", "what", "why", "yes-no", "how-to")


@dataclass(frozen=True)
class Question:
    """A question, its kind (one of KINDS), and the words of the sentence that answer it; none for yes or no."""

    text: str
    kind: str
    answer: str


@dataclass(frozen=True)
class Subject:
    """What a text is about, as a question says it inside: "the mill", "Ada Marsh"; and the pronoun for it."""

    name: str
    pronoun: str = "it"  # it, he, she or they

    @property
    def is_person(self) -> bool:
        return self.pronoun in {"he", "she"}

    @property
    def title(self) -> str:
        return re.sub(r"^(?:the|an?) ", "", self.name)

    def is_named(self, words: str) -> bool:
        """Whether the words are the title, with any article, in the singular or the plural."""
        said, title = re.sub(r"^(?:the|an?) ", "", words.lower()), self.title.lower()
        return said in {title, f"{title}s", f"{title}es", f"{title[:-1]}ies"}


def subject_of(title: str, sentences: Sequence[str], lexicon: Lexicon) -> Subject:
    """The subject of a text: its title with the article ("the", "a") that the first sentence gives it, in lower case
    where it is no name, and the pronoun that its sentences begin with."""
    opening = sentences[0] if sentences else ""
    name = title[0].lower() + title[1:] if _is_common(title, sentences, lexicon) else title
    if found := re.match(rf"(The|An?) {re.escape(title)}\b", opening, re.IGNORECASE):
        name = f"{found[1].lower()} {name}"
    first_words = [sentence.split()[0].lower() for sentence in sentences]
    counts = {
        "he": first_words.count("he") + first_words.count("his"),
        "she": first_words.count("she") + first_words.count("her"),
    }
    person = max(counts, key=lambda word: counts[word])
    return Subject(name, person if counts[person] else "it")


def questions(sentence: str, subject: Subject, lexicon: Lexicon, rng: Random) -> list[Question]:
    """What `sentence`, of a text about `subject`, answers. `rng` chooses among wordings, and between the subject's name
    and its pronoun."""
    asked = [*_about_sentence(sentence, subject, lexicon, rng)]
    for clause in _readable(clauses(sentence, subject.title, lexicon)):
        about = _About(clause, subject, lexicon, rng)
        asked += [question for rule in _RULES for question in rule(about)]
    return list({question.text.lower(): question for question in asked if _is_fair(question)}.values())


def how_to(title: str, rng: Random) -> Question | None:
    """What the title of instructions answers: "Change the date" -> "How do I change the date?"; None for other titles."""
    words = title.rstrip(".").split()
    if len(words) < 2 or not words[0].isalpha() or words[0].lower() in PREPOSITIONS | DETERMINERS | PRONOUNS:
        return None
    task = f"{words[0].lower()} {' '.join(words[1:])}"
    return Question(_ask_how(task, rng), "how-to", "")


# ---- A clause, and how to speak of it.


class _About:
    """A clause, and a name for its subject that a question can use."""

    def __init__(self, clause: Clause, subject: Subject, lexicon: Lexicon, rng: Random) -> None:
        self.clause, self.subject, self.lexicon, self.rng = clause, subject, lexicon, rng
        self.base = (lexicon.base(clause.verb, "verb") if clause.verb else "be") or ""
        self.is_title = clause.subject.lower() in {"it", "he", "she"} or subject.is_named(clause.subject)
        self.is_plural = self._is_plural()
        self.is_past = clause.auxiliary in {"was", "were", "had"} or (not clause.auxiliary and self._do() == "did")
        self.name = self._name()
        self.object = {"he": "him", "she": "her", "they": "them", "I": "me"}.get(self.name, self.name)
        self.be = (
            _agree("were" if self.is_plural else "was", self.name)
            if self.is_past
            else _agree("are" if self.is_plural else "is", self.name)
        )
        self.do = "did" if self.is_past else "do" if self.be in {"are", "am"} else "does"

    def stem(self, word: str, rest: str) -> str:
        """ "When" and "The mill was built" -> "When was the mill built" + `rest` + "?" """
        auxiliary, verb = self.clause.auxiliary, self.clause.verb
        if not auxiliary:
            auxiliary, verb = self._do(), self.base
        verb = self.rng.choice([verb, verb, *OTHER_VERBS.get(verb, ())])
        return _sentence(word, _agree(auxiliary, self.name), self.name, verb, rest)

    def fill(self, templates: Sequence[str], **known: str) -> str:
        """One of the templates of `training.wordings`, with what it leaves open."""
        template = self.rng.choice(templates)
        return template.format(
            x=self.object if f"to {{x}}" in template else self.name,
            be=self.be,
            do=self.do,
            verb=self.base,
            of=_Of(self.name),
            **known,
        )

    def _do(self) -> str:
        verb = self.clause.verb
        if verb == self.base:
            return "do"
        return "does" if verb.endswith("s") and not verb.endswith("ss") else "did"

    def _is_plural(self) -> bool:
        auxiliary, verb = self.clause.auxiliary, self.clause.verb
        if auxiliary in BE or auxiliary in {"has", "have"}:
            return auxiliary in {"are", "were", "have"}
        if not auxiliary and self._do() != "did":
            return verb == self.base
        last = self.clause.subject.split()[-1].lower()
        return last in {"they", "these", "we", "you"} or (
            last.endswith("s") and self.lexicon.base(last, "noun") not in {None, last}
        )

    def _name(self) -> str:
        said = self.clause.subject
        low = said.lower()
        pronoun = "they" if self.is_plural else self.subject.pronoun
        if low in {"he", "she", "it"}:
            return self.rng.choice([self.subject.name, self.subject.name, low])
        if low in {"they", "these", "this"}:
            return {"this": "it"}.get(low, "they")
        if low in {"we", "you", "i"}:
            return "I" if low == "you" else "you"
        if self.subject.is_named(said):
            return self.rng.choice([self._inside(said), self._inside(said), pronoun])
        owner, _, thing = said.partition(" ")
        if owner.lower() in {"its", "his", "her"} and thing and " of " not in thing:
            return self.rng.choice([f"{owner.lower()} {thing}", f"the {thing} of {self.subject.name}"])
        return self._inside(said)

    def _inside(self, said: str) -> str:
        """The words with a small letter in front, unless they begin with a name."""
        first, _, others = said.partition(" ")
        if self.subject.is_named(said) and first not in {"The", "A", "An"}:
            is_name = not self.subject.title[0].islower()
        else:
            is_name = first.lower() not in DETERMINERS and (others[:1].isupper() or not self.lexicon.is_common(first))
        return said if is_name else said[0].lower() + said[1:]


class _Of(Mapping[str, str]):
    """ "weight" -> "the weight of the lamp", "its weight"."""

    def __init__(self, name: str) -> None:
        self._name = name

    def __getitem__(self, noun: str) -> str:
        owner = {"it": "its", "he": "his", "she": "her", "they": "their", "I": "my", "you": "your"}.get(self._name)
        return f"{owner} {noun}" if owner else f"the {noun} of {self._name}"

    def __iter__(self) -> Iterator[str]:
        return iter(())

    def __len__(self) -> int:
        return 0


def _readable(found: Sequence[Clause]) -> Iterator[Clause]:
    """The clauses that deny nothing, and "a film directed by Kubrick" as "was directed by Kubrick", too."""
    for clause in found:
        if "not" in clause.rest.split()[:2] or clause.verb in {"not", "do", "does", "did"}:
            continue
        yield clause
        if clause.is_copula and (
            reduced := re.match(
                r"(?:an?|the) (?P<what>.*?) (?P<verb>[a-z]+) (?P<rest>(?:and [a-z]+ed )?(?:by|in|on|at) .*)",
                clause.rest,
            )
        ):
            sure = reduced["verb"] in MADE and not set(reduced["what"].split()) & (PREPOSITIONS - {"of"})
            if sure:
                be = "were" if clause.auxiliary in {"are", "were"} else "was"
                yield Clause(clause.subject, be, reduced["verb"], re.sub(r"^and [a-z]+ed ", "", reduced["rest"]))


# ---- Rules: what is said, and how it is asked for.


def _definition(about: _About) -> Iterator[Question]:
    """ "The mill is a ..." """
    clause = about.clause
    if (
        not clause.is_copula
        or clause.subject.lower() in PRONOUNS
        or not re.match(r"(?:an?|the|any|one of the) \S", clause.rest)
    ):
        return
    name = about._inside(clause.subject)
    is_person = (
        about.subject.is_person
        if about.is_title
        else clause.subject[:2] != "A" and _is_person(clause.rest, about.lexicon)
    )
    who = "Who" if is_person else "What"
    wordings = [f"{who} {clause.auxiliary} {name}?"] * 4
    if about.is_title and clause.auxiliary == "is":
        wordings += [f"{who}'s {name}?", f"Tell me about {name}.", f"Do you know {who.lower()} {name} is?"]
        if not is_person and about.subject.title[0].islower():
            wordings += [f"What does {name} mean?", f"Can you explain what {name} is?", f"Define {name}."]
    elif about.is_title:
        wordings += [f"Tell me about {name}.", f"Do you know {who.lower()} {name} {clause.auxiliary}?"]
    yield Question(about.rng.choice(wordings), who.lower(), clause.rest)


def _when(about: _About) -> Iterator[Question]:
    """ "... in 1794", and "In 1794, ..." """
    clause = about.clause
    rest = None
    if found := spans.time(clause.rest):
        rest = _until(clause.rest, found)
    elif (found := spans.time(clause.lead)) and found.start == 0:
        rest = _short(clause.rest)
    if not found or rest is None or clause.is_copula and re.match(r"an? ", rest):
        return
    yield Question(about.stem(_time_word(found.text, about.rng), rest), "when", found.text)
    verb = clause.verb if clause.auxiliary in {"was", "were"} else about.base
    if verb in OTHER_QUESTIONS and not rest and about.is_title:
        yield Question(about.fill(OTHER_QUESTIONS[verb]), "when", found.text)


def _time_word(time: str, rng: Random) -> str:
    for said, words in (
        (r"in \d{4}", ("When", "In which year", "What year")),
        (r"(?:in|during) the .*century.*", ("When", "In which century")),
        (r"on (?:\d|[A-Z][a-z]+ \d).*", ("When", "On which day", "On what date")),
        (r"(?:on|every) [A-Z].*|from [A-Z][a-z]+day.*", ("When", "On which days", "On what days")),
        (r"(?:at|from|before|after) (?!.*\d{3}).*", ("When", "At what time", "What time")),
        (r"since .*", ("Since when",)),
        (r"until .*", ("Until when", "Till when")),
    ):
        if re.fullmatch(said, time):
            return rng.choice(words)
    return "When"


def _where(about: _About) -> Iterator[Question]:
    """ "... in Leeds" """
    clause = about.clause
    found = spans.place(clause.rest, clause.verb, about.lexicon)
    rest = _until(clause.rest, found) if found else None
    if not found or rest is None or clause.is_copula and re.match(r"(?:an?|the|one) ", rest):
        return
    if time := spans.time(rest):  # "in 1820 in Leeds"
        rest = _short((rest[: time.start] + rest[time.end :]).strip()) or ""
    if clause.verb in LYING and not rest:
        templates = [
            "Where {be} {x}?",
            "Where {be} {x}?",
            "What is {of[location]}?",
            f"Where can I find {about.object}?",
        ]
        yield Question(
            about.fill(templates + ["Where {be} {x} located?"] * bool(clause.auxiliary)), "where", found.text
        )
    elif clause.verb or not rest or about.rng.random() < 0.3:
        yield Question(about.stem("Where", rest), "where", found.text)
    name = re.sub(r"^\w+ (?:the )?|,.*", "", found.text)
    if (what := about.lexicon.instance(name)) and re.match("in|at|on|near", found.text) and (clause.verb or not rest):
        yield Question(about.stem(f"{found.text.split()[0].capitalize()} which {what}", rest), "which", found.text)


def _by_whom(about: _About) -> Iterator[Question]:
    """ "... was built by Samuel Greg" """
    clause = about.clause
    found = re.search(r"\bby (?!\w+ing\b)(?=(?:the |an? |its )?[\w])(.*)", clause.rest)
    if not clause.is_passive or clause.auxiliary not in BE or not found or spans.time(found[0][:12]):
        return
    rest, agent = _short(clause.rest[: found.start()].strip(" ,")), _agent(found[1])
    verb = PAST.get(clause.verb, clause.verb) if about.is_past else _third_person(about.base)
    if rest is None or not agent or spans.time(rest) or not about.base:
        return
    who = "Who" if _is_agent_person(agent, about.lexicon) else "What"
    verb = about.rng.choice([verb, verb, *OTHER_VERBS.get(verb, ())])
    text = _sentence(who, verb, about.object, rest)
    if who == "Who" and about.rng.random() < 0.15:
        text = about.stem("By whom", rest)
    yield Question(text, who.lower(), agent)


def _subject_asked(about: _About) -> Iterator[Question]:
    """ "Fleming discovered penicillin" -> "Who discovered penicillin?" """
    clause = about.clause
    rest = _short(re.split(r",| and ", _without_time(clause.rest))[0].strip())
    if (
        clause.auxiliary
        or not rest
        or not about.is_title
        or about.base in NO_OBJECT
        or not re.match(r"(?:the|an?|[A-Z]\w+|[a-z]+s\b)", rest)
    ):
        return
    verb = _third_person(about.base) if not about.is_past else clause.verb
    if about.subject.is_person:
        yield Question(_sentence("Who", verb, rest), "who", clause.subject)
    elif about.rng.random() < 0.3:
        yield Question(_sentence("What", verb, rest), "what", clause.subject)


def _how_many(about: _About) -> Iterator[Question]:
    """ "... has three floors" """
    clause = about.clause
    found = spans.counted(clause.rest)
    if not found or clause.is_copula:
        return
    number, things = found
    before, after = clause.rest[: number.start].strip(), clause.rest[number.end :].strip().removeprefix(things).strip()
    if len(before.split()) > 2 or re.search(
        r"\b(?:the|its|his|her|their|these|in|at|between|from|over|by|last|first|next|than)$", before
    ):
        return
    if (
        len(after.split()) > 5
        or after.startswith((",", "and", "or", "per", "a "))
        or spans.time(after)
        or _short(after) is None
    ):
        after = ""
    yield Question(about.stem(f"How many {things}", f"{before} {after}".strip()), "how-many", number.text)


def _measure(about: _About) -> Iterator[Question]:
    """ "... weighs 1.8 kilograms", asked in other words than the unit's"""
    if not (found := spans.quantity(about.clause.rest)):
        return
    amount, measured = found
    rest, verb = about.clause.rest, about.base if about.clause.auxiliary not in BE else about.clause.verb or "be"
    said = " ".join(f"{verb} {rest[: amount.start]} # {rest[amount.end :]}".split())
    for measure in MEASURES:
        if measure.of == measured and (match := re.search(measure.said, said)):
            yield Question(about.fill(measure.questions, **match.groupdict()), measure.kind, amount.text)
            return
    before = rest[: amount.start].strip()
    if (
        measured == "duration"
        and before.endswith("for")
        and about.clause.verb
        and (task := _short(before.removesuffix("for").strip())) is not None
    ):
        yield Question(about.stem(about.rng.choice(["For how long", "How long"]), task), "how-long", amount.text)


def _object(about: _About) -> Iterator[Question]:
    """ "Owls eat mice", "... is made of wood", "... is called a painter" """
    clause = about.clause
    preposition, _, thing = clause.rest.partition(" ")
    if {(clause.verb, preposition), (about.base, preposition)} & WITH_PREPOSITION and not clause.is_copula:
        yield Question(about.stem("What", preposition), "what", thing)
    elif clause.verb in {"called", "named", "termed"} and clause.auxiliary in BE and clause.rest:
        yield Question(about.stem("What", ""), "what", clause.rest)
    elif (
        not clause.auxiliary
        and about.base not in NO_OBJECT
        and re.match(r"(?:an?|the|its|their|his|her|all|many|some|both|[a-z]+s)\b", clause.rest)
    ):
        if preposition not in PREPOSITIONS | {"that", "to", "as", "always"} and not spans.quantity(clause.rest):
            yield Question(about.stem("What", ""), "what", spans.noun_phrase(clause.rest))
    elif clause.is_copula and re.fullmatch(
        rf"(?:{COLOURS})(?:(?:,| and| or|, and|, or) (?:{COLOURS}))*(?: in colou?r)?", clause.rest
    ):
        yield Question(
            about.stem(about.rng.choice(["What colour", "What color", "Which colour"]), ""), "which", clause.rest
        )


def _superlative(about: _About) -> Iterator[Question]:
    """ "Garda is the largest lake in Italy" """
    clause = about.clause
    found = re.match(
        r"the (?:[a-z-]+est|most [a-z]+|only|first|second|third|last|capital|main|official)\b.* (?:of|in|to|on) .*",
        clause.rest,
    )
    if not clause.is_copula or not found or not about.subject.is_named(clause.subject):
        return
    cut = re.sub(r"(?:,| that | which | and largest | and most | and capital ).*", "", found[0])
    if (description := _short(cut, 11)) and re.search(" (?:of|in|to|on) ", description):
        is_person = about.subject.is_person or _is_person(description, about.lexicon)
        who = "Who" if is_person else about.rng.choice(["What", "Which"])
        yield Question(_sentence(who, clause.auxiliary, description), who.lower(), clause.subject)


def _yes_no(about: _About) -> Iterator[Question]:
    """ "... can be cut", "You must ..." """
    clause = about.clause
    rest = _short(clause.rest)
    if rest is None or spans.time(rest) or " and " in rest:
        return
    if clause.auxiliary in {"can", "may", "must"} and clause.verb:
        modal = about.rng.choice({"may": ["can", "may"]}.get(clause.auxiliary, [clause.auxiliary]))
        text = _sentence(modal, about.name, clause.verb, rest)
        if clause.auxiliary == "must":
            text = about.rng.choice(
                [
                    text,
                    _sentence(
                        "do" if about.is_plural or about.name == "I" else "does",
                        about.name,
                        "have to",
                        clause.verb,
                        rest,
                    ),
                ]
            )
        yield Question(text, "yes-no", "")
    elif clause.auxiliary in BE and rest and not re.match(r"(?:an?|the) |[A-Z]", rest) and about.rng.random() < 0.4:
        yield Question(about.stem("", rest), "yes-no", "")


_RULES = (_definition, _when, _where, _by_whom, _subject_asked, _how_many, _measure, _object, _superlative, _yes_no)


def _about_sentence(sentence: str, subject: Subject, lexicon: Lexicon, rng: Random) -> Iterator[Question]:
    yield from _there_are(sentence)
    yield from _why(sentence, subject, lexicon, rng)
    yield from _how(sentence, lexicon, rng)


def _there_are(sentence: str) -> Iterator[Question]:
    """ "There are 22 species of Vespa" """
    found = re.match(r"There (?P<be>are|were) (?P<rest>.*?)(?:[,;.]| that | which | who | and )", f"{sentence} ")
    number = found and spans.counted(found["rest"])
    if found and number and number[0].start == 0:
        things = found["rest"][number[0].end :].strip()
        if len(things.split()) <= 9:
            place = things.removeprefix(number[1])
            yield Question(_sentence("How many", number[1], found["be"], "there", place), "how-many", number[0].text)


def _why(sentence: str, subject: Subject, lexicon: Lexicon, rng: Random) -> Iterator[Question]:
    """ "... because ..." """
    found = re.search(r",? (?:because|so that|in order to|due to|owing to|as a result of|thanks to)\b", sentence)
    if not found:
        return
    main = sentence[: found.start()]
    parsed = clauses(main, subject.title, lexicon)
    if len(parsed) == 1 and main.endswith(parsed[0].rest or parsed[0].verb):  # to its end
        rest = _short(parsed[0].rest, 10)
        if rest or parsed[0].verb and rest is not None:
            reason = sentence[found.end() :].strip(" .")
            yield Question(_About(parsed[0], subject, lexicon, rng).stem("Why", rest), "why", reason)


def _how(sentence: str, lexicon: Lexicon, rng: Random) -> Iterator[Question]:
    """ "To remove a filter, select ...", "You can pay by ..." """
    if found := re.match(
        r"(?:To|If you (?:want|wish|would like|need) to) ((?!be\b)[a-z]+ [^,]{3,60}), (?!it\b)(.*)", sentence
    ):
        task, answer = found[1], found[2]
    elif found := re.match(r"You can ([a-z]+ [^,.]{3,60}) (by \w+ing .*)", sentence):
        task, answer = found[1], found[2]
    else:
        return
    task_verb, verb = task.split()[0], answer.split()[0]
    is_task = len(task.split()) <= 10 and lexicon.base(task_verb, "verb") == task_verb
    if is_task and (verb in {"by", "you"} or lexicon.base(verb, "verb") == verb):
        yield Question(_ask_how(_as_first_person(task), rng), "how-to", answer)


def _ask_how(task: str, rng: Random) -> str:
    openers = ("How do I", "How do I", "How can I", "How do you", "How to", "What do I do to", "Can you tell me how to")
    return f"{rng.choice(openers)} {task}?"


def _as_first_person(task: str) -> str:
    return re.sub(r"\byou\b", "I", re.sub(r"\byour\b", "my", task))


# ---- Small helpers.


def _sentence(*parts: str) -> str:
    text = " ".join(" ".join(parts).split())
    return f"{text[0].upper()}{text[1:]}?"


def _until(rest: str, found: spans.Span) -> str | None:
    """What stands before the answer, where a question can end there; else None."""
    return _short(rest[: found.start].strip(" ,"))


def _short(rest: str, most: int = 8) -> str | None:
    """`rest`, without an adverb at its end, where it is short and a question can end there; else None."""
    words = rest.split()
    if words and is_adverb(words[-1]):
        words.pop()
    last = words[-1].lower() if words else ""
    if len(words) > 1 and last.endswith("ed"):  # "the arts produced": what follows belongs to this word alone
        return None
    if len(words) > most or "," in rest or last in PREPOSITIONS | DETERMINERS | AUXILIARIES | {"and", "or", "that"}:
        return None
    return " ".join(words)


def _without_time(rest: str) -> str:
    found = spans.time(rest)
    return rest[: found.start].strip() if found else rest


def _agent(text: str) -> str:
    """The noun phrase behind "by", where it is short; else nothing."""
    words: list[str] = []
    for word in text.split()[:9]:
        if words and word in (PREPOSITIONS - {"of"}) | {"that", "to", "and", "who"}:
            break
        words.append(word.rstrip(","))
        if word.endswith(","):
            break
    return " ".join(words) if len(words) <= 7 else ""


def _is_agent_person(agent: str, lexicon: Lexicon) -> bool:
    words = agent.split()
    if words[0][0].isupper():
        return lexicon.kind(agent) in {None, "person", "group"}
    return lexicon.kind(words[-1]) in {"person", "group"} or any(word[0].isupper() for word in words[1:])


def _is_person(phrase: str, lexicon: Lexicon) -> bool:
    head = re.split(r",| (?:of|in|who|that|from|and|for|at|to|on|by|with)\b", phrase)[0].split()
    return bool(head) and lexicon.kind(head[-1]) == "person"


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


def _third_person(base: str) -> str:
    if re.search(r"(?:s|x|z|ch|sh|o)$", base):
        return f"{base}es"
    return f"{base[:-1]}ies" if re.search(r"[^aeiou]y$", base) else f"{base}s"


def _is_fair(question: Question) -> bool:
    """Whether the question is neither a word nor a speech, is whole, and does not contain its own answer."""
    is_whole = question.text.count('"') % 2 == 0 and "  " not in question.text
    return is_whole and 2 <= len(question.text.split()) <= 18 and not contains_answer(question.text, question.answer)


def contains_answer(question: str, answer: str) -> bool:
    """Whether most content words of the answer stand in the question."""
    asked = set(_words(question))
    wanted = [word for word in _words(answer) if word not in _EMPTY]
    return 2 * sum(word in asked for word in wanted) > len(wanted)


def _words(text: str) -> list[str]:
    return re.findall(r"[\w'-]+", text.lower())


_EMPTY = AUXILIARIES | DETERMINERS | PREPOSITIONS | PRONOUNS | frozenset("and or that which who because so not".split())
