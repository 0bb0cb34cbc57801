"""The encoder in numpy reads as the one in PyTorch that was taught, whatever the length."""

import numpy as np
import pytest
import torch

from serve_app.sentence_encoder import EARLIER, LONGEST, SentenceEncoder, pieces, sentence_encoder
from serve_app.words import word_vectors
from training.sentence_encoder import DIMENSIONS, Padded
from training.sentence_encoder import SentenceEncoder as Taught

WORDS = word_vectors()
SENTENCES = [
    "It weighs 1.8 kilograms.",
    "Dogs are welcome if they are on a lead.",
    "Yes",
    "",
    "word " * 100,
    "火 ☃ naïve",
]


@pytest.fixture(scope="module")
def taught() -> Taught:
    """Weights at random: every part counts."""
    torch.manual_seed(0)
    encoder = Taught(WORDS)
    for weight in encoder.parameters():
        torch.nn.init.normal_(weight, std=0.1)
    return encoder.eval()


@pytest.fixture(scope="module")
def served(taught: Taught) -> SentenceEncoder:
    return SentenceEncoder({name: value.numpy() for name, value in taught.state_dict().items()}, WORDS)


@torch.inference_mode()
def test_sentences_are_read_as_they_were_taught(taught: Taught, served: SentenceEncoder) -> None:
    ids = [pieces(WORDS, sentence) for sentence in SENTENCES]
    vectors, _ = taught(Padded.of(ids))
    for sentence, own, expected in zip(SENTENCES, ids, vectors, strict=True):
        read, mean = served.sentence(sentence)
        assert mean == pytest.approx(read.sum(axis=0) / np.linalg.norm(read.sum(axis=0)), abs=1e-5)
        assert read.shape == (len(own), DIMENSIONS)
        np.testing.assert_allclose(read, expected[: len(own)], atol=1e-5)


@torch.inference_mode()
@pytest.mark.parametrize("earlier", ["", "What does the tent weigh?", "and " * 50])
def test_questions_are_read_behind_the_turn_that_they_lean_on(
    taught: Taught, served: SentenceEncoder, earlier: str
) -> None:
    before = pieces(WORDS, earlier)[:EARLIER] if earlier else []
    ids = [*before, *pieces(WORDS, "And the stove?")]
    vectors, shares = taught(Padded.of([ids], [len(before)]))
    read, counts = served.question("And the stove?", earlier)
    np.testing.assert_allclose(read, vectors[0], atol=1e-5)
    np.testing.assert_allclose(counts, shares[0], atol=1e-5)
    assert counts.sum() == pytest.approx(1, abs=1e-5)


def test_only_the_beginning_of_a_long_text_is_read(served: SentenceEncoder) -> None:
    assert len(served.sentence("word " * 1000)[0]) == LONGEST
    assert len(served.question("word " * 1000, "and " * 1000)[0]) == LONGEST


def test_a_sentence_is_read_once(served: SentenceEncoder) -> None:
    assert served.sentence("A pod is small.") is served.sentence("A pod is small.")


def test_the_shipped_one_knows_words_by_their_company() -> None:
    encoder = sentence_encoder()
    heavy = encoder.question("How heavy is it?")[0][1]
    weighs, blue = ((encoder.sentence(text)[0] @ heavy).max() for text in ("It weighs 95 grams.", "It is blue."))
    assert weighs > blue + 0.2


def test_words_are_in_no_other_order(served: SentenceEncoder) -> None:
    """Places count: a bag of words would be the same."""
    (one, _), (other, _) = served.sentence("the dog bit the man"), served.sentence("the man bit the dog")
    assert np.abs(one[1] - other[4]).max() > 1e-3
