"""Encoder and weights are taught on what the server sees, and it ranks by them as they were taught."""

import re

import numpy as np
import pytest
import torch

from serve_app import grounding
from serve_app.evidence import CLOSENESS, FEATURES, SentenceIndex
from serve_app.sentence_encoder import SentenceEncoder as Served
from serve_app.words import word_vectors
from training.handwritten import Question, Text
from training.ranking import CHOSEN, Lesson, Ranker, by_words, choose, lesson, teach, weights_of
from training.ranking_lessons import titled
from training.sentence_encoder import SentenceEncoder

WORDS = word_vectors()
TENT = Text(
    "The Oulu tent",
    (("The tent is made in Oulu.", "It weighs 1.8 kilograms."), ("Dogs may not sleep in it.", "It costs 300 euros.")),
    (
        Question(("How heavy is it?",), (1,)),
        Question(("How heavy is it?", "It weighs 1.8 kilograms.", "And what is the price?"), (3,)),
        Question(("May my pet come in?",), (2,)),
        Question(("Who invented the telephone?",), ()),
        Question(("Tell me about it.",), (0, 1)),
    ),
)


def ranker() -> Ranker:
    torch.manual_seed(0)
    encoder = SentenceEncoder(WORDS)
    for weight in encoder.parameters():
        torch.nn.init.normal_(weight, std=0.1)
    made = Ranker(encoder, np.linspace(-1, 1, len(FEATURES)), 0.5)
    torch.nn.init.normal_(made.closeness)
    return made.eval()


@torch.inference_mode()
@pytest.mark.parametrize("text", [TENT, titled(TENT)], ids=["plain", "titled"])
def test_the_server_ranks_as_it_was_taught(text: Text) -> None:
    """The same log-odds, of each question for each sentence."""
    made = ranker()
    expected = made(lesson(text, WORDS))
    served = Served({name: value.numpy() for name, value in made.encoder.state_dict().items()}, WORDS)
    learnt = weights_of(made, np.zeros(len(FEATURES)), 0.0)["by reading"]
    index = SentenceIndex(text.paragraphs, WORDS)
    for question, odds in zip(text.questions, expected, strict=True):
        closeness = index.closeness(question.dialog, np.arange(len(index.sentences)), served)
        columns = np.column_stack([index.evidence(question.dialog), closeness])
        own = columns @ [learnt[name] for name in (*FEATURES, *CLOSENESS)] - learnt["threshold"]
        assert own == pytest.approx(odds.numpy(), abs=0.02), "weights are rounded to three digits"


def test_a_title_is_a_heading_and_no_answer() -> None:
    made = titled(TENT)
    assert made.paragraphs[0] == ("The Oulu tent",)
    assert [question.answers for question in made.questions] == [(2,), (4,), (3,), (), (1, 2)]
    columns = lesson(made, WORDS).evidence[0, :, FEATURES.index("heading")]
    assert columns.tolist() == [1, 0, 0, 0, 0]


def test_what_answers_is_marked(lessons: list[Lesson]) -> None:
    assert lessons[0].answers.int().tolist() == [[0, 1, 0, 0], [0, 0, 0, 1], [0, 0, 1, 0], [0, 0, 0, 0], [1, 1, 0, 0]]


@pytest.fixture(scope="module")
def lessons() -> list[Lesson]:
    return [lesson(TENT, WORDS)]


def test_teaching_brings_the_right_sentences_to_the_front(lessons: list[Lesson]) -> None:
    weights, threshold = by_words(lessons)
    made, said = Ranker(SentenceEncoder(WORDS, dropout=0.0), weights, threshold), list[str]()
    teach(made, lessons, 60, said.append)
    first, *_, last = (float(re.findall(r"loss (\d+\.\d+)", line)[0]) for line in said)
    assert last < first / 4
    with torch.inference_mode():
        odds = made(lessons[0])
    assert odds.argmax(1)[:3].tolist() == [1, 3, 2]
    assert (odds[:3].max(1).values > 0).all()
    assert odds[3].max() < 0


def test_the_shipped_weights_have_what_was_chosen() -> None:
    for stage in (grounding.by_words(), grounding.by_reading()):
        assert {feature: stage.features[FEATURES.index(feature)] for feature in CHOSEN} == CHOSEN
    weights = torch.zeros(len(FEATURES))
    choose(weights)
    assert {FEATURES[place] for place in weights.nonzero().flatten()} == set(CHOSEN)
