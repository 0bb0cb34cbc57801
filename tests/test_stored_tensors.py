"""The tensors in a checkpoint's folder: transformers' own reading of it, one tensor at a time."""

import json
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import T5ForConditionalGeneration

from serve_app import int8_weights
from serve_app.stored_tensors import StoredTensors
from tests.support.checkpoints import random_t5

State = dict[str, torch.Tensor]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    random_t5().save_pretrained(tmp_path)
    return tmp_path


def as_pickle(folder: Path, state: State) -> None:
    torch.save(state, folder / "pytorch_model.bin")


def as_old_pickle(folder: Path, state: State) -> None:
    torch.save(state, folder / "pytorch_model.bin", _use_new_zipfile_serialization=False)


def as_several(folder: Path, state: State) -> None:
    """In safetensors, cut in two."""
    names = sorted(state)
    parts = {"model-00001-of-00002.safetensors": names[:9], "model-00002-of-00002.safetensors": names[9:]}
    for file, some in parts.items():
        save_file({name: state[name] for name in some}, folder / file, {"format": "pt"})
    write_index(folder, {name: file for file, some in parts.items() for name in some})


def write_index(folder: Path, places: dict[str, str]) -> None:
    index = {"metadata": {}, "weight_map": places}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))


@pytest.mark.parametrize("tied", [True, False])
@pytest.mark.parametrize("store", [None, as_pickle, as_old_pickle, as_several])
def test_every_tensor_is_what_transformers_reads(
    tmp_path: Path, store: Callable[[Path, State], None] | None, tied: bool
) -> None:
    random_t5(tied=tied).save_pretrained(tmp_path)
    if store:
        state = load_file(tmp_path / "model.safetensors")
        (tmp_path / "model.safetensors").unlink()
        store(tmp_path, state)
    read, stored = T5ForConditionalGeneration.from_pretrained(tmp_path).state_dict(), StoredTensors(tmp_path)
    assert set(stored) <= set(read)
    for name, tensor in read.items():
        assert torch.equal(stored[name], tensor), name
    with pytest.raises(KeyError, match=r"encoder\.block\.9"):
        stored["encoder.block.9.layer.0.layer_norm.weight"]


def test_an_embedding_is_found_by_the_name_of_what_it_is_tied_to(folder: Path) -> None:
    """As older versions of transformers stored it."""
    state = load_file(folder / "model.safetensors")
    state["encoder.embed_tokens.weight"] = state.pop("shared.weight")
    save_file(state, folder / "model.safetensors", {"format": "pt"})
    stored = StoredTensors(folder)
    for name in ("shared.weight", "lm_head.weight", "decoder.embed_tokens.weight"):
        assert torch.equal(stored[name], state["encoder.embed_tokens.weight"])


def test_integers_are_restored(folder: Path) -> None:
    state = load_file(folder / "model.safetensors")
    int8_weights.write(state, folder)
    stored = StoredTensors(folder)
    assert set(stored) == set(state)
    for name, tensor in state.items():
        assert stored[name].dtype == torch.float32
        torch.testing.assert_close(stored[name], tensor, rtol=0, atol=float(tensor.abs().max()) / 100)


def test_a_tensor_that_was_looked_up_holds_no_other_in_memory(folder: Path) -> None:
    stored = StoredTensors(folder)
    tensors = [stored[name] for name in stored]
    assert all(tensor.untyped_storage().nbytes() == tensor.nbytes for tensor in tensors)
    assert str(folder) not in Path("/proc/self/maps").read_text()


class Malicious:
    def __init__(self, path: Path) -> None:
        self._path = path

    def __reduce__(self) -> Any:
        return (Path.touch, (self._path,))


@pytest.mark.parametrize("store", [as_pickle, as_old_pickle])
def test_a_pickles_code_is_not_run(tmp_path: Path, store: Callable[[Path, Any], None]) -> None:
    store(tmp_path, {"shared.weight": Malicious(tmp_path / "ran")})
    with pytest.raises(pickle.UnpicklingError):
        StoredTensors(tmp_path)
    assert not (tmp_path / "ran").exists()


def test_an_index_cannot_name_files_elsewhere(tmp_path: Path) -> None:
    save_file({"shared.weight": torch.ones(2)}, tmp_path / "other.safetensors")
    inside = tmp_path / "model"
    inside.mkdir()
    for name in ("../other.safetensors", str(tmp_path / "other.safetensors")):
        write_index(inside, {"shared.weight": name})
        with pytest.raises(FileNotFoundError):
            StoredTensors(inside)


def test_a_folder_without_weights_is_named(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=str(tmp_path)):
        StoredTensors(tmp_path)
