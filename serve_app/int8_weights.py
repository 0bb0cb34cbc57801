"""A checkpoint's matrices as 8-bit integers with a scale for each row: a quarter of the size in a repository.

The rounding is the engine's own (`engine.backends.linear.quantized_weight`), so on a CPU, where products are int8,
nothing more is lost by it. transformers does not read this form; stored_tensors.py does.
"""

from collections.abc import Iterator, Mapping
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


class Restored(Mapping[str, "Tensor"]):
    """What `write` stored, in float32: each tensor is restored when it is looked up."""

    def __init__(self, stored: "Mapping[str, Tensor]") -> None:
        self._stored = stored

    def __getitem__(self, name: str) -> "Tensor":
        tensor = self._stored[name]
        if name + _SCALE not in self._stored:
            return tensor
        return tensor.float() * self._stored[name + _SCALE][:, None]

    def __iter__(self) -> Iterator[str]:
        return (name for name in self._stored if not name.endswith(_SCALE))

    def __len__(self) -> int:
        return sum(1 for _ in self)
