"""Questions in bits keep to the sentence's words, and never say the answer."""

import re
from random import Random

import pytest

from tests.training.lexicon import SmallLexicon
from training.asking import Subject
from training.noisy_questions import casual, keywords, noisy
from training.question_rules import contains_answer

LEXICON = SmallLexicon()
MILL = Subject("the mill")
SENTENCE = "The old mill was built in 1794 by Samuel Greg beside the river in Leeds and has three floors."


@pytest.fixture(scope="module")
def asked() -> list[tuple[str, str, str]]:
    return [
        (question.text, question.kind, question.answer)
        for seed in range(60)
        for question in noisy(SENTENCE, MILL, LEXICON, Random(seed))
    ]


def test_each_answer_of_the_sentence_is_asked_for_by_its_word(asked: list[tuple[str, str, str]]) -> None:
    answers = {(kind, answer) for _, kind, answer in asked}
    assert {
        ("when", "in 1794"),
        ("who", "Samuel Greg"),
        ("where", "beside the river"),
        ("how-many", "three"),
    } <= answers
    assert all(text.startswith(("when", "what year")) for text, kind, _ in asked if kind == "when")
    assert all("floors" in text for text, kind, _ in asked if kind == "how-many")


def test_no_question_says_its_answer(asked: list[tuple[str, str, str]]) -> None:
    assert asked and not any(contains_answer(text, answer) for text, _, answer in asked)


def test_other_words_are_the_sentences_or_synonyms(asked: list[tuple[str, str, str]]) -> None:
    said = set(re.findall(r"\w+", SENTENCE.lower())) | {"mill", "it", "build", "floor", "construct", "have"}
    openers = {
        "when",
        "what",
        "year",
        "was",
        "who",
        "by",
        "whom",
        "where",
        "is",
        "place",
        "how",
        "many",
        "number",
        "of",
        "which",
    }
    assert {word for text, _, _ in asked for word in text.split()} <= said | openers
    assert any("construct" in text for text, _, _ in asked)


def test_keywords_are_the_subject_and_some_words() -> None:
    found = keywords(SENTENCE, MILL, LEXICON, Random(1))
    assert found and found.text.startswith("mill ") and 2 <= len(found.text.split()) <= 4
    assert keywords("It was there.", MILL, LEXICON, Random(1)) is None


def test_casual_questions_lose_capitals_and_marks_but_no_words() -> None:
    typed = {casual("Where is the mill?", Random(seed)) for seed in range(200)}
    assert {"where is the mill", "Where is the mill", "wheres the mill", "Where is the mill?"} <= typed
    assert all("the mill" in text.lower() for text in typed)
