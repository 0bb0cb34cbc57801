"""A checkpoint's matrices as 8-bit integers with a scale for each row: a quarter of the size in a repository.

The rounding is the engine's own (`engine.backends.linear.quantized_weight`), so on a CPU, where products are int8,
nothing more is lost by it. transformers does not read this form; `checkpoint.load_model` does.
"""

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor

FILE = "weights.int8.safetensors"
_SCALE = ".scale"


def write(state: "dict[str, Tensor]", folder: Path) -> None:
    """state: names and float tensors, no two of which share memory. Matrices are rounded; vectors stay as they are."""
    from safetensors.torch import save_file

    from serve_app.engine.backends.linear import quantized_weight

    stored: dict[str, Tensor] = {}
    for name, tensor in state.items():
        if tensor.dim() == 2 and "relative_attention_bias" not in name:
            stored[name], stored[name + _SCALE] = quantized_weight(tensor.float())
        else:
            stored[name] = tensor.float()
    save_file({name: tensor.contiguous() for name, tensor in stored.items()}, folder / FILE)


def read(folder: Path) -> "dict[str, Tensor]":
    """The tensors in float32. Raises SafetensorError or OSError for a damaged file."""
    from safetensors.torch import load_file

    stored = load_file(folder / FILE)
    return {
        name: tensor.float() * stored[name + _SCALE][:, None] if name + _SCALE in stored else tensor
        for name, tensor in stored.items()
        if not name.endswith(_SCALE)
    }
