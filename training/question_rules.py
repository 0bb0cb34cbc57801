"""Pure: a sentence -> questions that it answers, by rules over its clauses.

A rule asks only where it is sure, as a few right questions teach more than many doubtful ones. No question contains the
answer that it asks for. What people type, in bits and with other words, is in `training.noisy_questions`.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from random import Random

from training import spans
from training.asking import About, Subject, as_question, is_person, short, third_person
from training.clauses import AUXILIARIES, BE, DETERMINERS, PREPOSITIONS, PRONOUNS, Clause, Lexicon, clauses
from training.wordings import (
    COLOURS,
    LYING,
    MADE,
    MEASURES,
    NO_OBJECT,
    OTHER_QUESTIONS,
    OTHER_VERBS,
    PAST,
    PERSON_OBJECTS,
    WITH_PREPOSITION,
)
from training.words import word_set

KINDS = ("when", "where", "who", "how-many", "how-much", "how-long", "which", "what", "why", "yes-no", "how-to")


@dataclass(frozen=True)
class Question:
    """A question, its kind (one of KINDS), and the words of the sentence that answer it; none for yes or no."""

    text: str
    kind: str
    answer: str


def questions(sentence: str, subject: Subject, lexicon: Lexicon, rng: Random) -> list[Question]:
    """What `sentence`, of a text about `subject`, answers. `rng` chooses among wordings, and between the subject's name
    and its pronoun."""
    asked = [*_about_sentence(sentence, subject, lexicon, rng)]
    for clause in clauses(sentence, subject.title, lexicon):
        rules = (_yes_no,) if clause.negated else _RULES
        for part in (replace(clause, negated=False), *_made(clause)):
            about = About(part, subject, lexicon, rng)
            asked += [question for rule in rules for question in rule(about)]
    return list({question.text.lower(): question for question in asked if _is_fair(question)}.values())


def how_to(title: str, lexicon: Lexicon, rng: Random) -> Question | None:
    """What instructions with that title answer: "Change the date" -> "How do I change the date?", a question as it is;
    None where the title names no task."""
    if title.endswith("?"):
        return Question(title, _TITLE_KINDS.get(title.split()[0].lower(), "yes-no"), "")
    task = title.removeprefix("How to ").rstrip(".")
    first, _, others = task.partition(" ")
    verb = lexicon.base(first, "verb")
    is_form = verb is not None and first.lower() in {verb, f"{verb}ing", f"{verb[:-1]}ing"}
    is_task = is_form and (
        lexicon.part_of_speech(first) == "verb" or title != task or others.split(" ")[0] in DETERMINERS
    )
    return Question(_ask_how(f"{verb} {others}", rng), "how-to", "") if is_task and others else None


_TITLE_KINDS = {word: word for word in ("what", "why", "where", "who", "which", "when")} | {"how": "how-to"}


_MADE = re.compile(r"(?:an?|the) (?P<what>.*?) (?P<verb>[a-z]+) (?P<rest>(?:and [a-z]+ed )?(?:by|in|on|at) .*)")


def _made(clause: Clause) -> Iterator[Clause]:
    """ "... is a film directed by Kubrick" as "... was directed by Kubrick"."""
    found = clause.is_copula and _MADE.match(clause.rest)
    if found and found["verb"] in MADE and not set(found["what"].split()) & (PREPOSITIONS - {"of"}):
        be = "were" if clause.auxiliary in {"are", "were"} else "was"
        yield Clause(clause.subject, be, found["verb"], re.sub(r"^and [a-z]+ed ", "", found["rest"]))


# ---- Rules: what is said, and how it is asked for.

_A_NOUN = re.compile(r"(?:an?|the|its|their|his|her|all|many|some|both|[a-z]+s)\b")
_DEFINITION = re.compile(r"(?:an?|the|any|one of the) \S")
_COLOURED = re.compile(rf"(?:{COLOURS})(?:(?:,|,? and|,? or) (?:{COLOURS}))*(?: in colou?r)?")
_SUPERLATIVE = re.compile(
    r"(?P<what>the (?:[a-z-]+est|most [a-z]+|only|first|second|third|last|capital|main|official)\b.*? "
    r"(?:of|in|to|on) .*?)(?:,| that | which | and (?:largest|most|capital) |$)"
)
_BEST = re.compile(r"\b(?:most|only|[a-z]{2,}est)\b")


def _definition(about: About) -> Iterator[Question]:
    """ "The mill is a ..." """
    clause = about.clause
    if not clause.is_copula or clause.subject.lower() in PRONOUNS or not _DEFINITION.match(clause.rest):
        return
    name, be = about.inside(clause.subject), clause.auxiliary
    who = "Who" if about.is_person else "What"
    wordings = [f"{who} {be} {name}?"] * 4
    if about.is_title:
        wordings += [f"Tell me about {name}.", f"Do you know {who.lower()} {name} {be}?"]
    if about.is_title and be == "is":
        wordings.append(f"{who}'s {name}?")
        if about.subject.title[0].islower():
            wordings += [f"What does {name} mean?", f"Can you explain what {name} is?", f"Define {name}."]
    yield Question(about.rng.choice(wordings), who.lower(), clause.rest)


def _when(about: About) -> Iterator[Question]:
    """ "... in 1794", and "In 1794, ..." """
    clause = about.clause
    rest = None
    if found := spans.time(clause.rest):
        rest = _until(clause.rest, found)
    elif (found := spans.time(clause.lead)) and found.start == 0:
        rest = short(clause.rest)
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
        (r"(?:after|within) .*s", ("When", "How soon")),
        (r"(?:at|from|before|after) (?!.*(?:\d{3}|century| [A-Z])).*", ("When", "At what time", "What time")),
        (r"since .*", ("Since when",)),
        (r"until .*", ("Until when", "Till when")),
    ):
        if re.fullmatch(said, time):
            return rng.choice(words)
    return "When"


def _where(about: About) -> Iterator[Question]:
    """ "... in Leeds" """
    clause = about.clause
    found = spans.place(clause.rest, clause.verb, about.lexicon)
    rest = short(_without_agent(_without_time(clause.rest[: found.start]))) if found else None
    if not found or rest is None or clause.is_copula and rest or _BEST.search(rest):
        return
    if clause.verb in LYING and not rest:
        asked = ["Where {be} {x}?", "Where {be} {x}?", "Where can I find {object}?", "What is {of[location]}?"]
        yield Question(about.fill(asked + ["Where {be} {x} located?"] * bool(clause.auxiliary)), "where", found.text)
    else:
        yield Question(about.stem("Where", rest), "where", found.text)
    preposition, *_ = found.text.split()
    name = re.sub(r"^\w+ (?:the )?|,.*", "", found.text)
    if (what := about.lexicon.instance(name)) and preposition in {"in", "at", "on", "near"}:
        yield Question(about.stem(f"{preposition} which {what}", rest), "which", found.text)


def _by_whom(about: About) -> Iterator[Question]:
    """ "... was built by Samuel Greg" """
    clause = about.clause
    found = re.search(r"\bby (?!\w+ing\b)(?=\w)(.*)", clause.rest)
    if (
        not found
        or not clause.is_passive
        or clause.auxiliary not in BE
        or not about.base
        or spans.time(clause.rest[: found.end()])
    ):
        return
    rest, agent = short(clause.rest[: found.start()].strip(" ,")), _agent(found[1])
    if rest is None or not agent:
        return
    who = "Who" if _is_agent_person(agent, about.lexicon) else "What"
    verb = PAST.get(clause.verb, clause.verb) if about.is_past else third_person(about.base)
    verb = about.rng.choice([verb, verb, *OTHER_VERBS.get(verb, ())])
    text = as_question(who, verb, about.object, rest)
    if who == "Who" and about.rng.random() < 0.15:
        text = about.stem("By whom", rest)
    yield Question(text, who.lower(), agent)


def _subject_asked(about: About) -> Iterator[Question]:
    """ "Fleming discovered penicillin" -> "Who discovered penicillin?" """
    clause = about.clause
    rest = short(_without_time(clause.rest).split(",")[0])
    if clause.auxiliary or not rest or " and " in rest or about.base in NO_OBJECT:
        return
    if not _is_noun(rest, about.lexicon) and not rest[0].isupper():
        return
    verb = clause.verb if about.is_past else third_person(about.base)
    if about.is_title and about.subject.is_person or _is_name(clause.subject, about.lexicon):
        yield Question(as_question("Who", verb, rest), "who", clause.subject)
    elif about.is_title and not rest.startswith("its ") and about.rng.random() < 0.3:
        yield Question(as_question("What", verb, rest), "what", clause.subject)


def _how_many(about: About) -> Iterator[Question]:
    """ "... has three floors" """
    clause = about.clause
    found = spans.counted(clause.rest)
    if not found or clause.is_copula:
        return
    number, things = found
    before, after = clause.rest[: number.start].strip(), clause.rest[number.end :].strip().removeprefix(things).strip()
    if len(before.split()) > 2:
        return
    is_more = re.match(r"(?:of|in|on|from|for|with) ", after) and not spans.time(after) and short(after, 5)
    yield Question(about.stem(f"How many {things}", f"{before} {is_more or ''}".strip()), "how-many", number.text)


def _measure(about: About) -> Iterator[Question]:
    """ "... weighs 1.8 kilograms", asked in other words than the unit's"""
    clause = about.clause
    if not (found := spans.quantity(clause.rest)):
        return
    amount, measured = found
    before, after = clause.rest[: amount.start].strip(), clause.rest[amount.end :].strip()
    verb = clause.verb or "be" if clause.auxiliary in BE else about.base
    said = f"{verb} {before} # {after}".replace("  ", " ")
    for measure in MEASURES:
        if measure.of == measured and (match := re.search(measure.said, said)):
            yield Question(about.fill(measure.questions, **match.groupdict()), measure.kind, amount.text)
            return
    task = short(before.removesuffix("for").strip())
    if measured == "duration" and before.endswith("for") and task is not None:
        yield Question(about.stem(about.rng.choice(["For how long", "How long"]), task), "how-long", amount.text)


