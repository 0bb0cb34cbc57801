"""Pure: which questions of a small teacher to keep. `fault` names the first thing wrong with one.

A teacher of 135 M parameters asks what the sentence does not answer two times in three. So a question is kept only
where the sentence has what the question asks for, says nearly all of its words, and is found by them.
"""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from random import Random

import bm25s
import Stemmer

from training import spans
from training.asking import is_person
from training.clauses import AUXILIARIES, DETERMINERS, PREPOSITIONS, PRONOUNS, Lexicon
from training.words import word_set

MIN_WORDS, MAX_WORDS = 3, 16  # of a question
STRANGERS = 20  # sentences of other articles that the right one is told from
FOUND_WITHIN = 3  # ranks

_OPENERS = AUXILIARIES | word_set("what who whom whose where when which why how in on at by for since")
_STOPWORDS = _OPENERS | DETERMINERS | PREPOSITIONS | PRONOUNS | word_set("and or that not there s so")
# Words that a question adds and no sentence needs to say.
_ASKING = word_set(
    "called type kind many much long far tall high deep wide big large heavy old fast year time day date century mean "
    "made used cost located size length height area depth weight city country"
)
_VAGUE = re.compile(
    r"\b(?:the (?:two|following|above|difference|name|term|person|people)|these|those|this|it|they|them|he|she|him|her|"
    r"its|you|your)\b"
)
_SUPERLATIVE = re.compile(r"\b(?:most|least|first|only|largest|[a-z]{3,}est)\b")
_CAUSE = re.compile(
    r"\b(?:because|due to|owing to|as a result of|so that|so as to|in order to|caused by|"
    r"since (?!\d|the \d|then|been|at|its))\b"
)

_stemmer = Stemmer.Stemmer("english")


@dataclass(frozen=True)
class Record:
    """A question that the teacher wrote for sentence `index` of the article `title`."""

    title: str
    index: int
    sentence: str
    question: str


def keep(record: Record, article: Sequence[str], others: Sequence[str], lexicon: Lexicon) -> bool:
    """Whether the question is fit to learn from. `article`: all sentences of its article; `others`: `strangers`."""
    return fault(record, article, others, lexicon) is None


def fault(record: Record, article: Sequence[str], others: Sequence[str], lexicon: Lexicon) -> str | None:
    """What is wrong with the question, in a few words to count by; None where nothing is."""
    return (
        _shape_fault(record.question)
        or _word_fault(record, lexicon)
        or _kind_fault(record, lexicon)
        or (None if is_found(record, article, others) else "not found again")
    )


def strangers(sentences: Sequence[str], record: Record, rng: Random) -> list[str]:
    """Sentences of other articles, out of `sentences`, that the record's one is to be told from."""
    return [sentence for sentence in rng.sample(sentences, k=STRANGERS) if sentence != record.sentence]


def is_found(record: Record, article: Sequence[str], others: Sequence[str]) -> bool:
    """Whether BM25 ranks the sentence among the first FOUND_WITHIN of its article and `others`. The article's title
    stands in front of each of its sentences, as readers know that "the mill" is Hollin Mill."""
    own = [f"{record.title}. {sentence}" for sentence in dict.fromkeys([record.sentence, *article])]
    *passages, asked = bm25s.tokenize(
        [*own, *others, record.question], stopwords="en_plus", stemmer=_stemmer, return_ids=False, show_progress=False
    )
    known = [token for token in asked if any(token in passage for passage in passages)]
    if not known:
        return False
    index = bm25s.BM25(method="lucene")
    index.index(passages, show_progress=False)
    scores = index.get_scores(known)
    return int((scores > scores[0]).sum()) < FOUND_WITHIN


def tells_cause(sentence: str) -> bool:
    """Whether the sentence has an answer to "Why ...?"."""
    return bool(_CAUSE.search(sentence))


# ---- What can be wrong whatever is asked.


