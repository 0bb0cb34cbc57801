"""Untaught, it copies, and finds sentences that share the question's words."""

import pytest
import torch
from torch.nn import functional as F

from serve_app.words import word_vectors
from training.batches import Batch, Encoder, collate
from training.lessons import Lesson
from training.pieces import END, build_tokenizer
from training.small_t5 import FIRST, FLAG, INSIDE, LEADING, QUESTION, RELEVANCE, new_model, wired
from training.t5 import T5

SENTENCES = (
    "The bakery opens at seven.", "A canal runs behind the station.", "Every boat pays four euros.",
    "My garden is full of roses.", "Two doctors work in this clinic.", "Our train leaves before noon.",
)  # fmt: skip
WORDS = sorted({word for sentence in SENTENCES for word in sentence.lower().strip(".").split()})
TOKENIZER = build_tokenizer([*SENTENCES] * 20, [*WORDS, "baker", "ship"], parts=120, words=40)
encode = Encoder(TOKENIZER)


@pytest.fixture(scope="module")
def model() -> T5:
    torch.manual_seed(0)
    common = ["The a at of is my our in this every"] * 60
    return new_model(TOKENIZER, word_vectors(), [*SENTENCES, *common]).eval()


def a_batch(question: str, reply: str = SENTENCES[1]) -> Batch:
    return collate([encode(Lesson((question,), tuple((sentence,) for sentence in SENTENCES), reply))])


@torch.inference_mode()
def channel(model: T5, batch: Batch, index: int, layers: int) -> torch.Tensor:
    return model.encode(batch.prompts)[layers - 1][0, :, index]


def test_like_words_have_like_embeddings(model: T5) -> None:
    def likeness(one: str, other: str) -> float:
        pair = TOKENIZER.convert_tokens_to_ids([f"▁{one}", f"▁{other}"])
        return float(F.cosine_similarity(*model.shared.weight[pair].detach().unsqueeze(1)))

    assert likeness("boat", "ship") > likeness("boat", "noon") + 0.1
    assert likeness("bakery", "baker") < 0.99


def test_tokens_know_where_they_stand(model: T5) -> None:
    batch = a_batch("where does the canal run?")
    asked, first = batch.texts[0][2], batch.texts[1][2]
    inside, question = channel(model, batch, INSIDE, 1), channel(model, batch, QUESTION, 1)
    assert inside[first:].min() > 0.5 > inside[asked : first - 1].max()
    assert question[asked : first - 1].min() > 0.5 > question[first:].max()
    leading, foremost = channel(model, batch, LEADING, 1), channel(model, batch, FIRST, 2)
    assert leading[first : first + 15].min() > 0.5 > leading[first + 45 :].max()
    assert foremost[first : first + 3].min() > 0.5 > foremost[first + 3 :].max()
    assert max(leading[asked], foremost[asked]) < 0.1


@pytest.mark.parametrize(("question", "right"), [("the canal?", 1), ("roses", 3), ("by noon?", 5)])
def test_what_the_question_has_or_the_like_is_flagged_and_its_sentence_relevant(
    model: T5, question: str, right: int
) -> None:
    batch = a_batch(question)
    starts = [start for _, _, start in batch.texts[1:]]
    flags = channel(model, batch, FLAG, 2)
    words = {"the canal?": "▁canal", "roses": "▁roses", "by noon?": "▁noon"}
    flagged = TOKENIZER.convert_ids_to_tokens(int(batch.prompts[0, starts[0] + int(flags[starts[0] :].argmax())]))
    assert flagged == words[question]
    relevance = channel(model, batch, RELEVANCE, 3)
    # The tokens before a sentence reach into it: its first token adds up no more than these.
    assert int(torch.stack([relevance[start] for start in starts]).argmax()) in (right, right - 1)


@torch.inference_mode()
def test_it_repeats_the_sentence_that_leads(model: T5) -> None:
    batch = a_batch("what?")
    encoded, written = model.encode(batch.prompts)[-1], torch.zeros(1, 0, dtype=torch.long)
    while written.shape[1] < 20 and END not in written:
        logits = model.score(encoded, batch.prompts, F.pad(written, (0, 1)))
        written = torch.cat([written, logits[-1:].argmax(-1, keepdim=True)], dim=1)
    assert TOKENIZER.decode(written[0], skip_special_tokens=True) == SENTENCES[0]


def test_it_copies_on_what_it_has_begun(model: T5) -> None:
    right = spoken = 0
    for sentence in SENTENCES:
        batch = a_batch("what?", sentence)
        with torch.inference_mode():
            logits = model.score(model.encode(batch.prompts)[-1], batch.prompts, batch.replies)
        wanted = batch.replies[0, 2:]  # behind the capital and the first word
        right += int((logits[2:].argmax(-1) == wanted).sum())
        spoken += len(wanted)
    assert right / spoken > 0.9


def test_wires_and_content_are_apart(model: T5) -> None:
    masks = wired(model)
    weights = dict(model.named_parameters())
    assert masks.keys() <= weights.keys()
    assert all(((mask == 0) | (mask == 1)).all() and mask.shape == weights[name].shape for name, mask in masks.items())
    share = sum(float(mask.sum()) for mask in masks.values()) / sum(weight.numel() for weight in weights.values())
    assert 0 < share < 0.25
