"""The encoder learns from its teacher, piece by piece."""

import re

import numpy as np
import pytest
import torch
from tokenizers import Tokenizer
from tokenizers.models import WordPiece
from tokenizers.pre_tokenizers import Whitespace
from tokenizers.processors import TemplateProcessing
from transformers import BertConfig, BertModel

from serve_app.words import word_vectors
from training.sentence_encoder import DIMENSIONS, Padded, SentenceEncoder, Taught, distil, read_by_teacher

SENTENCES = ["one two three", "three one", "two two one three two", "one"]


def teacher() -> tuple[BertModel, Tokenizer]:
    torch.manual_seed(0)
    vocabulary = {word: i for i, word in enumerate(["[PAD]", "[UNK]", "[CLS]", "[SEP]", "one", "two", "three"])}
    tokenizer = Tokenizer(WordPiece(vocabulary, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = Whitespace()
    tokenizer.post_processor = TemplateProcessing(
        single="[CLS] $A [SEP]", special_tokens=[("[CLS]", vocabulary["[CLS]"]), ("[SEP]", vocabulary["[SEP]"])]
    )
    config = BertConfig(
        vocab_size=len(vocabulary), hidden_size=80, num_hidden_layers=1, num_attention_heads=2, intermediate_size=32
    )
    bert = BertModel(config, add_pooling_layer=False)
    bert.train(False)
    return bert, tokenizer


def test_each_piece_gets_the_teachers_vector_of_it() -> None:
    bert, tokenizer = teacher()
    said: list[str] = []
    taught = read_by_teacher(bert, tokenizer, SENTENCES, said.append)
    spans = [taught.ids[a:b].tolist() for a, b in zip(taught.starts[:-1], taught.starts[1:], strict=True)]
    marks = [tokenizer.encode(sentence).ids[1:-1] for sentence in SENTENCES]
    assert sorted(spans) == sorted(ids for ids in marks if ids)
    assert taught.vectors.shape == (len(taught.ids), DIMENSIONS)
    assert re.search(r"\d+ of 4 sentences", said[0])
    # The same piece means different things in different company, and the same in the same.
    one = np.flatnonzero(taught.ids == tokenizer.token_to_id("one"))
    assert len({taught.vectors[place].tobytes() for place in one}) == len(one)


def test_it_comes_to_point_where_the_teacher_points() -> None:
    torch.manual_seed(0)
    chance = np.random.default_rng(0)
    directions = chance.standard_normal((40, DIMENSIONS))
    ids = chance.integers(2000, 2040, size=900)
    taught = Taught(ids, np.arange(0, 901, 9), directions[ids - 2000].astype(np.float16))
    said: list[str] = []
    distil(SentenceEncoder(word_vectors()), taught, 60, said.append)
    (cosine,) = re.findall(r"mean cosine (\d.\d+)", said[-1])
    assert float(cosine) > 0.4, "0 by chance, and all of the first steps count"


def test_texts_are_filled_up_and_known_by_their_turns() -> None:
    padded = Padded.of([[5, 6, 7], [8]], [2, 0])
    assert padded.ids.tolist() == [[5, 6, 7], [8, 0, 0]]
    assert padded.real.tolist() == [[True, True, True], [True, False, False]]
    assert padded.turns.tolist() == [[1, 1, 0], [0, 0, 0]]


@torch.inference_mode()
def test_company_changes_nothing() -> None:
    encoder = SentenceEncoder(word_vectors()).eval()
    for weight in encoder.parameters():
        torch.nn.init.normal_(weight, std=0.1)
    alone, shares = encoder(Padded.of([[2005, 2006]]))
    together, others = encoder(Padded.of([[2005, 2006], list(range(2000, 2030))]))
    assert together[0, :2] == pytest.approx(alone[0], abs=1e-5)
    assert others[0, :2] == pytest.approx(shares[0], abs=1e-5)
    assert float(others[0, 2:].sum()) == 0