def _shape_fault(question: str) -> str | None:
    words = _words(question)
    if not question.endswith("?") or question.count("?") > 1 or not words or words[0] not in _OPENERS:
        return "no question"
    if not MIN_WORDS <= len(words) <= MAX_WORDS:
        return "length"
    return "vague" if '"' in question or _VAGUE.search(question.lower()) else None


def _word_fault(record: Record, lexicon: Lexicon) -> str | None:
    """Words that neither sentence nor title has, or so many of the sentence's that nothing is left to answer."""
    title, said, asked = (_stems(text) for text in (record.title, record.sentence, record.question))
    meant = said | {_stem(base) for word in _content(record.sentence) for base in _bases(word, lexicon)}
    if any(not _is_known(word, meant | title, lexicon) for word in _content(record.question)):
        return "other words"
    if not asked & (meant | title):
        return "nothing in common"
    superlatives = [set(_SUPERLATIVE.findall(text.lower())) for text in (record.question, record.sentence)]
    if not superlatives[0] <= superlatives[1]:
        return "superlative"
    return "no answer left" if len(said - asked - title) < max(1, len(said) / 6) else None


# ---- What the question asks for, and whether the sentence has it.

_LOCATING = re.compile(
    r"\b(?:located|situated|lies|lie|stands)\b|^[^,]*(?:,.*,)? (?:is|was|are|were) (?:an?|the) (?P<what>.*)"
)
_DEFINING = re.compile(
    r"(?:The |An? )?(?P<name>.{1,80}?)(?:,.*?)? (?:is|are|was|were) (?:an?|the|any|one of) (?P<what>.+)"
)
_Evidence = Callable[[Record, "re.Match[str]", Lexicon], bool]


def _kind_fault(record: Record, lexicon: Lexicon) -> str | None:
    question = record.question.lower().rstrip("?")
    for asked, has_answer, name in _KINDS:
        if found := asked.match(question):
            return None if has_answer(record, found, lexicon) else name
    return "open question"


def _has_time(record: Record, asked: "re.Match[str]", lexicon: Lexicon) -> bool:
    """ "When was X built?"; "When was X?" only of what went on for a while."""
    time = spans.time(record.sentence)
    if time is None or len(_content(record.question)) < 2:
        return False
    if "year" in asked[0]:
        return re.search(r"\d{3}", time.text) is not None
    is_bare = _stems(asked["rest"]) <= _stems(record.title)
    return not is_bare or time.text.startswith(("from", "between"))


def _has_place(record: Record, asked: "re.Match[str]", lexicon: Lexicon) -> bool:
    """ "Where did X live?": any place. "In which country ...?": one that the dictionary calls so."""
    if spans.place(record.sentence, "located", lexicon) is None or _SUPERLATIVE.search(record.question):
        return False
    what = asked["what"]
    return not what or any(lexicon.instance(name.text) == what for name in spans.names(record.sentence))


def _is_located(record: Record, asked: "re.Match[str]", lexicon: Lexicon) -> bool:
    """ "Where is X?": "X is located in ...", "X is a town in Peru"; of no person. "Where was X built?": any place."""
    place = spans.place(record.sentence, "located", lexicon)
    if place is None:
        return False
    if _is_verb_said(asked["thing"].split()[-1], record.sentence, lexicon):
        return True
    said = _LOCATING.search(record.sentence)
    is_of_title = _stems(asked["thing"]) <= _stems(record.title) and not re.match(r"(?:He|She)\b", record.sentence)
    is_named = any(word[0].isupper() for word in place.text.split())
    return is_of_title and is_named and said is not None and not (said["what"] and is_person(said["what"], lexicon))


def _has_count(record: Record, asked: "re.Match[str]", lexicon: Lexicon) -> bool:
    """ "How many floors does the mill have?"; what is counted needs another word to be found by."""
    counted = spans.counted(record.sentence)
    things = asked["things"]
    is_same = counted is not None and things.startswith(counted[1]) and not _SUPERLATIVE.search(counted[1])
    return is_same and len(_content(things)) > 1


