"""Pure: which questions of a small teacher to keep. `fault` names the first thing wrong with one.

A teacher of 135 M parameters asks what the sentence does not answer two times in three. So a question is kept only where
the sentence has what its question word asks for, says nearly all of its words, and can be found by them.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from random import Random

import bm25s
import Stemmer

from training import spans
from training.clauses import AUXILIARIES, DETERMINERS, PREPOSITIONS, PRONOUNS, Lexicon
from training.words import word_set

MIN_WORDS, MAX_WORDS = 3, 16  # of a question
STRANGERS = 20  # sentences of other articles that the right one is told from
FOUND_WITHIN = 3  # ranks

_QUESTION_WORDS = word_set("what who whom whose where when which why how")
_OPENERS = _QUESTION_WORDS | AUXILIARIES | word_set("in on at by for since")
_STOPWORDS = _OPENERS | DETERMINERS | PREPOSITIONS | PRONOUNS | word_set("and or that not there s so")
# Words that a question adds and no sentence needs to say.
_ASKING = word_set(
    "name named called call type kind many much long far tall high deep wide big large heavy old fast year time day date "
    "century place number people person mean used use made located found get size length height area depth weight"
)
_VAGUE = re.compile(r"\b(?:the (?:two|following|above|difference)|these|those|this|it|they|he|she|him|her|its)\b")
_SUPERLATIVE = re.compile(r"\b(?:most|least|first|only|[a-z]{3,}est)\b")
_MEASURES = word_set(
    "length height size area depth weight width elevation altitude distance diameter population speed price cost age"
)
_CAUSE = re.compile(
    r"\b(?:because|due to|owing to|as a result|so that|so as to|in order to|since|therefore|thus|caused by|for its|for their|"
    r"for his|for her|as it|as they|to (?:avoid|prevent|protect|allow|make|keep|help|reduce|protest|honou?r|celebrate))\b"
)
_MEANS = re.compile(r"\b(?:by|through|via|using|with|from|into|as)\b")
_DEFINING = r"(?:,[^,]*,)? (?:is|are|was|were|means|refers? to|describes?)\b"
_NAMING = re.compile(r"\b(?:called|named|known as|termed|titled|nicknamed|referred to as)\b")

_stem = Stemmer.Stemmer("english").stemWord


@dataclass(frozen=True)
class Record:
    """A question that the teacher wrote for sentence `index` of the article `title`."""

    title: str
    index: int
    sentence: str
    question: str


def keep(record: Record, article: Sequence[str], strangers: Sequence[str], lexicon: Lexicon) -> bool:
    """Whether the question is fit to learn from. `article`: all sentences of its article; `strangers`: of others."""
    return fault(record, article, strangers, lexicon) is None


def fault(record: Record, article: Sequence[str], strangers: Sequence[str], lexicon: Lexicon) -> str | None:
    """What is wrong with the question, as a short word to count by; None where nothing is."""
    return (
        _shape_fault(record.question)
        or _word_fault(record, lexicon)
        or _kind_fault(record, lexicon)
        or (None if is_found(record, article, strangers) else "not found again")
    )


def strangers(sentences: Sequence[str], record: Record, rng: Random) -> list[str]:
    """Sentences of other articles, out of `sentences`, that the record's one is to be told from."""
    return [sentence for sentence in rng.sample(sentences, k=STRANGERS) if sentence != record.sentence]


def is_found(record: Record, article: Sequence[str], others: Sequence[str]) -> bool:
    """Whether BM25 ranks the sentence among the first few of its article and `others`. The article's title stands in
    front of each of its sentences, as "the mill" is known to be Hollin Mill."""
    own = [f"{record.title}. {sentence}" for sentence in dict.fromkeys([record.sentence, *article])]
    texts = bm25s.tokenize(
        [*own, *others, record.question], stopwords="en_plus", stemmer=_stems, return_ids=False, show_progress=False
    )
    *passages, asked = texts
    vocabulary = {token for passage in passages for token in passage}
    if not (known := [token for token in asked if token in vocabulary]):
        return False
    index = bm25s.BM25(method="lucene")
    index.index(passages, show_progress=False)
    scores = index.get_scores(known)
    return int((scores > scores[0]).sum()) < FOUND_WITHIN


