"""What counts as right, as a loop, as made up: cases written by hand."""

import math
from typing import Any

import pytest

from training.judging import Known, Share, words
from training.questions import Question

TEXT = "The tent is made in Oulu. It weighs 1.8 kilograms and folds flat. Dr. Aho doesn't sell it on Mondays."
PHRASES = ("Hello! What would you like to know?", "I don't know.")
KNOWN = Known(TEXT, PHRASES, passage_words=40)
HEAVY: dict[str, Any] = {"ask": "How heavy?", "kind": "how-much", "needs": ["1.8"], "sentence": "It weighs 1.8."}


def asked(**changes: Any) -> Question:
    return Question.model_validate(HEAVY | changes)


def test_a_sentence_of_the_text_is_right_and_nothing_is_wrong_with_it() -> None:
    verdict = KNOWN.judge("It weighs 1.8 kilograms and folds flat.", asked())
    assert (verdict.right, verdict.declines, verdict.loops) == (True, False, False)
    assert verdict.strange_sentences == verdict.strange_words == ()


@pytest.mark.parametrize(
    "reply", ["", *PHRASES, "the tent is made in Oulu", "Dr. Aho doesn\u2019t sell it on Mondays."]
)
def test_what_the_knowledge_or_the_phrases_say_is_not_strange(reply: str) -> None:
    verdict = KNOWN.judge(reply, asked())
    assert verdict.strange_sentences == verdict.strange_words == ()
    assert not verdict.right


def test_a_sentence_that_is_put_together_is_strange_and_its_words_are_not() -> None:
    verdict = KNOWN.judge("The tent is made in Oulu. The tent weighs 1.8 kilograms.", asked())
    assert verdict.right
    assert verdict.strange_sentences == ("The tent weighs 1.8 kilograms.",)
    assert verdict.strange_words == ()


def test_half_a_sentence_is_strange() -> None:
    assert KNOWN.judge("It weighs 1.8 kilograms", asked()).strange_sentences


def test_a_piece_of_a_sentence_that_passages_cut_is_known() -> None:
    piece = "It weighs 1.8 kilograms"
    assert not Known(TEXT, (), passage_words=4).judge(piece, asked()).strange_sentences


def test_words_that_stand_nowhere_are_strange_and_those_of_the_dialogue_are_not() -> None:
    dialog = ("Is it a yurt?", "The tent is made in Oulu.", "How heavy?")
    verdict = KNOWN.judge("The yurt weighs 8.1 kilogrammars.", asked(ask=dialog))
    assert verdict.strange_words == ("8.1", "kilogrammars")


@pytest.mark.parametrize(
    ("reply", "loops"),
    [
        ("It weighs and folds and weighs and folds and weighs.", True),
        ("it it it it it", True),
        ("Made in Oulu, it weighs 1.8. Made in Oulu, it folds.", True),
        ("Made in Oulu. Made in Oulu.", False),  # three words
        ("The tent is made in Oulu. It weighs 1.8 kilograms and folds flat.", False),
        ("", False),
    ],
)
def test_a_run_of_four_words_that_comes_twice_is_a_loop(reply: str, loops: bool) -> None:
    assert KNOWN.judge(reply, asked()).loops is loops


def test_it_is_no_loop_where_the_text_has_it_as_often() -> None:
    text = "The red tent is made in Oulu. The blue tent is made in Oulu."
    assert not Known(text, (), 40).judge(text, asked()).loops
    assert Known(text, (), 40).judge(f"{text} {text}", asked()).loops


def test_who_declines_is_right_where_the_text_is_silent_only() -> None:
    silent = asked(kind="other-subject", needs=(), sentence=None, declines=True)
    assert KNOWN.judge("I don't know.", silent).right
    verdict = KNOWN.judge("I don't know.", asked())
    assert verdict.declines and not verdict.right


def test_words_are_compared_without_case_and_marks() -> None:
    assert words("\u201cOpen\u201d, 6:30\u20137 PM; 1.8 kg. Don\u2019t!") == (
        "open",
        "6:30",
        "7",
        "pm",
        "1.8",
        "kg",
        "don't",
    )


# --- shares ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("hits", "of"), [(0, 10), (5, 10), (58, 75), (10, 10), (1, 1), (1, 476)])
def test_wilsons_interval_ends_where_the_share_is_just_likely(hits: int, of: int) -> None:
    """1.96 standard deviations from what was found, by the deviation there; or at 0 and 1."""
    share = Share(hits, of)
    for end in share.interval:
        deviation = math.sqrt(end * (1 - end) / of)
        assert abs(share.value - end) == pytest.approx(1.96 * deviation, abs=1e-9)
    assert 0 <= share.interval[0] <= share.value <= share.interval[1] <= 1


def test_a_share_is_written_with_its_interval() -> None:
    assert str(Share.count([True] * 58 + [False] * 17)) == "0.77 (0.67-0.85)"


def test_what_is_offered_with_a_doubt_declines_and_is_no_answer() -> None:
    known = Known(TEXT, PHRASES, 40, unsure="I am not sure, but this comes nearest.")
    offer = "I am not sure, but this comes nearest. It weighs 1.8 kilograms and folds flat."
    verdict = known.judge(offer, asked())
    assert (verdict.right, verdict.holds_it, verdict.offers) == (False, True, True)
    assert verdict.strange_sentences == verdict.strange_words == ()
    unanswerable = Question(ask=("Who sells it?",), kind="other-attribute", declines=True)
    assert known.judge(offer, unanswerable).right
