"""What a question wants, and which sentences have it."""

import time

import pytest

from serve_app.question_words import Want, held, wanted


@pytest.mark.parametrize(
    ("question", "want"),
    [
        ("How long does it take?", "duration"),
        ("how much time do I need", "duration"),
        ("How long is the rope?", "number"),
        ("How heavy is it?", "number"),
        ("What does a tent cost?", "number"),
        ("What is the height of the tower?", "number"),
        ("When was it built?", "time"),
        ("On which day is the shop shut?", "time"),
        ("Who made it?", "name"),
        ("Whose idea was it?", "name"),
        ("Where can I park?", "place"),
        ("In which town was she born?", "place"),
        ("Why did it close?", "reason"),
        ("What made her quit?", "reason"),
        ("How do I reset it?", "instruction"),
        ("It does not start. What should I do?", "instruction"),
        ("What is a pod?", "definition"),
        ("what's the snapnest", "definition"),
        ("Can I bring a dog?", "permission"),
        ("Which cake is the best?", None),
        ("Tell me more.", None),
        ("", None),
    ],
)
def test_what_a_question_wants(question: str, want: Want | None) -> None:
    assert wanted([question]) == want


def test_a_question_that_goes_on_wants_what_the_one_before_did() -> None:
    assert wanted(["How much is a tent?", "A tent is 14 pounds.", "And a caravan?"]) == "number"
    assert wanted(["How much is a tent?", "14 pounds.", "And a caravan?", "22 pounds.", "What about electricity?"]) == (
        "number"
    )
    assert wanted(["How much is a tent?", "A tent is 14 pounds.", "And where is the tap?"]) == "place"
    assert wanted(["How much is a tent?", "A tent is 14 pounds.", "Thank you!"]) is None


@pytest.mark.parametrize(
    ("sentence", "has", "has_not"),
    [
        ("The tour lasts 40 minutes.", {"duration", "number", "time"}, {"name", "reason"}),
        ("The rope has forty metres.", {"number"}, {"duration", "time"}),
        ("It opened in 1931.", {"time", "number", "place"}, {"duration"}),
        ("It opens at 7:30.", {"time", "number"}, {"duration"}),
        ("The engineer Tobias Wren designed it.", {"name"}, {"number", "time"}),
        ("Please push both levers under the edge.", {"instruction", "permission", "place"}, {"number"}),
        ("3) Point the camera at the code.", {"instruction", "number"}, {"time"}),
        ("You can wash your dog behind the barn.", {"instruction", "place"}, {"number"}),
        ("A pod is the smallest unit.", {"definition"}, {"number", "reason", "place"}),
        ("It was closed because nobody came.", {"reason"}, {"number"}),
        ("Dogs don't have to be on a lead.", {"permission"}, {"number"}),
    ],
)
def test_what_a_sentence_has(sentence: str, has: set[Want], has_not: set[Want]) -> None:
    assert held(sentence) >= has
    assert not held(sentence) & has_not


@pytest.mark.parametrize("sentence", ["", "...", "1)", "\0", "🙂", "Кошка спит."])
def test_any_sentence_is_read(sentence: str) -> None:
    assert held(sentence) <= {"number", "instruction"}


def test_a_dialogue_of_turns_that_only_go_on_is_followed_back_a_few_turns() -> None:
    """Each was a call within a call: a thousand of them were a RecursionError."""
    assert wanted(["And?"] * 10_001) is None
    assert wanted(["How much is a tent?", "14 pounds."] + ["And?", "No."] * 3 + ["And?"]) is None
    assert wanted(["How much is a tent?", "14 pounds."] + ["And?", "No."] * 2 + ["And?"]) == "number"


def test_a_long_question_is_read_at_its_end() -> None:
    """Patterns that begin anywhere and end anywhere took 0.7 s for 16,000 characters, in which no other thread ran."""
    started = time.process_time()
    wanted(["what is " * 20_000])
    assert time.process_time() - started < 0.2
    assert wanted(["word " * 1000 + "How much is it?"]) == "number"
