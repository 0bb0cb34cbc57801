"""Lessons as tensors: the trie's branches, the right sentence's place, and what the losses make of them."""

from dataclasses import replace

import pytest
import torch

from tests.support.checkpoints import random_t5
from tests.training.test_pieces import make_tokenizer
from training.batches import Encoder, batches, collate
from training.lessons import Lesson
from training.losses import losses
from training.pieces import END, KNOWLEDGE, PAD

LESSON = Lesson(
    turns=("when does it open?",),
    passages=(("The bakery opens at seven.", "The bakery is small."), ("A pod is small.",)),
    phrases=("I don't know.",),
    reply="The bakery is small.",
    instruction="Answer.",
)


@pytest.fixture
def encode() -> Encoder:
    return Encoder(make_tokenizer())


def test_the_prompt_is_what_the_server_would_send(encode: Encoder) -> None:
    knowledge = " ".join(LESSON.sentences)
    text = f"Answer. [CONTEXT] when does it open? [KNOWLEDGE] {knowledge}"
    assert encode(LESSON).prompt == make_tokenizer().encode(text)


def test_the_right_sentence_is_where_it_stands(encode: Encoder) -> None:
    example = encode(LESSON)
    start, end = example.places[example.right]
    assert [*example.prompt[start:end], END] == example.reply
    assert make_tokenizer().convert_ids_to_tokens(example.prompt[slice(*example.places[0])]) == [KNOWLEDGE]


def test_where_no_sentence_answers_the_mark_of_knowledge_is_right(encode: Encoder) -> None:
    assert encode(replace(LESSON, reply="I don't know.")).right == 0


def test_branches_are_where_candidates_part(encode: Encoder) -> None:
    example = encode(LESSON)
    tokens = [make_tokenizer().encode(text) for text in (*LESSON.sentences, *LESSON.phrases)]
    for place, allowed in example.branches:
        alike = [ids for ids in tokens if ids[:place] == example.reply[:place] and len(ids) > place]
        assert allowed[0] == example.reply[place]
        assert set(allowed) == {ids[place] for ids in alike}
    assert [place for place, _ in example.branches] == sorted({place for place, _ in example.branches})


def test_batches_hold_every_example_within_their_size(encode: Encoder) -> None:
    examples = [encode(LESSON)] * 5
    made = list(batches(examples, tokens=2 * len(examples[0].prompt)))
    assert sum(len(batch.prompts) for batch in made) == 5
    assert all(batch.prompts.numel() <= 2 * len(examples[0].prompt) for batch in made)


def test_losses_fall_when_the_right_branch_is_taught(encode: Encoder) -> None:
    model = random_t5(vocab_size=len(make_tokenizer()), d_model=448)
    batch = collate([encode(LESSON), encode(LESSON)])
    assert (batch.prompts != PAD).any()
    optimizer = torch.optim.AdamW(model.parameters(), lr=3e-3)
    first = losses(model, batch)
    for _ in range(12):
        optimizer.zero_grad()
        losses(model, batch).total.backward()  # type: ignore[no-untyped-call]  # torch leaves it unannotated
        optimizer.step()
    last = losses(model, batch)
    assert last.choice < first.choice
    assert last.reply < first.reply
    assert last.relevance < first.relevance
    assert last.right == 1.0
