"""Pure: an English sentence -> its plain clauses, by regular expressions, short word lists and a lexicon.

Only what is sure is parsed: a short subject, its verb, and what follows up to the next clause. Everything else is
left out, as a question about half a sentence is worse than none.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Protocol

from training.wordings import PAST
from training.words import word_set

BE = word_set("is are was were")
HAVE = word_set("has have had")
DO = word_set("do does did")
MODALS = word_set("can could may might must will would should")
AUXILIARIES = BE | HAVE | DO | MODALS
PRONOUNS = word_set("it he she they this these you we i")
DETERMINERS = word_set("the a an its his her their this these our your my all most some many every each both")
PREPOSITIONS = word_set(
    "of in on at by for from to with without into onto over under near between among through during since until after "
    "before about around against across along behind beside beyond above below within outside inside as than like "
    "upon toward towards per via"
)
_ADVERBS = word_set(
    "also now often first then later still always sometimes mostly mainly usually generally soon once again "
    "currently originally today typically commonly widely officially largely primarily probably even just formerly "
    "eventually previously initially subsequently traditionally normally frequently both ever"
)
_NO_ADVERBS = word_set(
    "family supply reply apply multiply assembly monopoly anomaly butterfly fly early daily "
    "friendly likely lively lovely lonely only elderly costly deadly holy ugly silly jelly belly rally ally "
    "bully folly lily weekly monthly yearly orderly scholarly worldly homily"
)
# What ends a clause, so that nothing behind it belongs to the verb.
_CLAUSE_END = re.compile(
    r"\s*(?:;|:|—| – |, (?:and|but|or|which|who|whom|whose|where|while|although|though|whereas|so|with|including|such|"
    r"as|when|after|before|making|being|because|especially|particularly|often|also|usually|like|though)\b|"
    r"\b(?:but|which|who|whom|whose|although|though|while|whereas)\b|"
    r" and (?:the|its|his|her|their|an?) \w+ (?:is|are|was|were|has|have|had)\b)"
)
_LEAD = re.compile(
    r"(?P<lead>(?:In|On|At|During|Since|By|From|Until|Around|Before|After|Between|Every)\s[^,]{2,50}),\s+(?=\S)|"
    r"(?P<year>(?:In|Since|By) \d{4}) (?=(?:he|she|it|they|the|a|an|his|her|its) )"
)
_OPENERS = re.compile(
    r"(?:However|Today|Also|Additionally|Furthermore|Moreover|Thus|Therefore|Nevertheless|Traditionally|Historically|"
    r"Currently|Initially|Eventually|Finally|Generally|Often|Usually|Sometimes|Typically|Similarly|Instead|Meanwhile|"
    r"Later|Originally|Worldwide|For example|In addition|As a result|In general|In particular|In contrast|In fact),\s+"
)
# Words that no subject holds: another clause begins there.
_NOT_IN_SUBJECT = word_set(
    "that which who whom whose where when while if because although though as than there what how why not never and or "
    "but to"
)
_PLURAL = word_set("these those many some all most both several")
_MAX_SUBJECT = 7  # words
_MAX_APPOSITION = 12  # words


class Lexicon(Protocol):
    """What the rules ask of a dictionary; `training.wordnet.WordNet` is one."""

    def base(self, word: str, pos: str) -> str | None: ...

    def part_of_speech(self, word: str) -> str | None: ...

    def is_common(self, word: str) -> bool: ...

    def kind(self, noun: str) -> str | None: ...

    def instance(self, name: str) -> str | None: ...

    def synonyms(self, word: str) -> tuple[str, ...]: ...


@dataclass(frozen=True)
class Clause:
    """`subject auxiliary verb rest`, as in "The mill | was | built | in 1794 by Samuel Greg".

    After an auxiliary the verb is a participle or a base form; without one it is finite ("weighs"). "The mill is old"
    has the auxiliary "is" and no verb. `lead` stood before the subject: "In 1794".
    """

    subject: str
    auxiliary: str
    verb: str
    rest: str
    lead: str = ""
    negated: bool = False  # by a "not" behind the auxiliary, which is left out

    @property
    def is_passive(self) -> bool:
        return self.auxiliary in BE and bool(self.verb) and not self.verb.endswith("ing")

    @property
    def is_copula(self) -> bool:
        return self.auxiliary in BE and not self.verb


def clauses(sentence: str, title: str, lexicon: Lexicon) -> list[Clause]:
    """The first clause of `sentence`, and those that go on with its subject after "and"."""
    text = _OPENERS.sub("", sentence.rstrip(" .!?"), count=1)
    lead = ""
    if found := _LEAD.match(text):
        lead, text = found["lead"] or found["year"], text[found.end() :]
    words = text.split()
    at = _verb_at(words, title, lexicon)
    if at is None:
        return []
    subject_end, verb_start = at
    subject = " ".join(words[:subject_end]).rstrip(",")
    parts = list(_coordinated(words[verb_start:], lexicon))
    lead = lead[:1].lower() + lead[1:]
    return [_clause(subject, part, lead if i == 0 else "", lexicon) for i, part in enumerate(parts)]


def is_finite(word: str, before: str, lexicon: Lexicon) -> bool:
    """Whether `word` is a verb that can follow a subject ending in `before`: "weighs", "opened", "(leaves) fall"."""
    if word in AUXILIARIES:
        return True
    if not word.isalpha() or not word.islower() or word in PAST or lexicon.part_of_speech(word) != "verb":
        return False
    base = lexicon.base(word, "verb")
    if word == base:
        return before.endswith("s") or before.lower() in {"they", "you", "we", "i", "people"}
    return base is not None and not word.endswith("ing")


def is_adverb(word: str) -> bool:
    """Whether a word can be left out of a question, as "usually" can."""
    return word in _ADVERBS or (word.endswith("ly") and word.islower() and word not in _NO_ADVERBS)


def _verb_at(words: list[str], title: str, lexicon: Lexicon) -> tuple[int, int] | None:
    """Where the subject ends and its verb begins; None where the sentence has no short subject."""
    named = _title_length(words, title)
    opener = words[0].lower() if words else ""
    is_adverbial = opener in _NOT_IN_SUBJECT | PREPOSITIONS or opener.endswith("ing") or is_adverb(opener)
    if not words or (is_adverbial and not named):
        return None
    for i in range(max(named, 1), min(len(words), max(named, _MAX_SUBJECT) + 1)):
        word, before = words[i], words[i - 1]
        if before.endswith(","):
            return _after_apposition(words, i, lexicon) if i == max(named, 1) or i <= 4 else None
        if is_finite(word, before, lexicon) and not _is_noun_here(
            word, words[i + 1 : i + 2], before, words[0], lexicon
        ):
            return i, i
        if is_adverb(word):
            j = i + 1
            return (i, j) if j < len(words) and is_finite(words[j], before, lexicon) else None
        if word.lower() in _NOT_IN_SUBJECT or (i > named and before.lower() in PRONOUNS - {"this", "these"}):
            return None
    return None


def _title_length(words: list[str], title: str) -> int:
    """How many words at the start are the title, with its article."""
    start = 1 if words and words[0] in {"The", "A", "An"} else 0
    wanted = re.sub(r"^(?:the|an?) ", "", title.lower()).split()
    found = [word.lower().rstrip(",") for word in words[start : start + len(wanted)]]
    if (
        not wanted
        or found[:-1] != wanted[:-1]
        or found[-1:] not in (wanted[-1:], [wanted[-1] + "s"], [wanted[-1] + "es"])
    ):
        return 0
    return start + len(wanted)


def _is_noun_here(word: str, after: list[str], before: str, opener: str, lexicon: Lexicon) -> bool:
    """Whether a word that may be a verb rather is the subject's noun: "The use of", "The building was"."""
    if word in AUXILIARIES:
        return False
    disagrees = word.endswith("s") and opener.lower() in _PLURAL
    return (
        disagrees
        or before.lower() in DETERMINERS - {"this", "these"}
        or bool(after and after[0] in AUXILIARIES | {"of"} and lexicon.base(word, "noun"))
        or before.lower() in PREPOSITIONS
    )


