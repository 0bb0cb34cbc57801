"""A model replica's weights: left by the first one that reads a checkpoint, mapped by those after it."""

import json
import logging
import os
import shutil
import weakref
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from serve_app import model_weights
from serve_app.checkpoint import Checkpoint, load_model
from serve_app.engine.backends.compiled import Compiled
from serve_app.engine.backends.eager import Eager
from serve_app.engine.t5 import T5
from serve_app.engine.weights import Weights, from_transformers
from serve_app.errors import ModelError
from serve_app.model_weights import load_weights
from serve_app.stored_tensors import StoredTensors
from tests.engine.support import can_compile, needs_compiled, random_prompts
from tests.support.checkpoints import random_t5, save_checkpoint

pytestmark = [pytest.mark.usefixtures("one_thread"), needs_compiled]


@pytest.fixture(scope="module")
def compiled() -> Compiled | None:
    """Before the cache is another one, in which the kernels would be built again."""
    return Compiled() if can_compile() else None


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, compiled: Compiled) -> Path:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    return tmp_path / "godel-serve"


@pytest.fixture(scope="module")
def good_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_checkpoint(random_t5(vocab_size=384), tmp_path_factory.mktemp("checkpoint"))


@pytest.fixture
def checkpoint(good_folder: Path, tmp_path: Path) -> Checkpoint:
    """A copy, to be changed."""
    folder = Path(shutil.copytree(good_folder, tmp_path / "model"))
    return Checkpoint(name="mine", requested="mine", folder=folder)


@pytest.fixture
def load(checkpoint: Checkpoint, compiled: Compiled, cache: Path) -> Callable[..., Weights]:
    return lambda cache_mb=64: load_weights(checkpoint, compiled, cache_mb)


def logits(weights: Weights) -> Tensor:
    (prompt,) = random_prompts([20])
    t5 = T5(weights, slots=1, max_prompt=32, max_reply=16)
    t5.fill(0, t5.encode([prompt])[0])
    return torch.cat([t5.step([token]).clone() for token in (0, 5, 9, 33)])


def is_mapped(weights: Weights, cache: Path) -> bool:
    """Whether the embedding lies in a file of the cache."""
    at = weights.embedding.data_ptr()
    for line in Path("/proc/self/maps").read_text().splitlines():
        start, end = (int(address, 16) for address in line.split()[0].split("-"))
        if start <= at < end:
            return str(cache) in line
    return False


def unread(*_: object) -> Weights:
    pytest.fail("the checkpoint is read again")


