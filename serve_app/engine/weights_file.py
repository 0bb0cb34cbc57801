"""A model's tensors in its backend's form, in a file that every process of this machine maps.

So a model is quantised once, and its weights are in memory once, in the system's page cache. The file is a safetensors,
whose header must fit its length: one that was cut short does not open. The numbers in it are taken as they are; only
its owner can write to its folder (cache.py). It has its name when it is complete, and never changes.
"""

import json
import os
import tempfile
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import IO, Any, cast

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

_DTYPES = {torch.float32: "F32", torch.int8: "I8"}
_ALIGNMENT = 64  # a cache line, and the widest vector


class Unusable(Exception):
    """The file cannot be read, or not be written; says why."""


class WeightsFile:
    """The tensors of a file, mapped. They are this process's own: nobody else would see a write."""

    def __init__(self, path: Path) -> None:
        """Raises Unusable where there is no such file, or it is damaged."""
        try:
            self._file = cast("Any", safe_open(path, framework="pt"))  # its types are incomplete
            self.about: dict[str, Any] = json.loads(self._file.metadata()["about"])
        except (OSError, SafetensorError, TypeError, KeyError, ValueError) as error:  # the latter: of another writer
            raise Unusable(f"{path} cannot be read: {error}") from error
        self._parts: dict[str, list[str]] = {}
        for part in sorted(self._file.keys()):
            self._parts.setdefault(part.rpartition("/")[0], []).append(part)

    def keep(self, name: str, make: Callable[[], tuple[Tensor, ...]]) -> tuple[Tensor, ...]:
        """A weights.Keep."""
        return tuple(self._file.get_tensor(part) for part in self._parts[name])


def write(path: Path, about: dict[str, Any], tensors: Mapping[str, tuple[Tensor, ...]]) -> None:
    """tensors: contiguous, by the names of `WeightsFile.keep`. about: what JSON can say. Raises Unusable."""
    parts = {f"{name}/{number}": tensor for name, some in tensors.items() for number, tensor in enumerate(some)}
    try:
        with tempfile.NamedTemporaryFile(dir=path.parent, prefix=f"{path.name}.", delete=False) as file:
            try:
                _write(file, about, parts)
                os.replace(file.name, path)
            except BaseException:
                with suppress(OSError):
                    os.unlink(file.name)
                raise
    except OSError as error:
        raise Unusable(f"{path} cannot be written: {error}") from error


def _write(file: IO[bytes], about: dict[str, Any], parts: Mapping[str, Tensor]) -> None:
    """As safetensors' own writer does, which copies all tensors first, and does not align them."""
    header: dict[str, Any] = {"__metadata__": {"about": json.dumps(about)}}
    end = 0
    # The wider numbers first, so that each is aligned to its own width at least.
    ordered = sorted(parts.items(), key=lambda part: -part[1].dtype.itemsize)
    for name, tensor in ordered:
        start, end = end, end + tensor.nbytes
        header[name] = {"dtype": _DTYPES[tensor.dtype], "shape": list(tensor.shape), "data_offsets": [start, end]}
    text = json.dumps(header).encode()
    text += b" " * (-(8 + len(text)) % _ALIGNMENT)
    file.write(len(text).to_bytes(8, "little") + text)
    for _, tensor in ordered:
        file.write(tensor.numpy().data)
    file.flush()
    os.fsync(file.fileno())  # else a crash could leave the name without the content
