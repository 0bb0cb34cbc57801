"""Pure: handwritten texts -> the texts that the ranking is taught on, with what is seldom in them and often in use.

Titles as headings; greetings and thanks, which no sentence answers; "What is X?" where a sentence says it; and several
texts as one, in which a question that leans on the one before it is about one of them.
"""

import re
from collections.abc import Iterator, Sequence
from itertools import accumulate
from random import Random

from training.handwritten import Question, Text

TALK_A_TEXT = 3  # lines of small talk
MERGED = 3  # texts

_DEFINES = re.compile(r"((?:An? |The )?[\w-]+(?: [\w-]+){0,2}?) (is|are) (?:an? |the |one of )")
# What a sentence with another subject, or none, begins with.
_NO_SUBJECT = re.compile(r"(It|Its|He|His|She|Her|They|Their|This|That|These|There|Here|What|Who|If|When|Where|As)\b")
_ASKS_WHAT = (
    "What {is} {subject}?", "what {is} {subject}", "what's {subject}", "define {subject}", "explain {subject}",
    "And what {is} {subject}?", "what do you mean by {subject}", "tell me what {subject} {is}",
)  # fmt: skip
_LEANS = re.compile(r"\b(it|its|he|she|they|them|him|her|his|their)\b", re.I)


def ranking_texts(texts: Sequence[Text], small_talk: Sequence[str], seed: int = 0) -> Iterator[Text]:
    """Each text once, every second one titled, and as many merged ones as there are groups of `MERGED`.

    small_talk: what people say that no text answers.
    """
    chance = Random(seed)
    for number, text in enumerate(texts):
        added = (
            *definitions(text, chance),
            *(Question((line,), ()) for line in chance.sample(small_talk, TALK_A_TEXT)),
        )
        with_all = Text(text.title, text.paragraphs, (*text.questions, *added))
        yield titled(with_all) if number % 2 else with_all
    for first in range(0, len(texts) - MERGED + 1, MERGED):
        yield merged(texts[first : first + MERGED])


def titled(text: Text) -> Text:
    """With its title as a heading, which answers nothing."""
    return Text(text.title, ((text.title,), *text.paragraphs), tuple(_moved(text.questions, 1)))


def definitions(text: Text, chance: Random) -> Iterator[Question]:
    """What is asked where a sentence says what its subject is."""
    for place, sentence in enumerate(text.sentences):
        if (found := _DEFINES.match(sentence)) and not _NO_SUBJECT.match(sentence):
            subject, verb = found.groups()
            named = re.sub(r"^(An?|The) ", lambda article: article.group().lower(), subject)
            yield Question((chance.choice(_ASKS_WHAT).format(subject=named, **{"is": verb}),), (place,))


def merged(texts: Sequence[Text]) -> Text:
    """One after the other, with the questions that lean on an earlier turn: on their own, or on what a text is."""
    sizes = [sum(map(len, text.paragraphs)) for text in texts]
    questions: list[Question] = []
    for text, start in zip(texts, accumulate(sizes, initial=0), strict=False):
        opening = (f"What is {text.title}?", text.paragraphs[0][0])
        for question in _moved(text.questions, start):
            if len(question.dialog) > 1:
                questions.append(question)
            elif _LEANS.search(question.dialog[0]) and start not in question.answers:
                questions.append(Question((*opening, *question.dialog), question.answers))
    paragraphs = (paragraph for text in texts for paragraph in ((text.title,), *text.paragraphs))
    return Text(texts[0].title, tuple(paragraphs), tuple(_behind_titles(questions, sizes)))


def _behind_titles(questions: Sequence[Question], sizes: Sequence[int]) -> Iterator[Question]:
    """Places counted with a title before each text."""
    ends = list(accumulate(sizes))
    for question in questions:
        places = (place + 1 + sum(place >= end for end in ends) for place in question.answers)
        yield Question(question.dialog, tuple(places))


def _moved(questions: Sequence[Question], by: int) -> Iterator[Question]:
    return (Question(each.dialog, tuple(place + by for place in each.answers)) for each in questions)
