"""The file of a model's tensors: what is read is what was written; what is damaged is not read."""

import os
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor

from serve_app.engine.weights_file import Unusable, WeightsFile, write

ABOUT = {"d_model": 24, "norm_epsilon": 1e-6, "activation": "relu", "gated": False}
TENSORS = {
    "layer": (torch.arange(-10, 53, dtype=torch.int8), torch.linspace(-1, 1, 9)),
    "norm": (torch.randn(7, 3),),
}


@pytest.fixture
def path(tmp_path: Path) -> Path:
    write(tmp_path / "weights", ABOUT, TENSORS)
    return tmp_path / "weights"


def kept(path: Path) -> dict[str, tuple[Tensor, ...]]:
    file = WeightsFile(path)
    return {name: file.keep(name, lambda: pytest.fail("it has them")) for name in TENSORS}


def test_what_is_read_is_what_was_written(path: Path) -> None:
    assert WeightsFile(path).about == ABOUT
    for name, tensors in kept(path).items():
        for read, written in zip(tensors, TENSORS[name], strict=True):
            assert (read.dtype, read.shape) == (written.dtype, written.shape)
            assert torch.equal(read, written)
    assert [file.name for file in path.parent.iterdir()] == ["weights"]


def test_tensors_of_usual_sizes_begin_at_cache_lines(tmp_path: Path) -> None:
    tensors = {str(i): (torch.ones(64, 16 * i, dtype=torch.int8), torch.ones(16 * i)) for i in range(1, 4)}
    write(tmp_path / "weights", ABOUT, tensors)
    file = WeightsFile(tmp_path / "weights")
    starts = [tensor.data_ptr() % 64 for name in tensors for tensor in file.keep(name, lambda: ())]
    assert starts == [0] * 6


def test_readers_have_the_same_memory_until_they_write(path: Path) -> None:
    first, second = kept(path), kept(path)
    maps = [line for line in Path("/proc/self/maps").read_text().splitlines() if str(path) in line]
    assert len(maps) == 2
    assert all(line.split()[1] == "rw-p" for line in maps)
    first["layer"][0][0] = 99
    assert second["layer"][0][0] == kept(path)["layer"][0][0] == -10


def test_a_file_may_be_replaced_and_removed_while_it_is_read(path: Path) -> None:
    before = kept(path)
    write(path, ABOUT, {name: tuple(tensor + 1 for tensor in some) for name, some in TENSORS.items()})
    path.unlink()
    assert torch.equal(before["norm"][0], TENSORS["norm"][0])


@pytest.mark.parametrize(
    "damage",
    [
        lambda file: file.unlink(),
        lambda file: file.write_bytes(b""),
        lambda file: file.write_bytes(file.read_bytes()[:-1]),
        lambda file: file.write_bytes(file.read_bytes()[:100]),
        lambda file: file.write_bytes(bytes(file.stat().st_size)),
        lambda file: file.write_bytes(b"\xff" * 64 + file.read_bytes()[64:]),
        lambda file: save_file({"x": torch.ones(3)}, file),
        lambda file: save_file({"x": torch.ones(3)}, file, {"about": "{"}),
    ],
)
def test_a_damaged_file_is_not_read(path: Path, damage: Callable[[Path], None]) -> None:
    damage(path)
    with pytest.raises(Unusable, match=f"{path} cannot be read"):
        WeightsFile(path)


def test_a_full_disk_leaves_nothing_behind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(Unusable, match="No space left"):
        write(tmp_path / "weights", ABOUT, TENSORS)
    assert not list(tmp_path.iterdir())


def test_a_folder_that_is_gone_is_named(tmp_path: Path) -> None:
    with pytest.raises(Unusable, match="cannot be written"):
        write(tmp_path / "gone" / "weights", ABOUT, TENSORS)
