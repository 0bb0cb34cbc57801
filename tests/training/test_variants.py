"""Questions as people also ask them keep their answers."""

from training.questions import Question, TextQuestions
from training.variants import asked_again, asked_in_other_words, asked_with_courtesy, mistyped

WEIGHT, PLACE = "It weighs 2.4 kilograms.", "The tent is made in Oulu."


def question(ask: str, sentence: str, need: str) -> Question:
    return Question.model_validate({"ask": ask, "kind": "what", "needs": [need], "sentence": sentence})


HEAVY = question("How heavy is it?", WEIGHT, "2.4")
WEIGHS = question("What does it weigh?", WEIGHT, "2.4")
MADE = question("Where is it made?", PLACE, "Oulu")
INVENTED = Question.model_validate({"ask": "Who invented it?", "kind": "other-attribute", "declines": True})
TENT = TextQuestions(
    name="tent", title="Tent", text=f"{PLACE} {WEIGHT}", questions=(HEAVY, WEIGHS, INVENTED, MADE, HEAVY)
)


def test_it_is_asked_again_behind_another_exchange() -> None:
    again = list(asked_again(TENT))
    assert [each.ask for each in again] == [
        ("What does it weigh?", WEIGHT, "Where is it made?", PLACE, "What does it weigh?"),
        ("Where is it made?", PLACE, "How heavy is it?", WEIGHT, "Where is it made?"),
    ]
    assert [each.sentence for each in again] == [WEIGHT, PLACE]


def test_or_behind_another_question_that_has_the_same_answer() -> None:
    text = TENT.model_copy(update={"questions": (HEAVY, MADE, WEIGHS)})
    assert [each.ask for each in asked_in_other_words(text)] == [
        ("How heavy is it?", WEIGHT, "What does it weigh?"),
        ("What does it weigh?", WEIGHT, "How heavy is it?"),
    ]


def test_or_with_courtesy() -> None:
    polite = list(asked_with_courtesy(TENT))
    assert [each.ask for each in polite[:4]] == [
        ("Hi! How heavy is it?",),
        ("hello, what does it weigh?",),
        ("Thanks. Who invented it?",),
        ("Could you tell me where is it made?",),
    ]
    assert polite[2].declines


def test_or_with_one_slip() -> None:
    for question, slipped in zip((HEAVY, WEIGHS, INVENTED, MADE, HEAVY), mistyped(TENT), strict=True):
        assert slipped.ask != question.ask
        assert abs(len(slipped.ask[0]) - len(question.ask[0])) <= 1
        assert slipped.sentence == question.sentence
    assert list(mistyped(TENT)) == list(mistyped(TENT))
