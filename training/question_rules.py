"""Pure: a sentence -> questions that it answers, by rules over its clauses.

`questions` asks well-formed ones; `noisy` and `casual` make what people type. A rule asks only where it is sure, as a
few right questions teach more than many doubtful ones. No question contains the answer that it asks for.
"""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from random import Random

from training import spans
from training.clauses import AUXILIARIES, BE, DETERMINERS, PREPOSITIONS, PRONOUNS, Clause, Lexicon, clauses
from training.spans import Span

KINDS = ("when", "where", "who", "how-many", "how-much", "how-long", "which", "what", "why", "yes-no", "how-to")


@dataclass(frozen=True)
class Subject:
    """What an article is about, as a question says it inside: "the mill", "Ada Marsh"; and the pronoun for it."""

    name: str
    pronoun: str = "it"  # it, he, she or they

    @property
    def is_person(self) -> bool:
        return self.pronoun in {"he", "she"}


@dataclass(frozen=True)
class Question:
    """A question, its kind (one of KINDS), and the words of the sentence that answer it; none for yes or no."""

    text: str
    kind: str
    answer: str


def subject_of(title: str, sentences: Sequence[str], lexicon: Lexicon) -> Subject:
    """The subject of an article: its title with the article ("the", "a") that the first sentence gives it, in lower
    case where it is no name, and the pronoun that most sentences begin with."""
    opening = sentences[0] if sentences else ""
    common = _is_common(title, lexicon) and title not in opening[1:]
    name = title[0].lower() + title[1:] if common else title
    if found := re.match(rf"(The|An?) {re.escape(title)}\b", opening, re.IGNORECASE):
        name = f"{found[1].lower()} {name}"
    openers = [sentence.split()[0].lower() for sentence in sentences]
    people = {"he": openers.count("he") + openers.count("his"), "she": openers.count("she") + openers.count("her")}
    pronoun = max(people, key=lambda word: people[word])
    if not people[pronoun]:
        pronoun = "they" if openers.count("they") > openers.count("it") else "it"
    return Subject(name, pronoun)


def questions(sentence: str, subject: Subject, lexicon: Lexicon, rng: Random) -> list[Question]:
    """What `sentence`, of a text about `subject`, answers. `rng` chooses among wordings, and between the subject's name
    and its pronoun."""
    asker = _Asker(subject, lexicon, rng)
    asked = [*asker.ask(sentence)]
    return list({question.text.lower(): question for question in asked if _is_fair(question)}.values())