def _how_often(about: About) -> Iterator[Question]:
    """ "... every month" """
    found = spans.frequency(about.clause.rest)
    rest = _until(about.clause.rest, found) if found else None
    if found and rest is not None and not about.clause.is_copula:
        yield Question(about.stem("How often", rest), "when", found.text)


def _how_old(about: About) -> Iterator[Question]:
    """ "... at the age of 81" """
    found = spans.age(about.clause.rest)
    rest = _until(about.clause.rest, found) if found else None
    if found and rest is not None and about.clause.verb:
        yield Question(about.stem("At what age", rest), "how-much", found.text)


def _object(about: About) -> Iterator[Question]:
    """ "Owls eat mice", "She married Tom Varga" """
    clause = about.clause
    if clause.auxiliary:
        return
    first, _, _ = clause.rest.partition(" ")
    if about.base in PERSON_OBJECTS and first[:1].isupper():
        yield Question(about.stem("Who", ""), "who", spans.noun_phrase(clause.rest))
    is_vague = about.name in PRONOUNS and about.base in {"include", "use", "contain", "have"}
    if about.base in NO_OBJECT or is_vague or first in PREPOSITIONS | {"always"} or spans.quantity(clause.rest):
        return
    if _is_noun(clause.rest, about.lexicon):
        yield Question(about.stem("What", ""), "what", spans.noun_phrase(clause.rest))


