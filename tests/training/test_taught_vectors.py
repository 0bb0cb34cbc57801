"""Teaching brings questions nearer to the sentences that answer them, leaves the rest, and can be done again."""

from collections.abc import Iterator

import numpy as np
import pytest
from tokenizers import Tokenizer, pre_tokenizers
from tokenizers.models import WordLevel

from training import taught_vectors
from training.everyday import Question, Text

WORDS = ["heavy", "weighs", "grams", "costs", "euros", "opens", "morning", "cheap", "unused"]
TEXT = Text(
    "Shop",
    ("It weighs ten grams.", "It costs ten euros.", "It opens in the morning."),
    (Question("How heavy is it?", 0, "how-much"), Question("Is it cheap?", 1, "yes-no"), Question("Why?", None, "why")),
)


@pytest.fixture
def tokenizer() -> Tokenizer:
    made = Tokenizer(WordLevel({word: i for i, word in enumerate(["[UNK]", *WORDS])}, unk_token="[UNK]"))
    made.pre_tokenizer = pre_tokenizers.Whitespace()
    return made


@pytest.fixture(autouse=True)
def one_text(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(taught_vectors, "sample", lambda random: TEXT)
    monkeypatch.setattr(taught_vectors, "TEXTS", 640)
    yield


def taught(tokenizer: Tokenizer) -> tuple[np.ndarray, np.ndarray]:
    before = np.random.default_rng(0).standard_normal((len(WORDS) + 1, 16))
    before /= np.linalg.norm(before, axis=1, keepdims=True)
    return before, taught_vectors.taught(before, np.ones(len(before), dtype=np.float32), tokenizer)


def test_a_question_comes_nearer_to_its_answer(tokenizer: Tokenizer) -> None:
    before, after = taught(tokenizer)
    heavy, weighs, cheap, costs = (1 + WORDS.index(word) for word in ("heavy", "weighs", "cheap", "costs"))
    assert after[heavy] @ after[weighs] > before[heavy] @ before[weighs]
    assert after[cheap] @ after[costs] > before[cheap] @ before[costs]
    assert after[heavy] @ (after[weighs] - after[costs]) > before[heavy] @ (before[weighs] - before[costs])


def test_what_no_text_says_stays_where_it_was(tokenizer: Tokenizer) -> None:
    before, after = taught(tokenizer)
    assert after[-1] == pytest.approx(before[-1], abs=1e-6)
    assert np.linalg.norm(after, axis=1) == pytest.approx(np.ones(len(after)), abs=1e-5)


def test_the_same_again_gives_the_same(tokenizer: Tokenizer) -> None:
    assert (taught(tokenizer)[1] == taught(tokenizer)[1]).all()
