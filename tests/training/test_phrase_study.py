"""Weights of small talk's evidence, learnt from development questions."""

import numpy as np

from serve_app.small_talk import THRESHOLD, WEIGHTS
from training import phrase_study
from training.questions import Question


def message(evidence: list[list[float]], *, talk: bool) -> phrase_study.Message:
    question = (
        Question(ask=("Hi",), kind="small-talk", phrase="greeting")
        if talk
        else Question(ask=("Why?",), kind="other-subject", declines=True)
    )
    return phrase_study.Message(question, np.array(evidence))


def test_what_tells_small_talk_from_questions_gets_the_weight() -> None:
    """By each message's best example: the first feature is telling, the second the same for all."""
    talk = [message([[0.9, 0.5, 0, 1], [0.1, 0.5, 0, 1]], talk=True) for _ in range(20)]
    asked = [message([[0.2, 0.5, 0, 1], [0.1, 0.5, 0, 1]], talk=False) for _ in range(20)]
    telling, same, unused, constant = phrase_study.learn(talk + asked)
    assert telling > 1 > abs(same)
    assert unused == 0
    assert 0.9 * telling + 0.5 * same + constant > 0 > 0.2 * telling + 0.5 * same + constant


def test_the_served_weights_are_those_of_the_development_questions() -> None:
    phrases = phrase_study.shipped_phrases()
    learnt = phrase_study.learn(phrase_study.messages(phrases))
    # A message's best example is found by the weights in use: learning again swings by this much, to and fro.
    assert np.allclose(learnt, [*WEIGHTS.values(), -THRESHOLD], atol=0.2)
