"""A question is ranked as it was meant, whatever stands around it and however it was typed."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from serve_app.wording import as_asked, asked_once, spelt, to_the_point
from serve_app.words import all_words

OF_TEXT = frozenset(["roll", "gluten", "kubelet"])


@pytest.mark.parametrize(
    ("dialog", "once"),
    [
        (("How heavy is it?", "2 kg.", "how heavy is it"), ("how heavy is it",)),
        (
            ("Tents?", "Yes.", "How heavy?", "2 kg.", "How heavy?", "2 kg.", "How heavy?"),
            ("Tents?", "Yes.", "How heavy?"),
        ),
        (("How heavy is it?", "2 kg.", "How long is it?"), None),
        (("How heavy?", "2 kg.", "Red?", "Yes.", "How heavy?"), None),
        (("And then?", "One sleeps.", "And then?"), None),
        (("How heavy is it?",), None),
    ],
)
def test_what_is_said_again_at_once_is_asked_once(dialog: tuple[str, ...], once: tuple[str, ...] | None) -> None:
    assert tuple(asked_once(dialog)) == (dialog if once is None else once)


@pytest.mark.parametrize(
    ("typed", "point"),
    [
        ("Hi! What time do you open?", "What time do you open?"),
        ("hello there, good morning. what time do you open", "what time do you open"),
        ("Hi what time do you open", "what time do you open"),
        ("Thanks a lot. And on Sundays?", "And on Sundays?"),
        ("Great, thanks! How much is it?", "How much is it?"),
        ("Could you please tell me when it was founded, please?", "when it was founded?"),
        ("I'd like to know if dogs are allowed", "if dogs are allowed"),
        ("ok so where is it, thanks", "where is it"),
        ("Hello \u2013 do you know what a pod is?", "what a pod is?"),
    ],
)
def test_what_stands_around_a_question_is_left_out(typed: str, point: str) -> None:
    assert to_the_point(typed) == point


@pytest.mark.parametrize(
    "typed",
    [
        "Hello!",
        "Thank you",
        "How are you?",
        "Great Britain is where?",
        "Hello Kitty",
        "Do you know Peter?",
        "Good bread?",
        "Tell me about the bakery",
        "please",
        "",
        "Thanksgiving: when is it?",
    ],
)
def test_what_is_all_there_is_stays(typed: str) -> None:
    assert to_the_point(typed) == typed


@pytest.mark.parametrize(
    ("typed", "meant"),
    [
        ("wht tiem", "what time"),
        ("opne?", "open?"),
        ("How mcuh, a rol?", "How much, a roll?"),
        ("WHT", "what"),
        ("Wht is a kubelt", "what is a kubelet"),
        ("who is Zorn", "who is Zorn"),
        ("is there wifi, or a usb hub", "is there wifi, or a usb hub"),
        ("bake a pint of vitamins", "bake a pint of vitamins"),
        ("what zq xy", "what zq xy"),
        ("ge\u00f6ffnet opn3", "ge\u00f6ffnet opn3"),
        ("opne opne opne opne opne", "open open open open opne"),
    ],
)
def test_a_slip_is_read_as_the_likeliest_word(typed: str, meant: str) -> None:
    assert spelt(typed, OF_TEXT) == meant


def test_a_word_of_the_text_is_likelier_than_a_common_one() -> None:
    assert spelt("the rolle", frozenset()) == "the roll"
    assert spelt("the rolle", frozenset(["rollo"])) == "the rollo"


def test_the_last_turn_alone_is_read_so() -> None:
    dialog = ["Hi! Wht?", "Hello!", "Hi! Wht time?"]
    assert as_asked(dialog, OF_TEXT) == ["Hi! Wht?", "Hello!", "what time?"]
    assert as_asked([], OF_TEXT) == []


@given(st.text(max_size=400))
def test_words_of_the_text_stay_and_something_is_left_of_any_turn(text: str) -> None:
    assert spelt(text, frozenset(all_words(text))) == text
    assert bool(all_words(to_the_point(text))) == bool(all_words(text))
