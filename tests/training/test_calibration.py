"""The threshold divides what a text answers from what it does not say."""

import torch

from training.calibration import calibrated, development, dividing
from training.questions import DEVELOPMENT, load

ODDS = torch.tensor([[3.0, 1.0], [-1.0, 0.5], [-2.0, -3.0], [-1.5, -4.0], [2.0, 0.0]])
ANSWERS = torch.tensor([[1, 0], [0, 1], [0, 0], [1, 0], [0, 1]]).bool()  # the last one's best sentence is the wrong one


def test_what_is_answered_rightly_lies_above_and_what_is_not_said_below() -> None:
    assert dividing([3.0, 0.5, -1.5], [-2.0]) == -2.0
    assert dividing([3.0, 2.0, 1.0], [-2.0, 1.5, 0.5]) == 0.5
    assert dividing([1.0], [-1.0]) == -1.0


def test_of_each_question_the_best_sentence_counts() -> None:
    assert calibrated(lambda odds: odds, [(ODDS[:2], ANSWERS[:2]), (ODDS[2:], ANSWERS[2:])]) == -2.0


def test_the_development_questions_are_asked_of_their_texts() -> None:
    asked = [(text, question) for text in development() for question in text.questions]
    wanted = [question for text in load(DEVELOPMENT) if text.text for question in text.questions]
    assert len(asked) == len(wanted) > 400
    for (text, question), original in zip(asked, wanted, strict=True):
        assert {text.sentences[place] for place in question.answers} == {original.sentence} - {None}
