"""Two rankings that answer by themselves."""

from collections.abc import Sequence

import pytest

from training import baselines
from training.baselines import Best, Ranker
from training.questions import Question, TextQuestions, declines

TEXT = "The tent is made in Oulu. It weighs 1.8 kilograms and folds flat. Aho sells tents on Mondays."


@pytest.mark.parametrize("ranker", [baselines.bm25, baselines.hybrid(40)])
def test_the_best_sentence_shares_words_with_the_question_and_none_does_without(ranker: Ranker) -> None:
    assert ranker(TEXT, ["what is its weight?", "It weighs 1.8.", "Is it folded?"]).sentence.startswith("It weighs")
    assert ranker(TEXT, ["who sells it on a monday"]).sentence.startswith("Aho")
    assert ranker(TEXT, ["Why?"]).score <= 0 < ranker(TEXT, ["In Oulu?"]).score


def test_bm25_reads_the_last_question_alone() -> None:
    assert baselines.bm25(TEXT, ["Made in Oulu?", "The tent is made in Oulu.", "weighs"]) == baselines.bm25(
        TEXT, ["weighs"]
    )


def test_a_reply_declines_at_the_threshold_and_below() -> None:
    best = Best("It weighs 1.8 kilograms.", 2.0)
    assert baselines.reply(best, 1.9) == best.sentence
    assert declines(baselines.reply(best, 2.0))


def test_the_threshold_is_where_answers_and_declinations_together_are_best() -> None:
    """Scores by question: answers at 5, 4, 3 and 1, silence at 3.5, 2 and 0. At 2, 3 of 4 and 2 of 3 are right."""
    answered = {"a": 5.0, "b": 4.0, "c": 3.0, "d": 1.0}
    silent = {"x": 3.5, "y": 2.0, "z": 0.0}
    questions = [
        Question(ask=(ask,), kind="what", needs=(("Oulu",),), sentence="The tent is made in Oulu.") for ask in answered
    ] + [Question(ask=(ask,), kind="other-subject", declines=True) for ask in silent]

    def ranker(text: str, dialog: Sequence[str]) -> Best:
        return Best("The tent is made in Oulu.", (answered | silent)[dialog[-1]])

    text = TextQuestions(name="tent", title="Tent", text=TEXT, questions=tuple(questions))
    small_talk = TextQuestions(
        name="talk", title="Talk", questions=(Question(ask=("Hi",), kind="small-talk", phrase="greeting"),)
    )
    assert baselines.chosen_threshold([text, small_talk], ranker) == 2.0
