"""The filter keeps what a sentence answers, and names what is wrong with the rest."""

from random import Random

import pytest

from tests.training.lexicon import SmallLexicon
from training.teacher_filter import STRANGERS, Record, fault, is_found, keep, strangers, tells_cause

LEXICON = SmallLexicon()
ARTICLE = (
    "Hollin Mill is a museum in Leeds.",
    "It was built in 1794 by Samuel Greg because the old mill had leaked.",
    "The mill has three floors and weighs 40 tonnes.",
    "Owls eat mice in its garden.",
    "The lid of the lamp is made of wood.",
)
OTHERS = tuple(f"Sentence {i} tells of other things than those." for i in range(20))


def record(index: int, question: str) -> Record:
    return Record("Hollin Mill", index, ARTICLE[index], question)


@pytest.mark.parametrize(
    ("index", "question"),
    [
        (0, "What is Hollin Mill?"),
        (0, "Where is Hollin Mill?"),
        (1, "When was Hollin Mill built?"),
        (1, "In which year was the mill built?"),
        (1, "Who built the mill?"),
        (1, "Why was Hollin Mill built?"),
        (1, "When was the mill constructed?"),  # a synonym
        (2, "How many floors does Hollin Mill have?"),
        (2, "How heavy is the mill?"),
        (3, "What do owls eat?"),
        (3, "What do owls feed on?"),
        (4, "What is the lid made of?"),
    ],
)
def test_kept(index: int, question: str) -> None:
    assert fault(record(index, question), ARTICLE, OTHERS, LEXICON) is None
    assert keep(record(index, question), ARTICLE, OTHERS, LEXICON)


@pytest.mark.parametrize(
    ("index", "question", "wrong"),
    [
        (1, "The mill was built.", "no question"),
        (1, "When was it built? Where?", "no question"),
        (1, "Built when?", "no question"),
        (1, "Who knows?", "length"),
        (1, "When was it built?", "vague"),
        (1, "What is the name of the mill?", "vague"),
        (1, "What is the difference between the two?", "vague"),
        (1, "When was Samuel Greg married?", "other words"),
        (1, "What is the largest mill?", "other words"),
        (3, "What are the most mice?", "superlative"),
        (1, "What is Hollin Mill?", "no definition"),  # another sentence defines it
        (0, "Who is Hollin Mill?", "no definition"),  # it is no person
        (4, "When was the lid made?", "no time"),
        (1, "Where was Hollin Mill built?", "no place"),
        (1, "How many mills were built?", "no such number"),
        (2, "How many mills have floors?", "no such number"),
        (1, "How heavy is Hollin Mill?", "no such measure"),
        (4, "Why is the lid made?", "no cause"),
        (2, "Who built the three floors?", "other words"),
        (3, "Who eats mice?", "no such agent"),
        (1, "What is Hollin Mill made of?", "no such phrase"),
        (4, "What is the wood of the lamp?", "not said"),
        (3, "What do owls do?", "no such object"),
        (3, "Do owls eat mice in the garden?", "no answer left"),
        (4, "Is the lid of the lamp old?", "open question"),
    ],
)
def test_dropped_and_why(index: int, question: str, wrong: str) -> None:
    assert fault(record(index, question), ARTICLE, OTHERS, LEXICON) == wrong


def test_a_near_copy_of_the_sentence_has_no_answer_left() -> None:
    asked = "When was the mill built in 1794 by Samuel Greg because the old mill leaked?"
    assert fault(record(1, asked), ARTICLE, OTHERS, LEXICON) == "no answer left"


def test_a_question_that_leads_elsewhere_is_not_found_again() -> None:
    crowd = tuple(f"When was mill {i} built, when was the mill built?" for i in range(5))
    assert is_found(record(1, "When was the mill built?"), ARTICLE, OTHERS)
    assert not is_found(record(1, "When was the mill built?"), ARTICLE, crowd)
    assert fault(record(1, "When was the mill built?"), ARTICLE, crowd, LEXICON) == "not found again"


def test_a_question_of_stop_words_is_not_found() -> None:
    assert not is_found(record(1, "What is it and who was that?"), ARTICLE, OTHERS)


def test_strangers_are_other_sentences_and_named_by_the_seed() -> None:
    pool = [f"Sentence {i}." for i in range(100)] + [ARTICLE[0]]
    found = strangers(pool, record(0, "What is it?"), Random(1))
    assert STRANGERS - 1 <= len(found) <= STRANGERS and ARTICLE[0] not in found
    assert found == strangers(pool, record(0, "What is it?"), Random(1))


def test_causes() -> None:
    assert tells_cause("It closed because it leaked.") and tells_cause("It is open, since it is new.")
    assert not tells_cause("It has been open since 1990.") and not tells_cause("It is open.")
