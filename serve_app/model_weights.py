"""The weights of a model replica: from the file that an earlier one left on this machine, or from the checkpoint.

Where weights are quantised for kernels.c, the first replica that reads a checkpoint leaves them in the cache folder and
maps them, as those after it do: they are in memory once for all replicas of a machine, and these start without reading
the checkpoint. Where there is no such folder, no room in it, or nothing worth keeping, a replica has its own.
"""

import hashlib
import logging
import os
from collections.abc import Callable
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path

import torch
from torch import Tensor

from serve_app import int8_weights, stored_tensors
from serve_app.checkpoint import Checkpoint, fetch, first_line
from serve_app.engine import weights
from serve_app.engine.backends import compiled, linear
from serve_app.engine.backends.protocols import Backend
from serve_app.engine.cache import NoCache, cache_folder
from serve_app.engine.weights import Keep, Shape, Weights, lay_out, made_anew, shape_of
from serve_app.engine.weights_file import Unusable, WeightsFile, write
from serve_app.errors import ModelError
from serve_app.stored_tensors import StoredTensors

logger = logging.getLogger("ray.serve.godel")

_MADE_BY = (stored_tensors, int8_weights, weights, linear, compiled)
_NOT_SHARED = "The weights are not shared with other replicas: %s"


def load_weights(checkpoint: Checkpoint, backend: Backend, cache_mb: int) -> Weights:
    """cache_mb: MiB of quantised weights that the cache folder may hold; 0: none are left there.

    Raises ModelError where the checkpoint cannot be read.
    """
    path = _file(checkpoint, backend.packing) if cache_mb else None
    if path is None:
        return _read(checkpoint, backend, made_anew)
    if found := _mapped(path, backend):
        return found
    made = _Made()
    own = _read(checkpoint, backend, made.keep)
    if _file(checkpoint, backend.packing) != path:  # the folder was changed meanwhile
        return own
    return _shared(path, backend, made, own, cache_mb * 1024**2) or own


def _read(checkpoint: Checkpoint, backend: Backend, keep: Keep) -> Weights:
    from transformers import T5Config  # here, as its import takes time

    folder = fetch(checkpoint, checkpoint.files)
    try:
        shape = shape_of(T5Config.from_pretrained(folder, local_files_only=True))
        return lay_out(shape, StoredTensors(folder), backend, keep)
    except KeyError as missing:
        raise ModelError(
            f"Model {checkpoint.name} lacks weights: {missing.args[0]}; copy the folder again."
        ) from missing
    except Exception as error:  # the readers raise many kinds; each means that this folder cannot be read
        raise ModelError(f"Model {checkpoint.name} cannot be read: {first_line(error)}.") from error


class _Made:
    """What was made of a checkpoint, to be written."""

    def __init__(self) -> None:
        self.tensors: dict[str, tuple[Tensor, ...]] = {}

    def keep(self, name: str, make: Callable[[], tuple[Tensor, ...]]) -> tuple[Tensor, ...]:
        """A Keep."""
        self.tensors[name] = make()
        return self.tensors[name]

    @property
    def bytes(self) -> int:
        return sum(tensor.nbytes for some in self.tensors.values() for tensor in some)


def _file(checkpoint: Checkpoint, packing: str | None) -> Path | None:
    """Where the weights of this content, made by this code for this processor, are or would be."""
    try:
        if not (packing and checkpoint.identity):
            return None
        made_by = [Path(str(module.__file__)).read_bytes() for module in _MADE_BY]
        made_from = [checkpoint.identity, packing, torch.__version__, *made_by]
        return cache_folder() / f"weights-{hashlib.sha256(repr(made_from).encode()).hexdigest()[:16]}.safetensors"
    except (NoCache, OSError) as reason:
        logger.warning(_NOT_SHARED, reason)
        return None


def _mapped(path: Path, backend: Backend) -> Weights | None:
    """None where there is no such file. One that is damaged, by a full disk or a crash, is removed."""
    if not path.exists():
        return None
    try:
        file = WeightsFile(path)
    except Unusable as reason:
        logger.warning("The weights are quantised again: %s", reason)
        with suppress(OSError):
            path.unlink()
        return None
    with suppress(OSError):
        os.utime(path)  # it is in use
    return lay_out(Shape(**file.about), {}, backend, file.keep)


def _shared(path: Path, backend: Backend, made: _Made, own: Weights, most_bytes: int) -> Weights | None:
    """The weights from the file, once it is written; None where it cannot be."""
    if found := _mapped(path, backend):  # of another replica, which started at the same time
        return found
    try:
        if made.bytes > most_bytes:
            raise Unusable(f"they take {made.bytes >> 20} MiB; weights_cache_mb allows {most_bytes >> 20}")
        write(path, asdict(own.shape), made.tensors)
    except Unusable as reason:
        logger.warning(_NOT_SHARED, reason)
        return None
    _make_room(path.parent, most_bytes)
    return _mapped(path, backend)


def _make_room(folder: Path, most_bytes: int) -> None:
    """Remove what was used longest ago. Who has it mapped keeps it."""
    with suppress(OSError):  # another replica may do the same
        files = [(file, file.stat()) for file in folder.glob("weights-*")]
        for file, found in sorted(files, key=lambda each: -each[1].st_mtime):
            most_bytes -= found.st_size
            if most_bytes < 0:
                file.unlink()