def _complement(about: About) -> Iterator[Question]:
    """ "... is made of wood", "... is called a painter", "... is yellow" """
    clause, rng = about.clause, about.rng
    first, _, others = clause.rest.partition(" ")
    verb = clause.verb if clause.is_passive else about.base
    if not clause.is_copula and (verb, first) in WITH_PREPOSITION:
        yield Question(about.stem("What", first), "what", others)
    elif clause.is_passive and verb in {"called", "named", "termed"} and first not in PREPOSITIONS:
        yield Question(about.stem("What", ""), "what", clause.rest)
    elif clause.is_copula and _COLOURED.fullmatch(clause.rest):
        yield Question(about.stem(rng.choice(["What colour", "What color", "Which colour"]), ""), "which", clause.rest)


def _superlative(about: About) -> Iterator[Question]:
    """ "Garda is the largest lake in Italy" """
    clause = about.clause
    found = _SUPERLATIVE.match(clause.rest)
    if not clause.is_copula or not found or not about.subject.is_named(clause.subject):
        return
    if what := short(found["what"], 11):
        who = "Who" if about.is_person or is_person(what, about.lexicon) else about.rng.choice(["What", "Which"])
        yield Question(as_question(who, clause.auxiliary, what), who.lower(), clause.subject)


def _yes_no(about: About) -> Iterator[Question]:
    """ "... can be cut", "You must ...", "Dogs are not allowed" """
    clause = about.clause
    rest = short(_without_time(re.sub(r" by \w+ing .*", "", clause.rest)))
    if rest is None or " and " in rest:
        return
    if clause.auxiliary in {"can", "may", "must"} and clause.verb and rest:
        modals = {"may": ["can", "may"]}.get(clause.auxiliary, [clause.auxiliary])
        wordings = [as_question(modal, about.name, clause.verb, rest) for modal in modals]
        if clause.auxiliary == "must":
            do = "do" if about.is_plural or about.name in {"I", "you"} else "does"
            wordings.append(as_question(do, about.name, "have to", clause.verb, rest))
        yield Question(about.rng.choice(wordings), "yes-no", "")
        return
    is_rule = clause.verb in {"allowed", "permitted", "required", "included"}
    is_plain = clause.auxiliary in BE and not re.match(r"(?:an?|the) |[A-Z]", rest)
    if is_plain and (is_rule or (rest and about.rng.random() < 0.4)):
        yield Question(about.stem("", rest), "yes-no", "")


