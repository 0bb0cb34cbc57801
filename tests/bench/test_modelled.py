"""Replicas that take modelled times: as long as the simulation's, and what they write is what they wrote before."""

from unittest.mock import patch

import torch

from bench import modelled
from capacity.service_times import load
from serve_app.engine.t5 import T5
from serve_app.engine.weights import Weights, from_transformers
from tests.support.checkpoints import random_t5

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
