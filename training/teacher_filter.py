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
    "called type kind many much long far tall high deep wide big large heavy old fast year time day date century place "
    "mean used use made located size length height area depth weight city country people live born"
)
_VAGUE = re.compile(
    r"\b(?:the (?:two|following|above|difference|name|term|person|people)|these|those|this|it|they|them|he|she|him|her|"
    r"its)\b"
)
_SUPERLATIVE = re.compile(r"\b(?:most|least|first|only|largest|[a-z]{3,}est)\b")
_CAUSE = re.compile(
    r"\b(?:because|due to|owing to|as a result of|so that|so as to|in order to|caused by|"
    r"since (?!\d|the \d|then|at|its))\b"
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

_Evidence = Callable[[Record, "re.Match[str]", Lexicon], bool]


def _kind_fault(record: Record, lexicon: Lexicon) -> str | None:
    question = record.question.lower().rstrip("?")
    for asked, has_answer, name in _KINDS:
        if found := asked.match(question):
            return None if has_answer(record, found, lexicon) else name
    return "open question"


def _has_time(record: Record, _: "re.Match[str]", lexicon: Lexicon) -> bool:
    return spans.time(record.sentence) is not None and len(_content(record.question)) > 1


def _has_place(record: Record, _: "re.Match[str]", lexicon: Lexicon) -> bool:
    return spans.place(record.sentence, "located", lexicon) is not None


def _has_count(record: Record, asked: "re.Match[str]", lexicon: Lexicon) -> bool:
    counted = spans.counted(record.sentence)
    return counted is not None and asked["things"].startswith(counted[1])


def _has_quantity(record: Record, asked: "re.Match[str]", lexicon: Lexicon) -> bool:
    quantity = spans.quantity(record.sentence)
    return quantity is not None and quantity[1] in _MEASURED[asked["how"]]


def _has_cause(record: Record, _: "re.Match[str]", lexicon: Lexicon) -> bool:
    return tells_cause(record.sentence)


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
    """ "What is TITLE?" of the first sentence, which says "TITLE is a ..."."""
    said = re.match(
        r"(?:The |An? )?(?P<name>.{1,80}?)(?:,.*?)? (?:is|are|was|were) (?:an?|the|any|one of) (?P<what>.+)",
        record.sentence,
    )
    if record.index != 0 or not said:
        return False
    thing = _stems(asked["thing"])
    is_title = thing == _stems(record.title) or thing == _stems(said["name"])
    return is_title and is_person(said["what"], lexicon) == asked["word"].startswith("who")


def _is_said_of(record: Record, asked: "re.Match[str]", lexicon: Lexicon) -> bool:
    """ "What is the capital of Peru?": "... is the capital of Peru", or "The capital of Peru is ..."."""
    what, of = re.escape(asked["what"]), asked["of"]
    sentence = record.sentence.lower()
    is_there = re.search(
        rf"\b(?:is|was|are|were) the {what} of\b|\b{what} (?:of [\w ,'-]+ )?(?:is|was|are|were)\b", sentence
    )
    return bool(is_there) and _stems(of) <= _stems(record.sentence) | _stems(record.title)


def _has_object(record: Record, asked: "re.Match[str]", lexicon: Lexicon) -> bool:
    """ "What do owls eat?": the verb, or a synonym, with something behind it."""
    bases = [lexicon.base(word, "verb") for word in _words(record.sentence)[:-1]]
    verb = asked["verb"]
    return verb != "do" and any(base in {verb, *lexicon.synonyms(verb)} for base in bases if base)


def _has_phrase(record: Record, asked: "re.Match[str]", lexicon: Lexicon) -> bool:
    """ "What is hair made of?": "composed of"."""
    return re.search(_PHRASES[asked["phrase"]], record.sentence) is not None


_MEASURED = {
    **dict.fromkeys(("far", "tall", "high", "deep", "wide", "length", "height", "depth"), ("length",)),
    **dict.fromkeys(("big", "large", "area", "size"), ("area",)),
    **dict.fromkeys(("heavy", "weight"), ("mass",)),
    "long": ("length", "duration"),
    "fast": ("speed",),
    "much": ("money",),
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
        (r"(?:in )?(?:what|which) (?:year|century|day|date)|when (?:is|was|were|did|does|do) ", _has_time, "no time"),
        (
            r"where (?:is|are|was|were|did|does|do|can) |in (?:what|which) (?:country|city|region)\b",
            _has_place,
            "no place",
        ),
        (r"how many (?P<things>.*)", _has_count, "no such number"),
        (rf"(?:how|what (?:is|was) the) (?P<how>{'|'.join(_MEASURED)})\b", _has_quantity, "no such measure"),
        (r"why ", _has_cause, "no cause"),
        (r"who (?P<verb>(?!is|are|was|were|did|does|do\b)[a-z]+) ", _has_agent, "no such agent"),
        (rf"(?:what|who) (?:is|are|was|were) .*\b(?P<phrase>{'|'.join(_PHRASES)})$", _has_phrase, "no such phrase"),
        (r"what (?:is|are|was|were) the (?P<what>[\w ]+?) of (?P<of>.+)", _is_said_of, "not said"),
        (r"(?P<word>what|who) (?:is|are|was|were) (?:the |an? )?(?P<thing>.+)", _is_definition, "no definition"),
        (r"(?P<word>what) (?:does|do) (?:the |an? )?(?P<thing>.+) mean$", _is_definition, "no definition"),
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