_RULES = (
    _definition,
    _when,
    _where,
    _by_whom,
    _subject_asked,
    _how_many,
    _measure,
    _how_often,
    _how_old,
    _object,
    _complement,
    _superlative,
    _yes_no,
)


# ---- Rules over whole sentences.

_THERE_ARE = re.compile(r"There (?P<be>are|were) (?P<rest>.*?)(?:[,:;.]| that | which | who | and |$)")
_BECAUSE = re.compile(r",? (?:because|so that|in order to|due to|owing to|as a result of|thanks to)\b")
_TO_DO = re.compile(
    r"(?:(?:To|If you (?:want|wish|would like|need) to) (?P<task>[a-z]+ [^,]{3,60}), (?P<answer>.*)|"
    r"You can (?P<task2>[a-z]+ [^,.]{3,60}) (?P<answer2>by \w+ing .*))"
)


def _about_sentence(sentence: str, subject: Subject, lexicon: Lexicon, rng: Random) -> Iterator[Question]:
    yield from _there_are(sentence)
    yield from _why(sentence, subject, lexicon, rng)
    yield from _how(sentence, lexicon, rng)


def _there_are(sentence: str) -> Iterator[Question]:
    """ "There are 22 species of Vespa" """
    found = _THERE_ARE.match(sentence)
    number = found and spans.counted(found["rest"])
    if found and number and number[0].start == 0:
        where = found["rest"][number[0].end :].strip().removeprefix(number[1])
        if len(where.split()) <= 6:
            yield Question(as_question("How many", number[1], found["be"], "there", where), "how-many", number[0].text)


def _why(sentence: str, subject: Subject, lexicon: Lexicon, rng: Random) -> Iterator[Question]:
    """ "... because ..." """
    if not (found := _BECAUSE.search(sentence)):
        return
    main = sentence[: found.start()]
    parsed = clauses(main, subject.title, lexicon)
    if len(parsed) != 1 or not main.endswith(parsed[0].rest or parsed[0].verb):  # to its end, or something is missing
        return
    rest = short(parsed[0].rest, 10)
    if rest or (rest == "" and parsed[0].verb not in {"", "be"}):
        about = About(parsed[0], subject, lexicon, rng)
        yield Question(about.stem("Why", rest), "why", sentence[found.end() :].strip(" ."))


