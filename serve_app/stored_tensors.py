"""The tensors in a checkpoint's folder by transformers' names, each read when it is looked up.

Which files are read is transformers' own choice. Not all that is in a folder is trusted: pickles go through PyTorch's
weights-only reader, which runs no code, and an index names files of the folder itself alone.
"""

import json
import zipfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from serve_app import int8_weights

if TYPE_CHECKING:
    from torch import Tensor

# A tied tensor is stored under one of these names, or under several.
_TIED = ("shared.weight", "encoder.embed_tokens.weight", "decoder.embed_tokens.weight", "lm_head.weight")
_NAMES = ("model.safetensors", "pytorch_model.bin")  # each may be cut into several files, with an index


class StoredTensors(Mapping[str, "Tensor"]):
    """A T5's tensors. What is stored as 8-bit integers (int8_weights.py) is given in float32."""

    def __init__(self, folder: Path) -> None:
        """Raises OSError, ValueError, or one of the readers' errors where a file is missing or damaged."""
        self._holders = {name: holder for file in _files(folder) for holder in (_opened(file),) for name in holder}

    def __getitem__(self, name: str) -> "Tensor":
        """Raises KeyError where it is not stored, under none of the names of what it is tied to."""
        names = (name, *_TIED) if name in _TIED else (name,)
        found = next((other for other in names if other in self._holders), None)
        if found is None:
            raise KeyError(name)
        return self._holders[found][found]

    def __iter__(self) -> Iterator[str]:
        return iter(self._holders)

    def __len__(self) -> int:
        return len(self._holders)


def _files(folder: Path) -> list[Path]:
    """Raises FileNotFoundError where there are no weights, ValueError for an index that is none."""
    if (small := folder / int8_weights.FILE).is_file():
        return [small]
    for name in _NAMES:
        if (whole := folder / name).is_file():
            return [whole]
        if (index := folder / f"{name}.index.json").is_file():
            parts: dict[str, str] = json.loads(index.read_text(encoding="utf-8"))["weight_map"]
            return [folder / Path(part).name for part in sorted(set(parts.values()))]
    raise FileNotFoundError(f"{folder} holds neither *.safetensors nor pytorch_model*.bin")


def _opened(file: Path) -> Mapping[str, "Tensor"]:
    if file.name == int8_weights.FILE:
        return int8_weights.Restored(_Safetensors(file))
    return _Safetensors(file) if file.suffix == ".safetensors" else _unpickled(file)


class _Safetensors(Mapping[str, "Tensor"]):
    """Reads each tensor into memory of its own: a mapped file would count as this process's memory, read or not."""

    def __init__(self, file: Path) -> None:
        from safetensors import safe_open

        self._file = cast("Any", safe_open(file, framework="pt", backend="pread"))  # its types are incomplete
        self._names = set(self._file.keys())

    def __getitem__(self, name: str) -> "Tensor":
        if name not in self._names:
            raise KeyError(name)
        tensor: Tensor = self._file.get_tensor(name)
        return tensor

    def __iter__(self) -> Iterator[str]:
        return iter(self._names)

    def __len__(self) -> int:
        return len(self._names)


def _unpickled(file: Path) -> Mapping[str, "Tensor"]:
    """Mapped, if its format allows that; PyTorch's before 1.6 is read whole."""
    import torch

    tensors: Any = torch.load(file, map_location="cpu", weights_only=True, mmap=zipfile.is_zipfile(file))
    if not isinstance(tensors, dict):
        raise ValueError(f"{file.name} holds no tensors by name")
    return tensors