def _has_quantity(record: Record, asked: "re.Match[str]", lexicon: Lexicon) -> bool:
    """ "How long is X?"; of distances, only from the title's subject."""
    quantity = spans.quantity(record.sentence)
    if found := re.match(r"how far (?:is|are|was|were) (.+) from", record.question.lower()):
        return quantity is not None and _stems(found[1]) <= _stems(record.title)
    return quantity is not None and quantity[1] in _MEASURED[asked["how"]]


def _has_cause(record: Record, _: "re.Match[str]", lexicon: Lexicon) -> bool:
    """What is asked must stand before the cause."""
    cause = _CAUSE.search(record.sentence)
    return cause is not None and _stems(record.question) <= _stems(record.sentence[: cause.start()]) | _stems(
        record.title
    )


def _has_agent(record: Record, asked: "re.Match[str]", lexicon: Lexicon) -> bool:
    """ "Who founded ...": "founded ... by Ada Marsh", or "She founded ..." in a text about her."""
    verb = lexicon.base(asked["verb"], "verb")
    words = record.sentence.split()
    at = next((i for i, word in enumerate(words) if verb and lexicon.base(word.strip(",.;"), "verb") == verb), None)
    if at is None:
        return False
    by = re.search(r"\bby ((?:the |an? )?[A-Z][\w' -]*)", " ".join(words[at:]).split(";")[0])
    is_passive = by is not None and not _stems(by[1]) <= _stems(record.question)
    is_active = words[0] in {"He", "She"} and at <= 2 and not _stems(record.title) & _stems(record.question)
    return is_passive or is_active


def _is_definition(record: Record, asked: "re.Match[str]", lexicon: Lexicon) -> bool:
    """ "What is TITLE?" of the first sentence, which says "TITLE is a ..."; "Who is TITLE?" of a person."""
    said = _DEFINING.match(record.sentence)
    if record.index != 0 or not said:
        return False
    is_title = _stems(asked["thing"]) in (_stems(record.title), _stems(said["name"]))
    return is_title and is_person(said["what"], lexicon) == asked[0].startswith("who")


def _is_said_of(record: Record, asked: "re.Match[str]", lexicon: Lexicon) -> bool:
    """ "What is the capital of Peru?": "... is the capital of Peru", or "The capital of Peru is ..."; or it is the
    title."""
    if _stems(asked["thing"]) <= _stems(record.title):
        return _is_definition(record, asked, lexicon)
    what, of = re.escape(asked["what"]), asked["of"]
    said = rf"\b(?:is|was|are|were) the {what} of\b|\b{what} (?:of [\w ,'-]+ )?(?:is|was|are|were)\b"
    is_known = _stems(of) <= _stems(record.sentence) | _stems(record.title)
    return is_known and not _stems(what) & _stems(of) and re.search(said, record.sentence.lower()) is not None


def _has_object(record: Record, asked: "re.Match[str]", lexicon: Lexicon) -> bool:
    """ "What do owls eat?": the verb, or a synonym, with something behind it."""
    return asked["verb"] != "do" and _is_verb_said(asked["verb"], record.sentence.rsplit(maxsplit=1)[0], lexicon)


def _has_phrase(record: Record, asked: "re.Match[str]", lexicon: Lexicon) -> bool:
    """ "What is hair made of?": "composed of"."""
    return re.search(_PHRASES[asked["phrase"]], record.sentence) is not None