_stems = Stemmer.Stemmer("english")


def tells_cause(sentence: str) -> bool:
    """Whether the sentence has an answer to "Why ...?"."""
    return bool(_CAUSE.search(sentence))


# ---- What can be wrong.


def _shape_fault(question: str) -> str | None:
    words = _words(question)
    if not question.endswith("?") or question.count("?") > 1 or not words or words[0] not in _OPENERS:
        return "no question"
    if not MIN_WORDS <= len(words) <= MAX_WORDS:
        return "length"
    if question.count('"') % 2 or _VAGUE.search(question.lower()):
        return "vague"
    return None


def _word_fault(record: Record, lexicon: Lexicon) -> str | None:
    """Words that neither sentence nor title has, or so many of the sentence's that nothing is left to answer."""
    title, said = _stems_of(record.title), _stems_of(record.sentence)
    asked = _stems_of(record.question)
    known = title | said | _stems_of(" ".join(_ASKING))
    strange = [word for word in _content(record.question) if _stem(word) not in known]
    strange = [word for word in strange if not _has_synonym(word, said, lexicon)]
    if strange:
        return "other words"
    if not asked & (said | title):
        return "nothing in common"
    if _SUPERLATIVE.findall(record.question.lower()) and not (
        set(_SUPERLATIVE.findall(record.question.lower())) <= set(_SUPERLATIVE.findall(record.sentence.lower()))
    ):
        return "superlative"
    if len(said - asked - title) < 2:
        return "no answer left"
    return None


def _kind_fault(record: Record, lexicon: Lexicon) -> str | None:
    """Whether the sentence has what the question word asks for."""
    asked, sentence = record.question.lower(), record.sentence
    opener = " ".join(_words(asked)[:2])
    if re.match(r"(?:what|which|in what|in which) (?:year|century|day|date)|when|since when", asked):
        return None if spans.time(sentence) and not _definition_asked(record) else "no time"
    if re.match(r"where|in (?:what|which) (?:country|city|state|place|region)", asked):
        return None if spans.place(sentence, "located", lexicon) else "no place"
    if opener == "how many":
        return _count_fault(record)
    if re.match(
        r"how (?:much|long|far|tall|high|deep|wide|big|large|heavy|old|fast)\b|what is the (?:"
        + "|".join(_MEASURES)
        + r")\b",
        asked,
    ):
        return None if spans.quantity(sentence) or re.search(r"\d", sentence) else "no quantity"
    if asked.startswith("why"):
        return None if tells_cause(sentence) else "no cause"
    if asked.startswith("how"):
        return None if _MEANS.search(sentence) and not asked.endswith("called?") else "no means"
    if asked.startswith("who"):
        return _who_fault(record, lexicon)
    return _what_fault(record, lexicon) if asked.startswith(("what", "which")) else None


def _count_fault(record: Record) -> str | None:
    noun = re.match(
        r"how many (?:\w+ )*?(\w+)(?= (?:is|are|was|were|do|does|did|has|have|can|were|of|in)\b|\?)",
        record.question.lower(),
    )
    counted = spans.counted(record.sentence)
    if not noun or not counted:
        return "no number"
    return None if _stem(noun[1]) in _stems_of(counted[1]) else "other number"


def _who_fault(record: Record, lexicon: Lexicon) -> str | None:
    if _definition_asked(record):
        return _definition_fault(record)
    names = [
        name.text
        for name in spans.names(record.sentence)
        if not _content(name.text) or not set(_content(name.text)) <= set(_content(record.question))
    ]
    of_title = re.match(r"(?:He|She)\b", record.sentence) and not _stems_of(record.title) & _stems_of(record.question)
    agent = re.search(r"\bby (?:the |an? )?[A-Z]", record.sentence)
    if asked := re.match(r"who (?:was|is|were|are) (?:the|an?) ", record.question.lower()):
        return None if names or of_title else "no person"
    del asked
    return None if of_title or agent else "no person" if not names else "no person"


