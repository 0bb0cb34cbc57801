"""What T5 imitates is the ranking's encoder, word by word."""

import numpy as np
import pytest
import torch

from serve_app.sentence_encoder import sentence_encoder
from serve_app.words import word_vectors
from tests.training.small import small_config
from tests.training.test_batches import LESSON
from tests.training.test_pieces import make_tokenizer
from training.batches import Encoder, collate
from training.distil import LAYERS, Imitation, Read, read_by_encoder
from training.t5 import T5

TEXTS = [*LESSON.turns, *LESSON.sentences]


@pytest.fixture(scope="module")
def encode() -> Encoder:
    return Encoder(make_tokenizer())


@pytest.fixture(scope="module")
def read(encode: Encoder) -> dict[str, Read]:
    return read_by_encoder(TEXTS, word_vectors(), encode)


@pytest.mark.parametrize("text", TEXTS)
def test_a_word_has_the_vector_that_the_server_reads(text: str, read: dict[str, Read]) -> None:
    vectors, _ = sentence_encoder().sentence(text)
    first = len(word_vectors().pieces(text.split()[0]))
    np.testing.assert_allclose(read[text].vectors[0], vectors[:first].mean(axis=0), atol=0.01)


@pytest.mark.parametrize("text", TEXTS)
def test_a_words_place_is_that_of_its_tokens(text: str, read: dict[str, Read], encode: Encoder) -> None:
    spelled = [encode.ids(text)[start:end] for start, end in read[text].places]
    assert spelled == [encode.ids(word) for word in text.split()]


def test_first_layers_come_to_imitate_it(read: dict[str, Read], encode: Encoder) -> None:
    torch.manual_seed(0)
    model = T5(small_config(len(make_tokenizer()), d_model=64, num_layers=LAYERS + 1))
    imitation, batch = Imitation(64), collate([encode(LESSON)])
    optimizer = torch.optim.AdamW([*model.parameters(), *imitation.parameters()], lr=3e-3)
    first = imitation(model.encode(batch.prompts), batch, read)
    for _ in range(40):
        optimizer.zero_grad()
        torch.autograd.backward(imitation(model.encode(batch.prompts), batch, read))
        optimizer.step()
    assert imitation(model.encode(batch.prompts), batch, read) < first / 3
    behind = model.encoder.get_submodule(f"block.{LAYERS}")
    assert all(weight.grad is None for weight in behind.parameters())