def _after_apposition(words: list[str], start: int, lexicon: Lexicon) -> tuple[int, int] | None:
    """Where the verb begins behind ", the capital of Peru,"."""
    for j in range(start, min(len(words) - 1, start + _MAX_APPOSITION)):
        verb = words[j + 1]
        is_verb = verb in AUXILIARIES or (is_finite(verb, words[start - 1], lexicon) and not verb.endswith("ed"))
        if words[j].endswith(",") and is_verb:
            return start, j + 1
    return None


def _coordinated(words: list[str], lexicon: Lexicon) -> Iterator[list[str]]:
    """Cut "was built in 1794 and burnt down in 1850" before the second verb."""
    text = " ".join(words)
    if found := _CLAUSE_END.search(text):
        text = text[: found.start()]
    words = text.rstrip(",").split()
    while len(words) > 1 and words[-1] in PREPOSITIONS:  # of "in which"
        words.pop()
    start = 0
    for i in range(2, len(words) - 1):
        after = i + 1 + is_adverb(words[i + 1])
        if words[i] == "and" and after < len(words) and _starts_verb(words[after], words[0], lexicon):
            yield words[start:i]
            start = i + 1
    rest = words[start:]
    if start == 0 or rest[0] in AUXILIARIES or words[0] not in AUXILIARIES or _is_no_participle(rest[0]):
        yield rest
    elif "by" in rest[1:3] and _is_past_participle(words[1:2], lexicon):  # "was led by the king and followed by ..."
        yield [words[0], *rest]