def test_the_first_replica_the_next_one_and_transformers_reader_give_the_same_bits(
    load: Callable[..., Weights],
    checkpoint: Checkpoint,
    compiled: Compiled,
    cache: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    expected = from_transformers(load_model(checkpoint), compiled)
    first = load()
    monkeypatch.setattr(model_weights, "_read", unread)
    second = load()
    for made in (first, second):
        assert is_mapped(made, cache)
        assert made.shape == expected.shape
        assert torch.equal(logits(made), logits(expected))
    assert len(list(cache.glob("weights-*"))) == 1


@pytest.mark.parametrize("backend", [Eager(), None])
def test_without_a_file_they_are_the_same(
    checkpoint: Checkpoint, compiled: Compiled, cache: Path, backend: Eager | None
) -> None:
    """In float32, whose weights the checkpoint has; and where the setting says so."""
    made = load_weights(checkpoint, backend or compiled, 64 if backend else 0)
    assert torch.equal(logits(made), logits(from_transformers(load_model(checkpoint), backend or compiled)))
    assert not list(cache.glob("weights-*"))


def test_no_more_than_a_layers_tensors_are_in_memory_at_once(
    checkpoint: Checkpoint, load: Callable[..., Weights], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The whole model once was, in float32, beside the quantised one."""
    alive, most = 0, 0

    class Counted(StoredTensors):
        def __getitem__(self, name: str) -> Tensor:
            nonlocal alive, most
            memory = super().__getitem__(name).numpy().copy()
            alive += 1
            most = max(alive, most)
            weakref.finalize(memory, let_go)
            return torch.from_numpy(memory)

    def let_go() -> None:
        nonlocal alive
        alive -= 1

    monkeypatch.setattr(model_weights, "StoredTensors", Counted)
    load()
    assert most == 3  # queries, keys and values
    assert alive == 0


@pytest.mark.parametrize("damage", [b"", b"not a safetensors", None])
def test_a_damaged_file_is_written_anew(
    load: Callable[..., Weights], cache: Path, caplog: pytest.LogCaptureFixture, damage: bytes | None
) -> None:
    expected = logits(load())
    (file,) = cache.glob("weights-*")
    whole = file.read_bytes()
    file.write_bytes(whole[:-1] if damage is None else damage)
    with caplog.at_level(logging.WARNING):
        assert torch.equal(logits(load()), expected)
    assert f"quantised again: {file} cannot be read" in caplog.text
    assert file.read_bytes() == whole


def full_disk(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fsync(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", fsync)


def no_folder(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As in a container whose root is read-only."""
    cache.touch()


def open_to_others(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    cache.mkdir()
    cache.chmod(0o777)


def of_another_user(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    cache.mkdir(mode=0o700)
    monkeypatch.setattr(os, "geteuid", lambda: cache.stat().st_uid + 1)


@pytest.mark.parametrize("spoil", [full_disk, no_folder, open_to_others, of_another_user])
def test_where_nothing_can_be_left_a_replica_has_its_own(
    load: Callable[..., Weights],
    cache: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    spoil: Callable[[Path, pytest.MonkeyPatch], None],
) -> None:
    expected = logits(load(cache_mb=0))
    spoil(cache, monkeypatch)
    with caplog.at_level(logging.WARNING):
        own = load()
    assert torch.equal(logits(own), expected)
    assert [record.message.split(":")[0] for record in caplog.records] == [
        "The weights are not shared with other replicas"
    ]
    assert cache.is_file() or not list(cache.iterdir())


def test_replicas_that_start_together_share_one_file(
    load: Callable[..., Weights], cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The second of two to finish once replaced the file that the first had mapped: the weights were there twice."""
    read, others = model_weights._read, list[Weights | None]()

    def while_another_starts(*arguments: object) -> Weights:
        made = read(*arguments)  # type: ignore[arg-type]
        if not others:
            others.append(None)
            others[0] = load()
        return made

    monkeypatch.setattr(model_weights, "_read", while_another_starts)
    one = load()
    (file,) = cache.glob("weights-*")
    maps = [line for line in Path("/proc/self/maps").read_text().splitlines() if "weights-" in line]
    assert is_mapped(one, cache)
    assert {line.split()[4] for line in maps} == {str(file.stat().st_ino)}


def other_weights(checkpoint: Checkpoint) -> None:
    """Of the same size, and with the same time of change, as some copies leave it."""
    file = Path(str(checkpoint.folder), "model.safetensors")
    before = file.stat()
    state = load_file(file)
    state["shared.weight"] = state["shared.weight"] + 1
    save_file(state, file, metadata={"format": "pt"})
    os.utime(file, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert file.stat().st_size == before.st_size


def another_configuration(checkpoint: Checkpoint) -> None:
    file = Path(str(checkpoint.folder), "config.json")
    file.write_text(file.read_text().replace('"layer_norm_epsilon": 1e-06', '"layer_norm_epsilon": 1e-02'))


@pytest.mark.parametrize("change", [other_weights, another_configuration])
def test_what_was_left_of_another_content_is_not_used(
    load: Callable[..., Weights], checkpoint: Checkpoint, compiled: Compiled, change: Callable[[Checkpoint], None]
) -> None:
    before = logits(load())
    change(checkpoint)
    after = logits(load())
    assert not torch.equal(after, before)
    assert torch.equal(after, logits(from_transformers(load_model(checkpoint), compiled)))


def test_what_changed_while_it_was_read_is_not_left(
    load: Callable[..., Weights], checkpoint: Checkpoint, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Half of it may be the old content, half the new; the next replica reads again."""
    read = model_weights._read

    def while_it_changes(*arguments: object) -> Weights:
        made = read(*arguments)  # type: ignore[arg-type]
        another_configuration(checkpoint)
        return made

    monkeypatch.setattr(model_weights, "_read", while_it_changes)
    load()
    assert not list(cache.glob("weights-*"))


def test_what_other_kernels_packed_is_not_used(
    load: Callable[..., Weights], compiled: Compiled, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    load()
    monkeypatch.setattr(compiled, "packing", "another")
    load()
    assert len(list(cache.glob("weights-*"))) == 2


def test_a_model_of_the_hub_is_known_by_its_commit(
    checkpoint: Checkpoint, compiled: Compiled, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Then neither the hub nor its cache is asked."""
    asked: list[str] = []

    def fetch(wanted: Checkpoint, files: tuple[str, ...]) -> Path:
        asked.append(str(wanted.commit))
        return Path(str(checkpoint.folder))

    monkeypatch.setattr(model_weights, "fetch", fetch)
    pinned = Checkpoint(name="someone/model", requested="someone/model", commit="a" * 40)
    for commit in ("a" * 40, "a" * 40, "b" * 40):
        load_weights(replace(pinned, commit=commit), compiled, 64)
    assert asked == ["a" * 40, "b" * 40]


def test_what_was_used_longest_ago_makes_room(load: Callable[..., Weights], cache: Path) -> None:
    cache.mkdir(mode=0o700)
    for number, name in enumerate(("weights-old", "weights-new", "kernels-oldest.so")):
        (cache / name).write_bytes(bytes(2**19 + 1))
        os.utime(cache / name, (number, number))
    load(cache_mb=1)
    (left,) = {file.name for file in cache.iterdir()} - {"weights-new", "kernels-oldest.so"}
    assert left.startswith("weights-")
    assert left != "weights-old"


def test_a_model_that_is_larger_than_the_limit_is_not_left(
    load: Callable[..., Weights], cache: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(model_weights._Made, "bytes", 3 * 1024**2)
    with caplog.at_level(logging.WARNING):
        load(cache_mb=2)
    assert "they take 3 MiB; weights_cache_mb allows 2" in caplog.text
    assert not list(cache.glob("weights-*"))


def lose_a_weight(state: dict[str, Tensor]) -> None:
    del state["decoder.block.1.layer.1.EncDecAttention.v.weight"]


def cut_a_weight(state: dict[str, Tensor]) -> None:
    """The kernels would read beyond its end."""
    name = "decoder.block.1.layer.1.EncDecAttention.v.weight"
    state[name] = state[name][:, :-1].contiguous()


@pytest.mark.parametrize(
    ("damage", "says"),
    [
        (lose_a_weight, r"mine lacks weights: decoder.block.1.layer.1.EncDecAttention.v.weight"),
        (cut_a_weight, r"EncDecAttention.v is \(32, 31\), and by the model's config.json \(32, 32\)"),
    ],
)
def test_weights_that_do_not_fit_are_named(
    load: Callable[..., Weights],
    checkpoint: Checkpoint,
    cache: Path,
    damage: Callable[[dict[str, Tensor]], None],
    says: str,
) -> None:
    file = Path(str(checkpoint.folder), "model.safetensors")
    state = load_file(file)
    damage(state)
    save_file(state, file, metadata={"format": "pt"})
    with pytest.raises(ModelError, match=says):
        load()
    assert not list(cache.glob("weights-*"))


def test_a_kind_of_t5_that_is_not_supported_is_named(load: Callable[..., Weights], checkpoint: Checkpoint) -> None:
    file = Path(str(checkpoint.folder), "config.json")
    config = json.loads(file.read_text())
    file.write_text(json.dumps(config | {"feed_forward_proj": "gelu", "dense_act_fn": "gelu"}))
    with pytest.raises(ModelError, match="mine cannot be read: feed_forward_proj 'gelu' is not supported"):
        load()