class _Asker:
    def __init__(self, subject: Subject, lexicon: Lexicon, rng: Random) -> None:
        self._subject = subject
        self._lexicon = lexicon
        self._rng = rng

    def ask(self, sentence: str) -> Iterator[Question]:
        yield from self._why(sentence)
        yield from self._there_are(sentence)
        for clause in self._clauses(sentence):
            for rule in (self._definition, self._when, self._where, self._by_whom, self._how_many, self._measure,
                         self._object, self._superlative, self._yes_no):  # fmt: skip
                yield from rule(clause)

    def _clauses(self, sentence: str) -> Iterator[Clause]:
        """The clauses of the sentence, and "a film directed by Kubrick" as "was directed by Kubrick", too."""
        title = re.sub(r"^(?:the|an?) ", "", self._subject.name)
        for clause in clauses(sentence, title, self._lexicon):
            if " not " not in f" {clause.verb} {clause.rest} ":
                yield clause
                yield from self._reduced(clause)

    def _reduced(self, clause: Clause) -> Iterator[Clause]:
        found = re.match(r"(?:an?|the) ((?!.*\b(?:in|for|from|by|to|that|with|on|at)\b.* [a-z]+ (?:by|in)).*?) "
                         r"(?:that (?:is|was) )?(?P<verb>[a-z]+)(?: and [a-z]+ed)? (?P<rest>(?:by|in|on|at) .*)", clause.rest)  # fmt: skip
        if clause.is_copula and found and found["verb"] in _MADE:
            be = "were" if clause.auxiliary in {"are", "were"} else "was"
            yield Clause(clause.subject, be, found["verb"], found["rest"])

    # ---- Rules: what a clause says, and how that is asked for.

    def _definition(self, clause: Clause) -> Iterator[Question]:
        """ "X is a ..." """
        found = re.match(r"(?:an?|the|any|one of the|part of) \S", clause.rest)
        if not clause.is_copula or not found:
            return
        is_person = self._subject.is_person if self._is_subject(clause) else self._is_person(clause.rest)
        who = "Who" if is_person else "What"
        name = self._inside(clause.subject)
        wordings = [f"{who} {clause.auxiliary} {name}?"] * 4
        if self._is_subject(clause):
            contracted = {
                "is": f"{who}'s {name}?",
                "was": f"Do you know who {name} was?" if is_person else f"What was {name}?",
            }
            wordings += [
                contracted.get(clause.auxiliary, f"{who} {clause.auxiliary} {name}?"),
                f"Tell me about {name}.",
            ]
            if not is_person and clause.auxiliary == "is":
                wordings += [f"What does {name} mean?", f"Can you explain what {name} is?", f"Define {name}."]
        yield Question(self._rng.choice(wordings), "who" if is_person else "what", clause.rest)

    def _when(self, clause: Clause) -> Iterator[Question]:
        """ "... in 1794" """
        if found := spans.time(clause.rest):
            before = _before(clause.rest, found)
            if before is None or (clause.is_copula and before[:2] in {"a ", "an"}):
                return
        elif found := spans.time(clause.lead):
            before = _short(clause.rest)
            if before is None:
                return
        else:
            return
        yield Question(f"{self._stem(self._time_word(found.text), clause, before)}?", "when", found.text)

    def _time_word(self, text: str) -> str:
        words = ["When"] * 4
        if re.fullmatch(r"in \d{4}", text):
            words += ["In which year", "In what year", "What year"]
        elif re.fullmatch(r"(?:in|during) the .*century.*", text):
            words += ["In which century"]
        elif re.fullmatch(r"on \d.*|on [A-Z][a-z]+ \d.*", text):
            words += ["On which day", "On what date"]
        elif re.match(r"(?:on|every) [A-Z]|from [A-Z][a-z]+day", text):
            words += ["On which days", "On what days"]
        elif re.match(r"(?:at|from|until|before|after) ", text) and not re.search(r"\d{3}", text):
            words += ["At what time", "What time"]
        elif text.startswith("since"):
            words = ["Since when"]
        elif text.startswith("until"):
            words = ["Until when", "Till when"]
        return self._rng.choice(words)

    def _where(self, clause: Clause) -> Iterator[Question]:
        """ "... in Leeds" """
        found = spans.place(clause.rest, clause.verb, self._lexicon)
        before = found and _before(clause.rest, found)
        if not found or before is None:
            return
        word = self._rng.choice(["Where"] * 5 + (["In which place"] if found.text.startswith("in ") else []))
        if clause.verb in _LYING and not before and clause.auxiliary in BE | {""}:
            be = clause.auxiliary or ("is" if clause.verb.endswith("s") else "are")
            name = self._inside(clause.subject)
            be = _agree(be, name)
            wordings = [f"Where {be} {name}?"] * 3 + [
                f"Where can I find {self._object_form(name)}?",
                f"What is the location of {self._object_form(name)}?",
            ]
            if clause.auxiliary:
                wordings.append(f"Where {be} {name} located?")
            yield Question(self._rng.choice(wordings), "where", found.text)
        elif clause.verb or not before or self._rng.random() < 0.3:
            if clause.is_copula and re.match(r"an? |the |one ", before):
                return
            yield Question(f"{self._stem(word, clause, before)}?", "where", found.text)

    def _by_whom(self, clause: Clause) -> Iterator[Question]:
        """ "... was built by Samuel Greg" """
        found = re.search(r"\bby ((?:the |an? )?\S.*)", clause.rest)
        if not clause.is_passive or not found or clause.auxiliary not in BE:
            return
        before = _before(clause.rest, Span(found.start(), found.end(), found[0]))
        agent = _agent(found[1])
        time_ = spans.time(before or "")
        if before is None or time_ or not agent or agent.split()[0].endswith("ing"):
            return
        who = "Who" if self._is_agent_person(agent) else "What"
        verb = self._active(clause)
        if not verb:
            return
        whom = self._object_form(self._inside(clause.subject))
        text = f"{who} {verb} {whom} {before}".strip()
        if who == "Who" and self._rng.random() < 0.15:
            text = self._stem("By whom", clause, before)
        yield Question(f"{text}?", "who" if who == "Who" else "what", agent)

    def _active(self, clause: Clause) -> str | None:
        """The finite active form of a passive: "was written" -> "wrote", "is run" -> "runs"."""
        base = self._lexicon.base(clause.verb, "verb")
        if clause.auxiliary in {"was", "were"}:
            return _PAST.get(clause.verb, clause.verb)
        return _third_person(base) if base else None

    def _how_many(self, clause: Clause) -> Iterator[Question]:
        """ "... has three floors" """
        found = spans.counted(clause.rest)
        if not found:
            return
        number, things = found
        before = clause.rest[: number.start].strip()
        after = clause.rest[number.end :].strip().removeprefix(things).strip()
        if (
            len(before.split()) > 3
            or clause.is_copula
            or re.search(r"\b(?:the|its|his|her|their|these|in|at|between|from|over)$", before)
        ):
            return
        after = (
            after if len(after.split()) <= 5 and not after.startswith((",", "and")) and not spans.time(after) else ""
        )
        yield Question(f"{self._stem(f'How many {things}', clause, f'{before} {after}')}?", "how-many", number.text)

    def _there_are(self, sentence: str) -> Iterator[Question]:
        """ "There are 22 species of Vespa", "Twelve people live there" """
        found = re.match(r"There (?P<be>are|were) (?P<rest>.*?)(?:[,;.]| that | which | and )", f"{sentence} ")
        if not found or not (number := spans.counted(found["rest"])) or number[0].start > 0:
            return
        things = found["rest"][number[0].end :].strip()
        if len(things.split()) <= 8:
            words = things.split()
            cut = len(number[1].split())
            yield Question(
                f"How many {' '.join(words[:cut])} {found['be']} there {' '.join(words[cut:])}".strip() + "?",
                "how-many",
                number[0].text,
            )

    def _measure(self, clause: Clause) -> Iterator[Question]:
        """ "... weighs 1.8 kilograms": asked in other words than the unit's"""
        found = spans.quantity(clause.rest)
        if not found:
            return
        amount, measured = found
        before = clause.rest[: amount.start].strip()
        after = clause.rest[amount.end :].strip()
        name = self._inside(clause.subject)
        be = _agree(clause.auxiliary if clause.auxiliary in BE else ("are" if self._is_plural(clause) else "is"), name)
        do = "do" if be in {"are", "am"} else "does"
        first = after.split()[0].rstrip(",") if after else ""
        wordings: list[str] = []
        kind = "how-much"
        base = self._lexicon.base(clause.verb, "verb") if clause.verb else ""
        if measured == "length" and first in _DIMENSIONS and clause.is_copula and not before:
            wordings = [f"How {first} {be} {name}?", f"What is the {_DIMENSIONS[first]} of {self._object_form(name)}?"]
        elif measured == "length" and (
            noun := re.match(r"(?:in|of) (height|length|width|depth|elevation|diameter)\b|(?:above sea level)", after)
        ):
            wordings = [f"What is the {noun[1] or 'elevation'} of {self._object_form(name)}?"]
            wordings += {
                "height": [f"How tall {be} {name}?"],
                "length": [f"How long {be} {name}?"],
                "width": [f"How wide {be} {name}?"],
                "depth": [f"How deep {be} {name}?"],
            }.get(noun[1] or "", [])
        elif (
            measured == "length"
            and (away := re.match(r"(?:\w+ )?(?:of|from) ((?:the )?[A-Z][\w' -]*|the \w+)", after))
            and (clause.is_copula or clause.verb in _LYING)
        ):
            wordings = [
                f"How far {be} {name} from {away[1]}?",
                f"How far away from {away[1]} {be} {name}?",
                f"What is the distance between {self._object_form(name)} and {away[1]}?",
            ]
        elif measured == "mass" and (
            base == "weigh" or after.startswith("in weight") or (clause.is_copula and first == "in")
        ):
            wordings = [
                f"How heavy {be} {name}?",
                f"How much {do} {name} weigh?",
                f"What is the weight of {self._object_form(name)}?",
            ]
        elif measured == "money" and base in {"cost", "charge", "pay"}:
            wordings = [
                f"How much {do} {name} cost?",
                f"What {do} {name} cost?",
                f"What is the price of {self._object_form(name)}?",
                f"How expensive {be} {name}?",
            ]
        elif measured == "money" and not before and clause.is_copula:
            wordings = [f"How much {be} {name}?", f"What {be} {name}?"]
        elif measured == "duration" and base == "last":
            kind, wordings = (
                "how-long",
                [
                    f"How long {do} {name} last?",
                    f"How long {do} {name} take?",
                    f"What is the duration of {self._object_form(name)}?",
                ],
            )
        elif measured == "duration" and base == "take":
            kind, wordings = "how-long", [f"How long {do} {name} take?", f"How much time {do} {name} take?"]
        elif measured == "duration" and before.endswith("for") and clause.verb:
            rest = before.removesuffix("for").strip()
            kind, wordings = (
                "how-long",
                [f"{self._stem('For how long', clause, rest)}?", f"{self._stem('How long', clause, rest)}?"],
            )
        elif measured == "area" and (
            base in {"cover", "occupy", "have"} or before.startswith("of") or clause.is_copula
        ):
            wordings = [
                f"How big {be} {name}?",
                f"How large {be} {name}?",
                f"What is the area of {self._object_form(name)}?",
            ]
        elif measured == "speed":
            wordings = [f"How fast {be} {name}?"] if clause.is_copula else [f"{self._stem('How fast', clause, '')}?"]
        elif measured == "volume" and base in {"hold", "contain", "carry"}:
            wordings = [f"How much {do} {name} hold?", f"What is the capacity of {self._object_form(name)}?"]
        elif measured == "temperature":
            wordings = (
                [f"At what temperature {self._stem('', clause, '').strip()}?"]
                if before.endswith("at") and clause.verb
                else [f"How hot {be} {name}?"] * (base in {"reach"})
            )
        if wordings:
            yield Question(self._rng.choice(wordings), kind, amount.text)

    def _object(self, clause: Clause) -> Iterator[Question]:
        """ "Owls eat mice", "... is made of wood" """
        preposition, _, thing = clause.rest.partition(" ")
        if (clause.verb, preposition) in _WITH_PREPOSITION or (
            self._lexicon.base(clause.verb, "verb"),
            preposition,
        ) in _WITH_PREPOSITION:
            phrase = clause.rest.removeprefix(preposition).strip()
            yield Question(f"{self._stem('What', clause, preposition)}?", "what", phrase)
        elif clause.verb in {"called", "named", "termed"} and clause.auxiliary in BE and clause.rest:
            yield Question(f"{self._stem('What', clause, '')}?", "what", clause.rest)
        elif (
            not clause.auxiliary
            and clause.verb not in _NO_OBJECT
            and re.match(r"(?:an?|the|its|their|his|her|all|many|some|both|[a-z]+s\b)", clause.rest)
        ):
            if preposition in PREPOSITIONS | {"that", "to", "as", "always", "perhaps"} or preposition.endswith("ly"):
                return
            yield Question(f"{self._stem('What', clause, '')}?", "what", spans.noun_phrase(clause.rest))

    def _superlative(self, clause: Clause) -> Iterator[Question]:
        """ "Garda is the largest lake in Italy" """
        found = re.match(
            r"the (?:[a-z]+est|most [a-z]+|only|first|second|third|last|capital|main|largest|official)\b.*", clause.rest
        )
        if not clause.is_copula or not found or not self._is_subject(clause) or clause.subject.lower() in PRONOUNS:
            return
        description = _short(re.split(r",| that | and ", found[0])[0], 9)
        if description:
            who = "Who" if self._subject.is_person else self._rng.choice(["What", "Which"])
            yield Question(
                f"{who} {'was' if clause.auxiliary == 'was' else 'is'} {description}?",
                "who" if who == "Who" else who.lower(),
                clause.subject,
            )

    def _yes_no(self, clause: Clause) -> Iterator[Question]:
        rest = _short(clause.rest, 7)
        if rest is None or spans.time(rest):
            return
        if clause.auxiliary in {"can", "may", "must"} and clause.verb:
            name = self._inside(clause.subject)
            modal = {"may": "can"}.get(clause.auxiliary, clause.auxiliary)
            text = f"{modal.capitalize()} {name} {clause.verb} {rest}".strip()
            if clause.auxiliary == "must":
                text = self._rng.choice(
                    [
                        text,
                        f"{'Do' if self._is_plural(clause) or name in {'I', 'you', 'they'} else 'Does'} {name} have to {clause.verb} {rest}".strip(),
                    ]
                )
            yield Question(f"{text}?", "yes-no", "")
        elif clause.auxiliary in BE and rest and self._rng.random() < 0.15:
            yield Question(f"{self._stem('', clause, rest).strip()}?", "yes-no", "")

    def _why(self, sentence: str) -> Iterator[Question]:
        """ "... because ..." """
        found = re.search(r",? (?:because|so that|in order to|due to|owing to|as a result of|thanks to)\b", sentence)
        if not found:
            return
        main = sentence[: found.start()]
        parsed = clauses(main, re.sub(r"^(?:the|an?) ", "", self._subject.name), self._lexicon)
        if (
            len(parsed) == 1
            and (rest := _short(parsed[0].rest, 10)) is not None
            and main.endswith(parsed[0].rest.split(" ")[-1])
        ):
            yield Question(f"{self._stem('Why', parsed[0], rest)}?", "why", sentence[found.end() :].strip(" ."))

    # ---- Parts of questions.

    def _stem(self, word: str, clause: Clause, rest: str | None) -> str:
        """ "When" + "the mill was built ..." -> "When was the mill built ..." """
        name = self._inside(clause.subject)
        auxiliary, verb = clause.auxiliary, clause.verb
        if not auxiliary:
            auxiliary, verb = self._with_do(clause)
        verb = self._reworded(verb)
        words = [word, _agree(auxiliary, name), name, verb, rest or ""]
        text = " ".join(" ".join(words).split())
        return text[0].upper() + text[1:]

    def _with_do(self, clause: Clause) -> tuple[str, str]:
        base = self._lexicon.base(clause.verb, "verb") or clause.verb
        if clause.verb == base:
            return "do", base
        return ("does" if clause.verb.endswith("s") and not clause.verb.endswith("ss") else "did"), base

    def _reworded(self, verb: str) -> str:
        return self._rng.choice([verb, verb, *_OTHER_WORDS.get(verb, ())])

    def _inside(self, said: str) -> str:
        """The clause's subject as a question has it inside."""
        low = said.lower()
        if low in {"he", "she", "it", "this"}:
            return self._rng.choice([self._subject.name, self._subject.name, "it" if low == "this" else low])
        if low in {"they", "these"}:
            return "they"
        if low in {"we", "you", "i"}:
            return "I" if low == "you" else "you"
        first, _, others = said.partition(" ")
        if self._is_name(said):
            return self._rng.choice(
                [self._matched(said)] * 2 + [self._subject.pronoun] * (self._subject.pronoun != "they")
            )
        if first.lower() in {"its", "his", "their", "her"} and others and " of " not in others:
            return self._rng.choice([f"{first.lower()} {others}", f"the {others} of {self._subject.name}"])
        if first.lower() in DETERMINERS or self._is_common_start(first, others):
            return f"{first.lower()} {others}".strip()
        return said

    def _matched(self, said: str) -> str:
        bare = re.sub(r"^(?:the|an?) ", "", self._subject.name)
        if bare[0].islower() or said.split()[0] in {"The", "A", "An"}:
            return said[0].lower() + said[1:] if said.split()[0] in {"The", "A", "An"} or bare[0].islower() else said
        return said

    def _is_name(self, said: str) -> bool:
        """Whether the words are the article's title."""
        bare = re.sub(r"^(?:the|an?) ", "", self._subject.name.lower())
        return re.sub(r"^(?:the|an?) ", "", said.lower()) in {bare, f"{bare}s", f"{bare}es"}

    def _is_subject(self, clause: Clause) -> bool:
        return clause.subject.lower() in {"it", "he", "she"} or self._is_name(clause.subject)

    def _is_common_start(self, first: str, others: str) -> bool:
        return not any(word[0].isupper() for word in others.split()[:1]) and self._lexicon.is_common(first)

    def _is_plural(self, clause: Clause) -> bool:
        base = self._lexicon.base(clause.verb, "verb") if clause.verb else None
        return clause.auxiliary in {"are", "were", "have"} or (not clause.auxiliary and clause.verb == base)

    def _is_person(self, phrase: str) -> bool:
        head = re.split(r",| (?:of|in|who|that|from|and|for|at|to|on|by|with)\b", phrase)[0].split()
        return bool(head) and self._lexicon.kind(head[-1]) == "person"

    def _is_agent_person(self, agent: str) -> bool:
        words = agent.split()
        if words[0][0].isupper():
            return self._lexicon.kind(agent) in {None, "person", "group"}
        return self._lexicon.kind(words[-1]) in {"person", "group"} or any(word[0].isupper() for word in words[1:])

    @staticmethod
    def _object_form(name: str) -> str:
        return {"he": "him", "she": "her", "they": "them", "I": "me"}.get(name, name)