def _is_no_participle(verb: str) -> bool:
    """Whether a finite verb cannot go on with the auxiliary of the clause before it: "became", "opens"."""
    return verb.endswith("s") or verb in PAST.values()


def _starts_verb(word: str, first: str, lexicon: Lexicon) -> bool:
    """Whether `word` is a finite verb like the clause's first one."""
    if word in AUXILIARIES or first in AUXILIARIES:
        return word in AUXILIARIES or is_finite(word, "", lexicon)
    same_ending = [ending for ending in ("ed", "s") if word.endswith(ending) and first.endswith(ending)]
    irregular = word != lexicon.base(word, "verb") and not word.endswith(("s", "ing"))
    return bool(same_ending or irregular) and is_finite(word, "", lexicon)


def _clause(subject: str, words: list[str], lead: str, lexicon: Lexicon) -> Clause:
    words = _without_adverbs(words, 0)
    first, *others = words
    if first not in AUXILIARIES:
        return Clause(subject, "", first, " ".join(others), lead)
    negated = others[:1] in (["not"], ["never"])
    others = _without_adverbs(others[1:] if negated else others, 0)
    has_verb = (
        first in MODALS
        or (first in DO and negated)
        or (first in BE and _is_participle(others[:1], lexicon))
        or (first in HAVE and _is_past_participle(others[:1], lexicon))
    )
    if not has_verb and first not in BE:
        return Clause(subject, "", first, " ".join(others), lead, negated)
    size = 0 if not has_verb else 2 if others[0] == "been" and len(others) > 1 else 1
    return Clause(subject, first, " ".join(others[:size]), " ".join(others[size:]), lead, negated)


def _without_adverbs(words: list[str], at: int) -> list[str]:
    while len(words) > at + 1 and is_adverb(words[at]):
        words = words[:at] + words[at + 1 :]
    return words


def _is_participle(words: list[str], lexicon: Lexicon) -> bool:
    """Whether the first of the words is a participle, present or past."""
    is_present = bool(words) and words[0].endswith("ing") and lexicon.part_of_speech(words[0]) == "verb"
    return is_present or _is_past_participle(words, lexicon)


def _is_past_participle(words: list[str], lexicon: Lexicon) -> bool:
    word = words[0] if words else ""
    base = lexicon.base(word, "verb") if word.isalpha() else None
    if base is None or word.endswith(("s", "ing")):
        return False
    return word != base or word in {"set", "put", "cut", "run", "become", "come", "split"}
