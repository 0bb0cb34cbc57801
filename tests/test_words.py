"""Words that carry meaning, and their vectors."""

import re
from pathlib import Path

import numpy as np
import pytest
from model2vec import StaticModel
from tokenizers import Tokenizer
from tokenizers.models import WordLevel

from serve_app.words import WordVectors, content_words, stems, unit, word_vectors


def likeness(one: str, other: str) -> float:
    vectors, _ = word_vectors()([one, other])
    return float(vectors[0] @ vectors[1])


def test_words_of_grammar_carry_no_meaning() -> None:
    assert content_words("How heavy is the lamp, and where was it made?") == ["heavy", "lamp", "made"]
    assert content_words("What is it?") == []


def test_numbers_and_times_are_one_word() -> None:
    assert content_words("From 10:30 it costs 4.50 euros, or 1,200.") == ["10:30", "costs", "4.50", "euros", "1,200"]


def test_other_scripts_have_words() -> None:
    assert content_words("Кошка спит. Η γάτα!") == ["кошка", "спит", "η", "γάτα"]


def test_inflected_words_share_a_stem() -> None:
    assert stems(["pods", "pod", "weighs", "weighing"]) == ["pod", "pod", "weigh", "weigh"]


@pytest.mark.parametrize(
    ("word", "like", "unlike"),
    [
        ("heavy", "weighs", "closes"),
        ("shut", "closes", "weighs"),
        ("kids", "children", "prices"),
        ("pets", "dogs", "showers"),
        ("old", "age", "length"),
    ],
)
def test_words_of_like_meaning_have_like_vectors(word: str, like: str, unlike: str) -> None:
    assert likeness(word, like) > likeness(word, unlike) + 0.2


def test_vectors_are_of_length_one_and_rare_words_count_more() -> None:
    vectors, counts = word_vectors()(["the", "house", "marchetti", "кошка", ""])
    assert np.linalg.norm(vectors, axis=1) == pytest.approx([1, 1, 1, 1, 0], abs=1e-5)
    assert counts[0] < 0.1 < counts[1] <= counts[2] <= 1
    assert vectors.dtype == counts.dtype == np.float32


def test_a_word_that_can_only_be_spelt_is_like_itself_alone() -> None:
    """Its letters' vectors made any two Russian words alike, and the question found another sentence."""
    assert likeness("кошка", "кошка") == pytest.approx(1)
    assert abs(likeness("кошка", "собака")) < 0.3
    assert abs(likeness("0555", "7.90")) < 0.3


def test_a_words_vector_does_not_depend_on_its_company() -> None:
    words = ["kayaks", "4.50", "house", "zxqvk"]
    together, _ = word_vectors()(words)
    for word, vector in zip(words, together, strict=True):
        assert word_vectors()([word])[0][0] == pytest.approx(vector, abs=1e-6)


def test_no_words_have_no_vectors() -> None:
    vectors, counts = word_vectors()([])
    assert (len(vectors), len(counts)) == (0, 0)


def test_rows_of_zeros_stay() -> None:
    assert unit(np.array([[3.0, 4.0], [0.0, 0.0]])).tolist() == [[0.6, 0.8], [0.0, 0.0]]


def test_a_folder_without_weights_is_refused_by_name(tmp_path: Path) -> None:
    tokenizer = Tokenizer(WordLevel({"a": 0, "[UNK]": 1}, unk_token="[UNK]"))
    StaticModel(np.ones((2, 4), dtype=np.int8), tokenizer).save_pretrained(tmp_path)
    with pytest.raises(ValueError, match=re.escape(str(tmp_path))):
        WordVectors(tmp_path)


def test_the_shipped_vectors_are_small() -> None:
    folder = Path("models/vectors")
    assert sum(file.stat().st_size for file in folder.iterdir()) < 8 * 2**20
    assert "Apache-2.0" in (folder / "README.md").read_text(encoding="utf-8")
