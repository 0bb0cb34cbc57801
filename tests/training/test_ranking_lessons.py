"""What is added to handwritten texts is right: each question still has the sentence that answers it."""

from random import Random

from training import handwritten
from training.handwritten import DECLINED, Question, Text
from training.ranking_lessons import MERGED, TALK_A_TEXT, definitions, merged, ranking_texts, titled

TENT = Text(
    "The Oulu tent",
    (("The tent is a shelter for three.", "It weighs 1.8 kilograms."), ("Dogs may not sleep in it.",)),
    (
        Question(("How heavy is it?",), (1,)),
        Question(("May my dog come in?",), (2,)),
        Question(("May my dog come in?", "Dogs may not sleep in it.", "And what does it weigh?"), (1,)),
        Question(("Who sells it?",), ()),
    ),
)
LAMP = Text("Lamp", (("The lamp is a light.", "It is red."),), (Question(("What colour is it?",), (1,)),))


def sentences(text: Text) -> list[str]:
    return [sentence for paragraph in text.paragraphs for sentence in paragraph]


def answered(text: Text) -> list[tuple[str, list[str]]]:
    """Each question's last turn, and what answers it."""
    said = sentences(text)
    return [(question.dialog[-1], [said[place] for place in question.answers]) for question in text.questions]


def test_a_title_moves_all_by_one() -> None:
    assert titled(TENT).paragraphs[0] == ("The Oulu tent",)
    assert answered(titled(TENT)) == answered(TENT)


def test_definitions_are_asked_for() -> None:
    asked = {question for seed in range(40) for question in definitions(TENT, Random(seed))}
    assert {question.answers for question in asked} == {(0,)}, "`It` and `Dogs` define nothing"
    assert {"What is the tent?", "define the tent"} < {question.dialog[0] for question in asked}


def test_of_several_texts_each_question_says_which_it_means() -> None:
    both = merged([TENT, LAMP])
    assert both.paragraphs == (("The Oulu tent",), *TENT.paragraphs, ("Lamp",), *LAMP.paragraphs)
    assert answered(both) == [
        ("How heavy is it?", ["It weighs 1.8 kilograms."]),
        ("And what does it weigh?", ["It weighs 1.8 kilograms."]),
        ("Who sells it?", []),
        ("What colour is it?", ["It is red."]),
    ], "a dog could be anybody's"
    assert both.questions[-1].dialog == ("What is Lamp?", "The lamp is a light.", "What colour is it?")


def test_every_text_comes_with_small_talk_that_nothing_answers() -> None:
    made = list(ranking_texts([TENT, LAMP] * MERGED, ["hello", "thanks", "bye", "who are you"]))
    assert len(made) == 2 * MERGED + 2
    talk = [q for q in made[0].questions if q.dialog[0] in {"hello", "thanks", "bye", "who are you"}]
    assert len({question.dialog for question in talk}) == TALK_A_TEXT
    assert not any(question.answers for question in talk)


def test_no_committed_text_loses_an_answer() -> None:
    for text in ranking_texts(handwritten.load()[:60], ["hello", "thanks", "bye"]):
        said = sentences(text)
        for question in text.questions:
            assert all(0 <= place < len(said) for place in question.answers)
            assert all(turn in said or turn == DECLINED for turn in question.dialog[1::2])