def _what_fault(record: Record, lexicon: Lexicon) -> str | None:
    asked = record.question.lower().rstrip("?")
    if _definition_asked(record):
        return _definition_fault(record)
    if "name of" in asked or re.search(r"\b(?:called|named|known as)$", asked):
        return None if _NAMING.search(record.sentence) and len(_content(asked)) > 1 else "no name"
    if found := re.match(r"what (?:does|do|did) .* (\w+)$", asked):
        return None if _verb_said(found[1], record.sentence, lexicon) else "no such verb"
    if found := re.match(r"what (?:is|are|was|were) (?:the |an? )?(.+)", asked):
        return _is_about_fault(found[1], record)
    return None


def _is_about_fault(thing: str, record: Record) -> str | None:
    """ "What is THING?": the sentence must say what it is, or of which it is said."""
    head = re.split(r" (?:of|in|for|that|which|to|from|on|at|by) ", thing)[0]
    head_words = re.escape(head)
    if re.search(
        rf"\b{head_words}{_DEFINING}|(?:called|known as|termed) (?:an? |the )?{head_words}\b|\b{head_words}, (?:an?|the) ",
        record.sentence.lower(),
    ):
        return None
    if re.search(rf"\b(?:is|are|was|were) (?:the|an?) (?:\w+ ){{0,2}}{head_words}\b", record.sentence.lower()):
        return None
    if re.search(r" (?:used|made|known|composed|based|associated|derived|found)\b", thing):
        return None
    return "not said"


def _definition_asked(record: Record) -> bool:
    """Whether the question is "What is TITLE?", or asks what it does or means."""
    found = re.match(
        r"(?:what|who) (?:(?:is|are|was|were|'s) (.*)|(?:do|does|did) (.*) (?:mean|do))\?", record.question.lower()
    )
    if not found:
        return False
    asked, title = _stems_of(found[1] or found[2]), _stems_of(record.title)
    return bool(asked) and asked <= title | _opening_name(record)


def _definition_fault(record: Record) -> str | None:
    if re.search(r"\b(?:do|does|did)\b", record.question.lower()) and not record.question.lower().endswith("mean?"):
        return "vague"
    name = sorted(_stems_of(record.title) | _opening_name(record))
    first = record.sentence.split(",")[0] if record.index else record.sentence
    opens = bool(_opening_name(record) & set(name))
    is_defining = re.match(r".{1,90}? (?:is|are|was|were) (?:an?|the|any|one of) ", first)
    return None if record.index == 0 and opens and is_defining else "no definition"


def _opening_name(record: Record) -> set[str]:
    """The stems of the words before the sentence's first "is"."""
    found = re.match(r"(?:The |An? )?(.{1,60}?)(?:,| is | are | was | were )", record.sentence)
    return _stems_of(found[1]) if found else set()


def _verb_said(verb: str, sentence: str, lexicon: Lexicon) -> bool:
    bases = {lexicon.base(word, "verb") for word in _words(sentence)}
    return verb in bases or any(other in bases for other in lexicon.synonyms(verb))


# ---- Words.


def _has_synonym(word: str, said: set[str], lexicon: Lexicon) -> bool:
    base = lexicon.base(word, lexicon.part_of_speech(word) or "noun") or word
    return _stem(base) in said or any(_stem(other) in said for other in lexicon.synonyms(word))


def _content(text: str) -> list[str]:
    return [word for word in _words(text) if word not in _STOPWORDS]


@lru_cache(maxsize=4096)
def _stem_set(text: str) -> frozenset[str]:
    return frozenset(_stem(word) for word in _content(text))


def _stems_of(text: str) -> set[str]:
    return set(_stem_set(text))


def _words(text: str) -> list[str]:
    return re.findall(r"[^\W_]+(?:-[^\W_]+)*", text.lower().replace("'s", ""))
