"""Rules: hand-written sentences and the questions that they must bring, with every wording that the seeds choose."""

from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.training.lexicon import SmallLexicon
from training.asking import Subject, subject_of
from training.question_rules import KINDS, contains_answer, how_to, questions

LEXICON = SmallLexicon()
MILL = Subject("the mill")
ADA = Subject("Ada Marsh", "she", is_person=True)


def asked(sentence: str, subject: Subject = MILL) -> dict[str, str]:
    """All questions that forty seeds bring, with their answers."""
    found = (question for seed in range(40) for question in questions(sentence, subject, LEXICON, Random(seed)))
    return {question.text: question.answer for question in found}


@pytest.mark.parametrize(
    ("sentence", "question", "answer"),
    [
        ("It was built in 1794 by Samuel Greg.", "When was the mill built?", "in 1794"),
        ("It was built in 1794 by Samuel Greg.", "In which year was it built?", "in 1794"),
        ("It was built in 1794 by Samuel Greg.", "How old is the mill?", "in 1794"),
        ("In 1794, the mill was built.", "When was the mill built?", "in 1794"),
        ("The pool opens at seven in the morning.", "What time does the pool open?", "at seven in the morning"),
        ("It is closed on Mondays.", "On which days is the mill closed?", "on Mondays"),
        ("You must descale it every year.", "How often must I descale it?", "every year"),
        ("It was founded in the 5th century.", "In which century was the mill founded?", "in the 5th century"),
    ],
)
def test_when(sentence: str, question: str, answer: str) -> None:
    assert asked(sentence)[question] == answer


@pytest.mark.parametrize(
    ("sentence", "question", "answer"),
    [
        ("The mill is located in the north of Italy.", "Where is the mill?", "in the north of Italy"),
        ("The mill is located in the north of Italy.", "Where can I find the mill?", "in the north of Italy"),
        ("The museum is behind the station.", "Where is the museum?", "behind the station"),
        ("It was built in 1794 in Leeds.", "Where was it built?", "in Leeds"),
        ("You can leave bottles at the station.", "Where can I leave bottles?", "at the station"),
    ],
)
def test_where(sentence: str, question: str, answer: str) -> None:
    assert asked(sentence)[question] == answer


def test_a_place_of_a_known_sort_is_asked_for_by_it() -> None:
    assert asked("It was built in Leeds.")["In which city was the mill built?"] == "in Leeds"


@pytest.mark.parametrize(
    ("sentence", "question", "answer"),
    [
        ("It was built by Samuel Greg.", "Who built it?", "Samuel Greg"),
        ("It was written by Ada Marsh.", "Who wrote the mill?", "Ada Marsh"),  # no participle in front of an object
        ("The pool is run by the council.", "Who runs the pool?", "the council"),
        ("The water is held by a door.", "What holds the water?", "a door"),
        ("The mill is a film directed by Ida Lupino.", "Who directed the mill?", "Ida Lupino"),
    ],
)
def test_by_whom(sentence: str, question: str, answer: str) -> None:
    assert asked(sentence)[question] == answer


def test_questions_about_persons() -> None:
    assert "Who was Ada Marsh?" in asked("Ada Marsh was a poet and teacher.", ADA)
    assert asked("She discovered penicillin in 1928.", ADA)["Who discovered penicillin?"] == "She"
    assert asked("She married Tom Varga in 1950.", ADA)["Who did Ada Marsh marry?"] == "Tom Varga"
    assert asked("She died at the age of 81.", ADA)["At what age did she die?"] == "at the age of 81"
    assert asked("She was born in Leeds.", ADA)["Where was Ada Marsh born?"] == "in Leeds"


def test_definitions() -> None:
    found = asked("A lamp is a thing that gives light.", Subject("a lamp"))
    assert {"What is a lamp?", "What does a lamp mean?", "Tell me about a lamp."} <= set(found)
    assert not asked("It is a thing.", MILL)  # "What is the mill?" wants the sentence that names it


@pytest.mark.parametrize(
    ("sentence", "question", "answer"),
    [
        ("The museum has three floors.", "How many floors does the museum have?", "three"),
        ("There are 22 owls in the garden.", "How many owls are there in the garden?", "22"),
        ("She wrote four novels.", "How many novels did Ada Marsh write?", "four"),
    ],
)
def test_how_many(sentence: str, question: str, answer: str) -> None:
    assert asked(sentence, ADA)[question] == answer


@pytest.mark.parametrize(
    ("sentence", "question"),
    [
        ("The kettle weighs 1.8 kilograms.", "How heavy is the kettle?"),
        ("The kettle weighs 1.8 kilograms.", "What is the weight of the kettle?"),
        ("It weighs 1.8 kilograms.", "What is its weight?"),
        ("The river is 2,508 km long.", "How long is the river?"),
        ("The pool is 1.8 metres deep.", "How deep is the pool?"),
        ("A ticket costs 6 euros.", "How much does a ticket cost?"),
        ("A ticket costs $6.50.", "How expensive is a ticket?"),
        ("A lesson takes 45 minutes.", "How long does a lesson take?"),
        ("The guarantee lasts two years.", "How long does the guarantee last?"),
        ("The lake lies 12 kilometres north of Leeds.", "How far is the lake from Leeds?"),
    ],
)
def test_numbers_with_units_are_asked_for_in_other_words(sentence: str, question: str) -> None:
    assert question in asked(sentence)