_MEASURED = {
    **dict.fromkeys(("far", "tall", "high", "deep", "wide", "length", "height", "depth"), ("length",)),
    **dict.fromkeys(("big", "large", "area", "size"), ("area",)),
    **dict.fromkeys(("heavy", "weight"), ("mass",)),
    "long": ("length", "duration"),
    "fast": ("speed",),
}
_PHRASES = {
    "made of": r"\b(?:made|composed|consists?|built) (?:primarily |mainly |mostly )?(?:of|from)\b",
    "used for": r"\bused (?:\w+ )?(?:for|to|in|as)\b",
    "used to": r"\bused (?:\w+ )?(?:for|to)\b",
    "known for": r"\b(?:known|famous|noted) for\b",
    "known as": r"\b(?:known as|called|nicknamed|termed)\b",
    "called": r"\b(?:known as|called|nicknamed|termed)\b",
    "named after": r"\bnamed (?:after|for)\b",
    "based on": r"\bbased on\b",
}
_KINDS: tuple[tuple["re.Pattern[str]", _Evidence, str], ...] = tuple(
    (re.compile(asked), has_answer, name)
    for asked, has_answer, name in (
        (r"(?:in )?(?:what|which) (?:year|century|day|date)(?P<rest>.*)", _has_time, "no time"),
        (r"when (?:is|was|were|did|does|do) (?P<rest>.*)", _has_time, "no time"),
        (r"where (?:is|are|was|were) (?P<thing>.+?)(?: located| situated)?$", _is_located, "no place"),
        (
            r"where (?:is|are|was|were|did|does|do|can) |in which (?P<what>country|city|region)\b",
            _has_place,
            "no place",
        ),
        (r"how many (?P<things>.*)", _has_count, "no such number"),
        (rf"(?:how|what (?:is|was) the) (?P<how>{'|'.join(_MEASURED)})\b", _has_quantity, "no such measure"),
        (r"why ", _has_cause, "no cause"),
        (r"who (?P<verb>(?!is|are|was|were|did|does|do\b)[a-z]+) ", _has_agent, "no such agent"),
        (rf"(?:what|who) (?:is|are|was|were) .*\b(?P<phrase>{'|'.join(_PHRASES)})$", _has_phrase, "no such phrase"),
        (r"what (?:is|are|was|were) the (?P<thing>(?P<what>[\w ]+?) of (?P<of>.+))", _is_said_of, "not said"),
        (r"(?:what|who) (?:is|are|was|were) (?:the |an? )?(?P<thing>.+)", _is_definition, "no definition"),
        (r"what (?:does|do) (?:the |an? )?(?P<thing>.+) mean$", _is_definition, "no definition"),
        (
            r"what (?:does|do|did) .+? (?P<verb>[a-z]+)(?: (?:to|on|of|in|for|with|from))?$",
            _has_object,
            "no such object",
        ),
    )
)


# ---- Words.


def _is_known(word: str, meant: frozenset[str], lexicon: Lexicon) -> bool:
    """Whether a word of the question stands in the sentence, in some form or as a synonym, or need not stand there."""
    others = (word, *_bases(word, lexicon), *lexicon.synonyms(word))
    return word in _ASKING or any(_stem(other) in meant for other in others)


def _is_verb_said(verb: str, sentence: str, lexicon: Lexicon) -> bool:
    """Whether the sentence has the verb in some form, or a synonym of it."""
    base = lexicon.base(verb, "verb")
    bases = {lexicon.base(word, "verb") for word in _words(sentence)} - {None, "be", "have"}
    return base is not None and bool(bases & {base, *lexicon.synonyms(verb)})


def _bases(word: str, lexicon: Lexicon) -> list[str]:
    return [base for pos in ("verb", "noun") if (base := lexicon.base(word, pos))]


def _content(text: str) -> list[str]:
    return [word for word in _words(text) if word not in _STOPWORDS]


@lru_cache(maxsize=4096)
def _stems(text: str) -> frozenset[str]:
    return frozenset(_stem(word) for word in _content(text))


def _stem(word: str) -> str:
    return str(_stemmer.stemWord(word))


def _words(text: str) -> list[str]:
    return re.findall(r"[^\W_]+(?:-[^\W_]+)*", text.lower().replace("'s", "").replace("’s", ""))
