"""MiniLM rewritten as a T5: on a small random BERT, what the norms cannot lose is computed alike."""

from typing import Any

import pytest
import torch
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import BertConfig, BertModel, PreTrainedTokenizerFast

from tests.training.test_pieces import TEXTS, make_tokenizer
from training.pieces import CONTEXT, KNOWLEDGE
from training.reader import CODE, CONTENT, IDENTITY, ONE, PREVIOUS, RELEVANCE, WIDTH, build_reader

WORDS = [
    "[PAD]",
    "[UNK]",
    "[CLS]",
    "[SEP]",
    "[MASK]",
    "the",
    "bakery",
    "opens",
    "at",
    "seven",
    "a",
    "pod",
    "is",
    "small",
]
SAMPLE = ["the bakery opens at seven.", "a pod is small."]
WORDS += ["weighs", "of", ".", "?"]


def bert_tokenizer() -> PreTrainedTokenizerFast:
    tokenizer = Tokenizer(models.WordLevel({word: index for index, word in enumerate(WORDS)}, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    return PreTrainedTokenizerFast(  # type: ignore[no-untyped-call]  # transformers leaves it unannotated
        tokenizer_object=tokenizer, unk_token="[UNK]", pad_token="[PAD]"
    )


@pytest.fixture(scope="module")
def bert() -> Any:
    """Three layers with norms and biases unlike 1 and 0, and no positions, which the rewriting does not keep."""
    torch.manual_seed(0)
    model = BertModel(BertConfig(vocab_size=len(WORDS), hidden_size=CONTENT, intermediate_size=64, num_hidden_layers=3))
    with torch.no_grad():
        for name, weight in model.named_parameters():
            if name.endswith("LayerNorm.weight"):
                weight.uniform_(0.5, 0.7)
            elif name.endswith("bias"):
                weight.normal_(std=0.1)
        model.embeddings.position_embeddings.weight.zero_()
    model.train(False)
    return model


@torch.no_grad()
def test_the_encoder_points_where_bert_points(bert: Any) -> None:
    ours, theirs = make_tokenizer(), bert_tokenizer()
    model = build_reader(bert, theirs, ours, SAMPLE, TEXTS)
    text = "the bakery opens at seven"
    ids = torch.tensor([ours.encode(text, add_special_tokens=False)])
    assert ids.shape[1] == len(text.split())
    wanted = (
        bert(torch.tensor([theirs.encode(text)])).last_hidden_state[0] - bert.encoder.layer[-1].output.LayerNorm.bias
    )
    got = model.encoder(ids).last_hidden_state[0, :, :CONTENT]
    assert torch.cosine_similarity(wanted, got, dim=1).min() > 0.95


@torch.no_grad()
def test_wires_carry_each_tokens_code_and_the_one_before(bert: Any) -> None:
    ours = make_tokenizer()
    model = build_reader(bert, bert_tokenizer(), ours, SAMPLE, TEXTS)
    ids = torch.tensor(
        [ours.encode(f"the bakery opens at seven {KNOWLEDGE.removeprefix('▁')}", add_special_tokens=False)]
    )
    stream = model.encoder(ids).last_hidden_state[0]
    codes = model.shared.weight[ids[0]][:, IDENTITY]
    assert stream.shape[1] == WIDTH
    assert torch.equal(stream[:, IDENTITY].sign(), codes)
    assert torch.equal(stream[1:, PREVIOUS].sign(), codes[:-1])
    assert (stream[:, ONE] > 0).all()
    assert codes.shape[1] == CODE
    assert CONTEXT in ours.get_vocab()


@torch.no_grad()
def test_the_untaught_decoder_already_copies(bert: Any) -> None:
    """After a token that the prompt has once, the likeliest one is what followed it there."""
    ours = make_tokenizer()
    model = build_reader(bert, bert_tokenizer(), ours, SAMPLE, TEXTS)
    prompt = ours.encode("the bakery opens at seven, a pod weighs little.")
    written = prompt[2]
    logits = model(input_ids=torch.tensor([prompt]), decoder_input_ids=torch.tensor([[0, written]])).logits[0, -1]
    assert int(logits.argmax()) == prompt[3]


@torch.no_grad()
def test_untaught_it_prefers_the_sentence_that_has_the_questions_word(bert: Any) -> None:
    ours = make_tokenizer()
    texts = ["a pod is small."] * 200 + ["the bakery opens at seven."]
    model = build_reader(bert, bert_tokenizer(), ours, SAMPLE, texts)
    asked = ours.encode("Answer. [CONTEXT] seven? [KNOWLEDGE]", add_special_tokens=False)
    first = ours.encode("a pod is small.", add_special_tokens=False)
    second = ours.encode("the bakery opens at seven.")
    relevance = model.encoder(torch.tensor([asked + first + second])).last_hidden_state[0, :, RELEVANCE]
    assert relevance[len(asked) + len(first)] > relevance[len(asked)] + 0.1
