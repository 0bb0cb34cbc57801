"""What is taught is learnt: the reply, which sentence it is, and what words mean."""

import numpy as np
import pytest
import torch

from tests.training.small import small_config
from tests.training.test_batches import LESSON
from tests.training.test_pieces import make_tokenizer
from training.batches import Batch, Encoder, collate
from training.distil import LAYERS, Read
from training.lessons import UNKNOWN, Lesson
from training.losses import Choice, Learning
from training.sentence_encoder import DIMENSIONS
from training.t5 import T5

WIDTH = 32


READ = {LESSON.sentences[0]: Read([(0, 1)], np.ones((1, DIMENSIONS), dtype=np.float16))}


def a_learner() -> Learning:
    torch.manual_seed(0)
    return Learning(T5(small_config(len(make_tokenizer()), d_model=WIDTH, num_layers=LAYERS)))


@pytest.fixture
def batch() -> Batch:
    encode = Encoder(make_tokenizer())
    declined = Lesson(("who bakes?",), LESSON.passages, UNKNOWN)
    greeted = Lesson(("hi",), LESSON.passages[:1], "Hello!")
    return collate([encode(LESSON), encode(declined), encode(greeted)])


def test_all_of_them_fall(batch: Batch) -> None:
    learning = a_learner()
    optimizer = torch.optim.AdamW(learning.parameters(), lr=5e-3)
    first = learning(batch, READ)
    for _ in range(60):
        optimizer.zero_grad()
        torch.autograd.backward(learning(batch, READ).total)
        optimizer.step()
    last = learning(batch, READ)
    assert last.reply < first.reply / 2
    assert last.opening < first.opening / 2
    assert last.choice < first.choice / 2
    assert last.imitation < first.imitation / 2
    assert last.chosen == 1.0


def test_a_sentence_scores_as_its_tokens_do_in_the_mean(batch: Batch) -> None:
    choice = Choice(WIDTH)
    encoded = torch.randn(*batch.prompts.shape, WIDTH)
    scores = choice(encoded, batch)
    start, end = int(batch.starts[0, 2]), int(batch.ends[0, 2])
    torch.testing.assert_close(scores[0, 2], choice.sentence(encoded[0, start:end]).mean(), rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(scores[1, :1], choice.none(encoded[1, int(batch.starts[1, 0])]))
    assert (scores[2][batch.ends[2] == 0] < -1e3).all()


def test_small_talk_chooses_nothing(batch: Batch) -> None:
    learning = a_learner()
    alone = collate([Encoder(make_tokenizer())(Lesson(("hi",), LESSON.passages, "Hello!"))])
    assert learning(alone, READ).choice == 0
    assert learning(batch, READ).choice > 0
