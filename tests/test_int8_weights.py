"""Weights stored as 8-bit integers: what is read back is what was written, but for the rounding."""

from pathlib import Path

import pytest
import torch
from transformers import T5ForConditionalGeneration

from serve_app import int8_weights
from serve_app.checkpoint import load_model, resolve
from serve_app.engine.backends.linear import quantized_weight
from serve_app.errors import ModelError
from serve_app.settings import AppArgs
from tests.support.checkpoints import random_t5, save_checkpoint


def _stored(target: Path) -> T5ForConditionalGeneration:
    """A small checkpoint in `target`, in 8 bits -> the original."""
    model = random_t5(vocab_size=384)
    save_checkpoint(model, target)
    (target / "model.safetensors").unlink()
    state = {name: tensor for name, tensor in model.state_dict().items() if name not in model.all_tied_weights_keys}
    int8_weights.write(state, target)
    return model


def test_matrices_are_read_as_the_engine_would_round_them(tmp_path: Path) -> None:
    model = _stored(tmp_path / "small")
    read = load_model(resolve(AppArgs(model=str(tmp_path / "small"))))
    for name, weight in model.state_dict().items():
        if weight.dim() == 2 and "relative_attention_bias" not in name:
            integers, scale = quantized_weight(weight)
            weight = integers.float() * scale[:, None]
        torch.testing.assert_close(read.state_dict()[name], weight, rtol=0, atol=0)


def test_a_file_cut_short_is_named(tmp_path: Path) -> None:
    _stored(tmp_path / "small")
    file = tmp_path / "small" / int8_weights.FILE
    file.write_bytes(file.read_bytes()[:-100])
    with pytest.raises(ModelError, match="damaged weights"):
        resolve(AppArgs(model=str(tmp_path / "small")))