# ---- Word lists.

_MADE = frozenset(
    "directed written composed painted built founded made designed created developed published produced released invented "
    "discovered established recorded held fought signed introduced launched constructed".split()
)
_LYING = frozenset("located situated found lies lie stands stand".split())
_DIMENSIONS = {
    "long": "length",
    "tall": "height",
    "high": "height",
    "deep": "depth",
    "wide": "width",
    "thick": "thickness",
}
_WITH_PREPOSITION = frozenset(
    tuple(pair.split("-"))
    for pair in "consist-of depend-on feed-on refer-to belong-to deal-with focus-on relate-to result-in derive-from "
    "lead-to live-on rely-on stand-for used-for used-as made-of made-from made-up composed-of known-for known-as based-on "
    "named-after associated-with derived-from divided-into surrounded-by covered-with filled-with equipped-with "
    "concerned-with related-to caused-by characterized-by bordered-by regarded-as considered-as defined-as "
    "responsible-for famous-for".split()
)
_NO_OBJECT = frozenset(
    "is are was were became become becomes remains remain remained seems seem appears appear lasts last died dies takes took "
    "has have had".split()
)
_PAST = {  # of participles that differ from the past tense
    "written": "wrote", "taken": "took", "given": "gave", "known": "knew", "drawn": "drew", "begun": "began", "sung": "sang",
    "chosen": "chose", "shown": "showed", "seen": "saw", "done": "did", "grown": "grew", "thrown": "threw", "spoken": "spoke",
    "broken": "broke", "driven": "drove", "eaten": "ate", "stolen": "stole", "worn": "wore", "torn": "tore", "born": "bore",
    "flown": "flew", "run": "ran", "ridden": "rode", "overthrown": "overthrew", "overseen": "oversaw", "rewritten": "rewrote",
    "hidden": "hid", "fallen": "fell", "forgotten": "forgot", "forbidden": "forbade", "proven": "proved", "woven": "wove",
    "undertaken": "undertook", "beaten": "beat", "bitten": "bit", "frozen": "froze", "sunk": "sank",
}  # fmt: skip
_OTHER_WORDS = {
    "built": ("constructed", "put up"), "constructed": ("built",), "founded": ("established", "set up", "started"),
    "established": ("founded", "set up"), "created": ("made",), "begin": ("start",), "commence": ("start", "begin"),
    "published": ("issued",), "purchase": ("buy",), "purchased": ("bought",), "acquire": ("get",), "reside": ("live",),
    "located": ("situated",), "situated": ("located",), "completed": ("finished",), "die": ("pass away",), "end": ("finish",),
    "manufactured": ("made", "produced"), "produce": ("make",), "contain": ("have",), "comprise": ("contain",), "require": ("need",),
    "permitted": ("allowed",), "employed": ("used",), "utilized": ("used",), "destroyed": ("ruined",), "demolished": ("torn down",),
    "discovered": ("found",), "introduced": ("brought in",), "close": ("shut",), "assist": ("help",), "obtain": ("get",),
}  # fmt: skip


