"""Pure: what people type: questions in bits, in other words, without capitals or marks.

`noisy` makes them of any sentence: the words around an answer, some dropped, inflected or exchanged for synonyms,
behind the question word that fits the answer. They are no English, and teach that a question need not be.
"""

import re
from collections.abc import Iterator, Sequence
from random import Random

from training import spans
from training.asking import Subject
from training.clauses import AUXILIARIES, DETERMINERS, PREPOSITIONS, PRONOUNS, Lexicon
from training.question_rules import Question, contains_answer
from training.words import word_set

_WINDOW = 8  # words on each side of the answer that a question may use
_KEPT = 0.65  # share of them that it does use
_EXCHANGED = 0.25  # share of those that are written otherwise

_STOPWORDS = (
    AUXILIARIES | DETERMINERS | PREPOSITIONS | PRONOUNS
    | word_set("and or but that which who whom whose also there not no such been being other one two more when where")
)  # fmt: skip
_QUESTION_WORDS = {
    "when": ("when", "what year", "when was"),
    "where": ("where", "where is", "what place"),
    "who": ("who", "who was", "by whom"),
    "how-many": ("how many", "number of"),
    "how-much": ("how much", "how big", "what size"),
    "how-long": ("how long",),
    "what": ("what", "what is", "which"),
}
_MEASURED = {
    "mass": ("how heavy", "weight"),
    "length": ("how long", "how far", "how high", "size"),
    "money": ("how much", "price", "cost"),
    "area": ("how big", "area", "size"),
    "speed": ("how fast", "speed"),
    "duration": ("how long", "duration"),
    "temperature": ("how hot", "temperature"),
    "share": ("how much", "what percentage"),
    "volume": ("how much", "volume"),
    "power": ("how much power",),
}


def noisy(sentence: str, subject: Subject, lexicon: Lexicon, rng: Random) -> list[Question]:
    """Questions in bits that `sentence` answers: one for each answer found in it, at most four."""
    found = list(_answers(sentence, lexicon))
    rng.shuffle(found)
    asked = [
        Question(text, kind, answer.text)
        for answer, kind, openers in found[:4]
        if (text := _in_bits(sentence, answer, rng.choice(openers), subject, lexicon, rng))
        and not contains_answer(text, answer.text)
    ]
    return asked


def keywords(sentence: str, subject: Subject, lexicon: Lexicon, rng: Random) -> Question | None:
    """A search: the subject and one to three content words of the sentence; None where it has none."""
    found = [word for word in dict.fromkeys(_content(sentence)) if word not in subject.name.lower()]
    if not found:
        return None
    kept = rng.sample(range(len(found)), k=min(len(found), rng.randint(1, 3)))
    words = [_otherwise(found[i], lexicon, rng) for i in sorted(kept)]
    return Question(" ".join([subject.title.lower(), *words]), "what", "")


def casual(question: str, rng: Random) -> str:
    """A question as it may be typed: in small letters, without its mark, shortened, or with a word of politeness."""
    text = question
    if rng.random() < 0.6:
        text = text.lower()
    if rng.random() < 0.5:
        text = text.rstrip("?.")
    if rng.random() < 0.3:
        text = re.sub(r"^(what|who|where|how|when) is\b", r"\1s", text, flags=re.IGNORECASE)
    if rng.random() < 0.15:
        opener = rng.choice(("please tell me: ", "hi, ", "so ", "ok, ", "and ", "tell me, "))
        text = opener + (text if text.startswith("I ") else text[0].lower() + text[1:])
    return text


def _answers(sentence: str, lexicon: Lexicon) -> Iterator[tuple[spans.Span, str, Sequence[str]]]:
    """The spans of the sentence that can be asked for, with kinds and openers."""
    if time := spans.time(sentence):
        yield time, "when", _QUESTION_WORDS["when"]
    if place := spans.place(sentence, "", lexicon):
        yield place, "where", _QUESTION_WORDS["where"]
    if quantity := spans.quantity(sentence):
        kind = "how-long" if quantity[1] == "duration" else "how-much"
        yield quantity[0], kind, _MEASURED[quantity[1]]
    if counted := spans.counted(sentence):
        yield counted[0], "how-many", [f"{opener} {counted[1]}" for opener in _QUESTION_WORDS["how-many"]]
    if by := re.search(r"\bby ((?:the )?[A-Z][\w'-]*(?: [A-Z][\w'-]*)*)", sentence):
        yield spans.Span(by.start(1), by.end(1), by[1]), "who", _QUESTION_WORDS["who"]
    words = sentence.rstrip(".!?").split()
    if len(words) > 6:  # what stands at the end is most often what the sentence tells
        tail = " ".join(words[-min(5, len(words) // 3) :])
        start = len(" ".join(words)) - len(tail)
        yield spans.Span(start, start + len(tail), tail), "what", _QUESTION_WORDS["what"]


def _in_bits(
    sentence: str, answer: spans.Span, opener: str, subject: Subject, lexicon: Lexicon, rng: Random
) -> str | None:
    """The question word, then what is kept of the words around the answer; None where nothing is left."""
    before, after = _content(sentence[: answer.start])[-_WINDOW:], _content(sentence[answer.end :])[:_WINDOW]
    about = subject.title.lower()
    used = set(opener.split())
    kept = [word for word in [*before, *after] if rng.random() < _KEPT and word not in about and word not in used]
    if not kept:
        return None
    words = [_otherwise(word, lexicon, rng) for word in kept[:6]]
    name = rng.choice([about, about, subject.pronoun, ""])
    return " ".join([opener, *rng.choice([[name, *words], [*words, name]])]).strip().replace("  ", " ")


def _otherwise(word: str, lexicon: Lexicon, rng: Random) -> str:
    """Sometimes a synonym, or another form of the word."""
    if rng.random() > _EXCHANGED:
        return word
    synonyms = lexicon.synonyms(word)
    base = lexicon.base(word, lexicon.part_of_speech(word) or "noun") or word
    return rng.choice([*synonyms[:2], base])


def _content(text: str) -> list[str]:
    return [word for word in re.findall(r"[a-z0-9][\w'-]*", text.lower()) if word not in _STOPWORDS]
