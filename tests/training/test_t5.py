"""The T5 that is taught is transformers' T5."""

import pytest
import torch
from transformers import T5ForConditionalGeneration as Reference

from tests.training.small import small_config
from training.pieces import PAD
from training.t5 import T5

CONFIG = small_config(60, num_layers=3)
CONFIG.dropout_rate = 0.5


@pytest.fixture(scope="module")
def models() -> tuple[T5, Reference]:
    torch.manual_seed(0)
    model, reference = T5(CONFIG), Reference(CONFIG)
    for name, weight in model.named_parameters():
        if "relative_attention_bias" in name or "norm" in name:
            torch.nn.init.uniform_(weight, 0.5, 1.5)
    reference.load_state_dict(model.state_dict(), strict=False)
    reference.tie_weights()
    model.eval()
    reference.train(False)
    return model, reference


def test_it_scores_replies_as_transformers_does(models: tuple[T5, Reference]) -> None:
    model, reference = models
    prompts, replies = torch.randint(3, 60, (3, 150)), torch.randint(3, 60, (3, 20))
    prompts[1, 100:], replies[2, 10:] = PAD, -100
    with torch.no_grad():
        wanted = reference(input_ids=prompts, attention_mask=prompts != PAD, labels=replies).logits[replies >= 0]
        scored = model.score(model.encode(prompts)[-1], prompts, replies)
    torch.testing.assert_close(scored, wanted, rtol=1e-4, atol=1e-4)


def test_its_first_layers_are_those_of_transformers(models: tuple[T5, Reference]) -> None:
    model, reference = models
    prompts = torch.randint(3, 60, (2, 30))
    with torch.no_grad():
        states = reference.encoder(prompts, output_hidden_states=True).hidden_states
        torch.testing.assert_close(model.encode(prompts)[1], states[2], rtol=1e-4, atol=1e-4)


def test_dropout_takes_whole_channels_and_only_while_it_learns(models: tuple[T5, Reference]) -> None:
    model, _ = models
    layer = model.encoder.get_submodule("block.0.layer.1")
    x = torch.randn(2, 7, 32)
    try:
        added = layer.train()(x) - x
    finally:
        layer.eval()
    dropped = (added == 0).all(dim=1)
    assert dropped.any()
    assert torch.equal(dropped, (added == 0).any(dim=1))
    assert torch.equal(layer(x), layer(x))