def _how(sentence: str, lexicon: Lexicon, rng: Random) -> Iterator[Question]:
    """ "To remove a filter, select ...", "You can pay by ..." """
    if not (found := _TO_DO.match(sentence)):
        return
    task, answer = found["task"] or found["task2"], found["answer"] or found["answer2"]
    is_verb = [lexicon.base(words.split()[0], "verb") == words.split()[0] for words in (task, answer)]
    if len(task.split()) <= 10 and is_verb[0] and (is_verb[1] or answer.startswith(("by ", "you "))):
        yield Question(_ask_how(as_first_person(task), rng), "how-to", answer)


def _ask_how(task: str, rng: Random) -> str:
    openers = ("How do I", "How do I", "How can I", "How do you", "How to", "What do I do to", "Can you tell me how to")
    return f"{rng.choice(openers)} {task}?"


# ---- Small helpers.


def as_first_person(task: str) -> str:
    """ "change your password" -> "change my password" """
    return re.sub(r"\byou\b", "I", re.sub(r"\byour\b", "my", task))


def contains_answer(question: str, answer: str) -> bool:
    """Whether most content words of the answer stand in the question."""
    asked = set(_words(question))
    wanted = [word for word in _words(answer) if word not in _EMPTY]
    return 2 * sum(word in asked for word in wanted) > len(wanted)


def _until(rest: str, found: spans.Span) -> str | None:
    """What stands before the answer, where a question can end there; else None."""
    return short(rest[: found.start])


def _without_time(rest: str) -> str:
    found = spans.time(rest)
    return rest[: found.start].strip() if found else rest


def _without_agent(rest: str) -> str:
    return re.sub(r"(?:^| )by (?:the |an? )?[\w' ]+$", "", rest)


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


def _is_noun(phrase: str, lexicon: Lexicon) -> bool:
    """Whether a phrase begins as a noun phrase does."""
    first, *_ = phrase.split() or [""]
    return bool(_A_NOUN.match(phrase)) or (first.islower() and lexicon.part_of_speech(first) == "noun")


def _is_name(said: str, lexicon: Lexicon) -> bool:
    """Whether the words are somebody's name, as far as one can tell: "Maria Lopes", "Varga"."""
    names = said.split()
    known = None if lexicon.is_common(names[0]) else lexicon.kind(said) or lexicon.kind(names[-1])
    unknown = known is None and not any(lexicon.base(name, "noun") for name in names)
    return all(name[0].isupper() and name[1:].islower() for name in names) and (
        known == "person" or (unknown and len(names) in {2, 3})
    )


def _is_agent_person(agent: str, lexicon: Lexicon) -> bool:
    """Whether "Who" asks for the agent: a person or a group, or a name that the dictionary does not know."""
    bare = re.sub(r"^(?:the|an?|its) ", "", agent)
    *_, last = bare.split()
    kind = lexicon.kind(bare) or (lexicon.kind(last) if lexicon.is_common(last) else None)
    is_named = any(word[0].isupper() for word in bare.split())
    is_thing = lexicon.is_common(last) and kind is None
    return kind in {"person", "group"} or (is_named and kind is None and not is_thing)


def _is_fair(question: Question) -> bool:
    """Whether the question is neither a word nor a speech, is whole, and does not contain its own answer."""
    is_whole = question.text.count('"') % 2 == 0 and "  " not in question.text
    return is_whole and 2 <= len(question.text.split()) <= 18 and not contains_answer(question.text, question.answer)


def _words(text: str) -> list[str]:
    return re.findall(r"[\w'-]+", text.lower())


_EMPTY = AUXILIARIES | DETERMINERS | PREPOSITIONS | PRONOUNS | word_set("and or that which who because so not")
