"""Teaching: it goes on where it was stopped, and what it publishes is a folder that the service takes."""

from pathlib import Path

import torch
from transformers import T5ForConditionalGeneration

from serve_app.checkpoint import load_model, load_tokenizer, resolve
from serve_app.settings import AppArgs
from tests.support.checkpoints import random_t5
from tests.training.test_batches import LESSON
from tests.training.test_pieces import make_tokenizer
from training.batches import Batch, Encoder, collate
from training.reader import WIDTH
from training.train import Plan, Trainer, publish

PLAN = Plan(steps=4, reading=0.5, warmup=1, rate=1e-3)


def a_model() -> T5ForConditionalGeneration:
    return random_t5(vocab_size=len(make_tokenizer()), d_model=WIDTH)


def a_batch() -> Batch:
    return collate([Encoder(make_tokenizer())(LESSON)])


def test_teaching_goes_on_where_it_was_stopped(tmp_path: Path) -> None:
    whole, batch = Trainer(a_model(), PLAN, tmp_path / "whole"), a_batch()
    losses = [whole.teach(batch)[0] for _ in range(4)]
    first = Trainer(a_model(), PLAN, tmp_path)
    assert [first.teach(batch)[0] for _ in range(2)] == losses[:2]
    first.save()
    second = Trainer(T5ForConditionalGeneration.from_pretrained(tmp_path), PLAN, tmp_path)
    assert second.step == 2
    torch.testing.assert_close([second.teach(batch)[0] for _ in range(2)], losses[2:], rtol=1e-4, atol=1e-4)
    assert second.done == 1


def test_reading_teaches_the_encoder_alone(tmp_path: Path) -> None:
    model = a_model()
    before = {name: weight.clone() for name, weight in model.named_parameters()}
    Trainer(model, PLAN, tmp_path).teach(a_batch())
    changed = {name for name, weight in model.named_parameters() if not torch.equal(weight, before[name])}
    assert any(name.startswith("encoder") for name in changed)
    assert not any(name.startswith("decoder.block") for name in changed)


def test_what_is_published_is_read_by_the_service(tmp_path: Path) -> None:
    model = a_model()
    publish(model, make_tokenizer(), tmp_path)
    checkpoint = resolve(AppArgs(model=str(tmp_path)))
    assert checkpoint.quote
    assert load_tokenizer(checkpoint).encode("a pod") == make_tokenizer().encode("a pod")
    read = load_model(checkpoint).state_dict()["shared.weight"]
    torch.testing.assert_close(read, model.shared.weight.detach(), rtol=0.02, atol=0.05)