# ---- Small helpers.


def _before(rest: str, found: Span, most: int = 8) -> str | None:
    """What stands before the answer, where a question can end there; else None."""
    return _short(rest[: found.start].strip(" ,"), most)


def _short(rest: str, most: int = 8) -> str | None:
    words = rest.split()
    last = words[-1].lower() if words else ""
    if len(words) > most or "," in rest or last in PREPOSITIONS | DETERMINERS | AUXILIARIES | {"and", "or", "that"}:
        return None
    return rest


def _agent(text: str) -> str:
    """The noun phrase behind "by"."""
    words = []
    for word in text.split():
        if words and (word in PREPOSITIONS - {"of"} or word in {"that", "to", "and", "who"}):
            break
        words.append(word)
        if word.endswith(","):
            break
    agent = " ".join(words).rstrip(",")
    return agent if len(words) <= 7 else ""


def _agree(auxiliary: str, name: str) -> str:
    if name == "I":
        return {"are": "am", "were": "was"}.get(auxiliary, auxiliary)
    if name == "you":
        return {"am": "are", "was": "were"}.get(auxiliary, auxiliary)
    return auxiliary


def _third_person(base: str) -> str:
    if re.search(r"(?:s|x|z|ch|sh|o)$", base):
        return f"{base}es"
    return f"{base[:-1]}ies" if re.search(r"[^aeiou]y$", base) else f"{base}s"


def _is_fair(question: Question) -> bool:
    """Whether the question is neither a word nor a speech, and does not contain its own answer."""
    return 2 <= len(question.text.split()) <= 18 and not contains_answer(question.text, question.answer)


def contains_answer(question: str, answer: str) -> bool:
    """Whether most content words of the answer stand in the question."""
    asked = set(_words(question))
    wanted = [word for word in _words(answer) if word not in _EMPTY]
    return 2 * sum(word in asked for word in wanted) > len(wanted)


def _words(text: str) -> list[str]:
    return re.findall(r"[\w'-]+", text.lower())


def _is_common(title: str, lexicon: Lexicon) -> bool:
    first, *others = title.split()
    return first[1:].islower() and not any(word[0].isupper() for word in others) and lexicon.is_common(first)


_EMPTY = AUXILIARIES | DETERMINERS | PREPOSITIONS | PRONOUNS | frozenset("and or that which who because so not".split())
