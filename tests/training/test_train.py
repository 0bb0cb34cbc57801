"""The pipeline from texts to weights: stages are made once, learning goes on where it was stopped, and what is
published is a folder that the service takes."""

from itertools import islice
from pathlib import Path

import pytest
import torch
from torch import nn

from serve_app.checkpoint import load_model, load_tokenizer, resolve
from serve_app.grounding import Sentence
from serve_app.settings import AppArgs
from tests.training.small import small_config
from tests.training.test_batches import LESSON
from tests.training.test_pieces import make_tokenizer
from training import handwritten, train
from training.batches import Encoder
from training.half_precision import Optimizer
from training.lessons import Asked
from training.t5 import T5
from training.train import Learner, Plan, Work, publish, teach

PLAN = Plan(tokens=300, steps=3, warmup=1)
PASSAGES = tuple(tuple(Sentence(text, 0.5) for text in passage) for passage in LESSON.passages)
ASKED = [Asked(LESSON.turns[-1:], PASSAGES, (LESSON.reply,))]


def a_model() -> T5:
    torch.manual_seed(0)
    return T5(small_config(len(make_tokenizer()), num_layers=4))


def test_a_stage_is_made_once_and_not_at_all_if_making_it_failed(tmp_path: Path) -> None:
    work = Work(tmp_path, tmp_path, PLAN)
    made: list[Path] = []

    def fail(_: Path) -> None:
        raise OSError("no room")

    with pytest.raises(OSError):
        work.made("stage", fail)
    for _ in range(2):
        folder = work.made("stage", made.append)
    assert len(made) == 1
    assert folder.is_dir()


def test_questions_are_shared_out_and_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    texts = handwritten.load()[:2]
    monkeypatch.setattr(handwritten, "load", lambda: texts)
    shares = [Work(tmp_path, tmp_path, PLAN).asked(share, 2) for share in range(2)]
    assert shares[0] and shares[1]
    assert not {each.turns + each.passages[0] for each in shares[0]} & {
        each.turns + each.passages[0] for each in shares[1]
    }
    monkeypatch.setattr(train, "ask", lambda _: pytest.fail("asked again"))
    assert Work(tmp_path, tmp_path, PLAN).asked(1, 2) == shares[1]


def test_learning_goes_on_where_it_was_stopped(tmp_path: Path) -> None:
    def learn(module: nn.ModuleDict, steps: int, state: Path) -> Learner:
        learner = Learner(Optimizer(module, lambda _: 1e-2), 4, 1, state)
        for _ in range(steps):
            learner.learn(module["part"](torch.ones(3, 2).bfloat16()).square().sum())
            learner.save()
        return learner

    def a_module() -> nn.ModuleDict:
        torch.manual_seed(0)
        return nn.ModuleDict({"part": nn.Linear(2, 2)})

    whole = learn(a_module(), 4, tmp_path / "whole.pt")
    learn(a_module(), 2, tmp_path / "state.pt")
    again = learn(a_module(), 2, tmp_path / "state.pt")
    assert again.step == 4
    torch.testing.assert_close(again.weights("part"), whole.weights("part"))


def test_what_was_taught_is_not_taught_again(tmp_path: Path) -> None:
    encode = Encoder(make_tokenizer())
    model = a_model()
    before = model.shared.weight.clone()
    teach(model, ASKED, encode, PLAN, tmp_path / "taught.pt")
    assert not torch.equal(before, model.shared.weight)
    assert model.shared.weight.dtype == torch.float32
    again = a_model()
    teach(again, ASKED, encode, PLAN, tmp_path / "taught.pt")
    assert torch.equal(again.shared.weight, model.shared.weight)


def test_what_is_published_is_read_by_the_service(tmp_path: Path) -> None:
    model = a_model()
    publish(model, make_tokenizer(), tmp_path)
    checkpoint = resolve(AppArgs(model=str(tmp_path)))
    assert checkpoint.quote
    assert load_tokenizer(checkpoint).encode("a pod") == make_tokenizer().encode("a pod")
    state = load_model(checkpoint).state_dict()
    for name, weight in islice(model.state_dict().items(), 8):
        torch.testing.assert_close(state[name], weight.detach(), rtol=0.02, atol=0.05)