def test_why() -> None:
    assert asked("The roof was replaced because it leaked.")["Why was the roof replaced?"] == "it leaked"
    assert "Why does it not open?" in asked("It does not open because it was closed.")


def test_objects_and_prepositions() -> None:
    assert asked("The lid is made of wood.")["What is the lid made of?"] == "wood"
    assert asked("Owls eat mice at night.", Subject("owl"))["What do owls eat?"] == "mice"
    assert asked("The owl feeds on mice.", Subject("owl"))["What does the owl feed on?"] == "mice"
    assert asked("The lid is yellow.")["What colour is the lid?"] == "yellow"


def test_the_largest_of_its_kind_is_asked_for_by_that() -> None:
    found = asked("Garda is the largest lake in Italy.", Subject("Garda"))
    assert found["Which is the largest lake in Italy?"] == "Garda"


def test_what_is_allowed_and_what_is_not() -> None:
    assert "Can I remove the filter?" in asked("You can remove the filter by pulling it.")
    assert "Are dogs allowed in the museum?" in asked("Dogs are not allowed in the museum.")
    assert "Do I have to open the lid?" in asked("You must open the lid.")


def test_how_to() -> None:
    assert asked("To open the lid, pull the lever.")["How do I open the lid?"] == "pull the lever."
    assert "How do I remove the filter?" in asked("You can remove the filter by pulling it.")
    assert not any(text.startswith("How") for text in asked("To the north, they open the lid."))


@pytest.mark.parametrize(
    ("title", "question"),
    [
        ("Change the date", "How do I change the date?"),
        ("How to change the date", "How do I change the date?"),
        ("Turning the lid", "How do I turn the lid?"),
        ("What is a notification?", "What is a notification?"),
        ("Mailing lists", None),
        ("Notifications", None),
    ],
)
def test_titles_of_instructions(title: str, question: str | None) -> None:
    found = [how_to(title, LEXICON, Random(seed)) for seed in range(20)]
    assert (question in {asked and asked.text for asked in found}) if question else found == [None] * 20


@pytest.mark.parametrize(
    "sentence",
    [
        "If the mill is old, it was built well.",  # two clauses: whose is what?
        "Along with the roof, which leaked, everything was replaced in 1990.",
        "Known as the old one in 1794.",
        "It was not built in 1794.",
        "The mill was.",
    ],
)
def test_nothing_is_asked_where_the_sentence_is_not_plain(sentence: str) -> None:
    assert not any(text.startswith(("When", "In", "Who")) for text in asked(sentence))


def test_a_second_verb_has_its_own_answer() -> None:
    found = asked("The pool opens at seven and closes at nine.")
    assert found["What time does the pool close?"] == "at nine"
    assert found["What time does the pool open?"] == "at seven"


@settings(deadline=None)
@given(
    st.sampled_from(["It", "The mill", "Ada Marsh", "Owls", "The old museum"]),
    st.sampled_from(["was built", "is", "has", "opens", "weighs", "was written", "can be removed", "eat", "is made"]),
    st.lists(
        st.sampled_from(
            [
                "in 1794",
                "by Samuel Greg",
                "in Leeds",
                "three floors",
                "1.8 kilograms",
                "of wood",
                "because it leaked",
                "a lamp",
            ]
        ),
        min_size=1,
        max_size=4,
    ),
    st.integers(0, 1000),
)
def test_no_question_contains_its_answer(subject: str, verb: str, rest: list[str], seed: int) -> None:
    sentence = f"{subject} {verb} {' '.join(rest)}."
    for question in questions(sentence, MILL, LEXICON, Random(seed)):
        assert question.kind in KINDS
        assert question.text[0].isupper() and question.text[-1] in "?."
        assert (
            not question.answer or question.answer in sentence or question.answer in sentence[0].lower() + sentence[1:]
        )
        assert not contains_answer(question.text, question.answer)


def test_a_seed_chooses_the_wordings() -> None:
    sentence = "It was built in 1794 in Leeds."
    first, again, other = (questions(sentence, MILL, LEXICON, Random(seed)) for seed in (1, 1, 5))
    assert first == again != other


def test_the_subject_of_a_text() -> None:
    assert subject_of("Mill", ["A mill is a building.", "It turns."], LEXICON) == Subject("a mill")
    assert subject_of("Great Wall", ["The Great Wall is a wall."], LEXICON) == Subject("the Great Wall")
    assert subject_of("Owl", ["Some owls are small."], LEXICON) == Subject("owl")
    ada = ["Ada Marsh was a poet.", "She lived in Leeds.", "Her novels are long."]
    assert subject_of("Ada Marsh", ada, LEXICON) == ADA
    assert subject_of("Ada Marsh", ada[:1], LEXICON) == Subject("Ada Marsh", "", is_person=True)
