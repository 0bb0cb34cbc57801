"""Replicas that take modelled times: as long as the simulation's, and what they write is what they wrote before."""

from pathlib import Path
from unittest.mock import patch

import pytest
import torch

from bench import modelled
from capacity.service_times import load
from serve_app.checkpoint import resolve
from serve_app.engine.t5 import T5
from serve_app.engine.weights import Weights, from_transformers
from serve_app.messages import GenerateRequest, Sampling
from serve_app.settings import AppArgs
from tests.support.checkpoints import random_t5
from tests.support.fakes import ORIGIN

pytestmark = pytest.mark.usefixtures("one_thread")

TIMES = load().model_copy(update={"encode_per_token_s": 0.01, "encode_s": 0.0, "step_s": 0.1, "step_per_reply_s": 0.05})


def model(weights: Weights) -> T5:
    return T5(weights, slots=4, max_prompt=32, max_reply=8)


@torch.inference_mode()
def test_prompts_and_steps_take_what_is_modelled() -> None:
    weights = from_transformers(random_t5())
    quick, slow = model(weights), model(modelled.slowed(weights, TIMES))
    slept: list[float] = []
    with patch("bench.modelled.time.sleep", slept.append):
        encodings = slow.encode([[5, 6, 7, 1], [8, 1]])
        for slot, encoding in enumerate(encodings):
            slow.fill(slot, encoding)
        logits = slow.step([0, 0])
    assert slept == [6 * 0.01, 0.1 + 2 * 0.05]
    for slot, encoding in enumerate(quick.encode([[5, 6, 7, 1], [8, 1]])):
        quick.fill(slot, encoding)
    assert torch.equal(quick.step([0, 0]), logits)


async def test_a_replica_starts_and_takes_them(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The shipped class, as Serve makes it: with the dtype of the shipped configuration."""
    monkeypatch.setattr("serve_app.model.here", lambda: ORIGIN)
    monkeypatch.setattr(modelled, "load", lambda: TIMES)
    slept: list[float] = []
    monkeypatch.setattr("bench.modelled.time.sleep", slept.append)
    modelled.make_tiny(tmp_path)
    args = AppArgs(model=str(tmp_path), weights_cache_mb=0)
    replica = modelled.GodelModel(resolve(args), args)
    slept.clear()  # what it wrote to see whether it can
    request = GenerateRequest("id", [5, 6, 1], Sampling(min_length=4, max_length=4), budget_s=60)
    chunks = [chunk async for chunk in replica.generate(request)]
    replica.__del__()
    assert sum(len(chunk.token_ids) for chunk in chunks) == 3  # beside the start token
    assert slept[0] == 3 * 0.01
    assert slept[1:] == pytest.approx([0.15] * 3)
