"""Lessons as tensors: the prompt is the server's, and what stands where in it is known."""

from dataclasses import replace
from itertools import islice, repeat
from random import Random

import pytest

from serve_app.prompt import render
from tests.training.test_pieces import make_tokenizer
from training.batches import NO_LABEL, Encoder, batches, collate, endless_batches
from training.lessons import INSTRUCTION, UNKNOWN, Lesson
from training.pieces import END, KNOWLEDGE, PAD

LESSON = Lesson(
    turns=("is it big?", "A pod is small.", "when does it open?"),
    passages=(("The bakery opens at seven.", "The bakery is small."), ("A pod is small.",)),
    reply="The bakery is small.",
)


@pytest.fixture
def encode() -> Encoder:
    return Encoder(make_tokenizer())


def test_the_prompt_is_what_the_server_would_send(encode: Encoder) -> None:
    text = render(INSTRUCTION, LESSON.turns, [" ".join(passage) for passage in LESSON.passages])
    assert encode(LESSON).prompt == make_tokenizer().encode(text)


def test_the_right_sentence_is_where_it_stands(encode: Encoder) -> None:
    example = encode(LESSON)
    assert example.right == 2
    start, end = example.places[example.right]
    assert [*example.prompt[start:end], END] == example.reply
    assert make_tokenizer().convert_ids_to_tokens(example.prompt[slice(*example.places[0])]) == [KNOWLEDGE]


def test_turns_and_sentences_are_where_they_stand(encode: Encoder) -> None:
    example = encode(LESSON)
    assert [text for text, _ in example.texts] == [*LESSON.turns, *LESSON.sentences]
    for text, start in example.texts:
        ids = encode.ids(text)
        assert tuple(example.prompt[start : start + len(ids)]) == ids


def test_where_no_sentence_answers_the_mark_of_knowledge_is_right_and_nothing_in_small_talk(encode: Encoder) -> None:
    assert encode(replace(LESSON, reply=UNKNOWN)).right == 0
    assert encode(replace(LESSON, reply="Hello!")).right is None


def test_tensors_hold_the_examples(encode: Encoder) -> None:
    examples = [encode(LESSON), encode(replace(LESSON, passages=LESSON.passages[1:], reply="Hello!"))]
    batch = collate(examples)
    for row, example in enumerate(examples):
        assert batch.prompts[row][batch.prompts[row] != PAD].tolist() == example.prompt
        assert batch.replies[row][batch.replies[row] != NO_LABEL].tolist() == example.reply
        places = zip(batch.starts[row].tolist(), batch.ends[row].tolist(), strict=True)
        assert [place for place in places if place[1]] == example.places
    assert batch.right.tolist() == [2, NO_LABEL]
    assert [(row, text) for row, text, _ in batch.texts][-2:] == [(1, "when does it open?"), (1, "A pod is small.")]


def test_batches_hold_every_example_within_their_size(encode: Encoder) -> None:
    examples = [encode(LESSON)] * 5
    made = list(batches(examples, tokens=2 * len(examples[0].prompt)))
    assert sum(len(batch.prompts) for batch in made) == 5
    assert all(batch.prompts.numel() <= 2 * len(examples[0].prompt) for batch in made)


def test_prompts_that_are_too_long_are_not_taught(encode: Encoder) -> None:
    long = replace(LESSON, passages=LESSON.passages * 60)
    lessons = iter([long, *islice(repeat(LESSON), 599), *islice(repeat(long), 10), LESSON])
    batch = next(iter(endless_batches(lessons, encode, 10_000, Random(0))))
    assert batch.prompts.shape[1] <= 512
