"""Where the model comes from: folders, the hub, its cache, the fallback; and what a damaged folder says."""

import json
import os
import shutil
import socket
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
import torch
from huggingface_hub import HfApi, constants, snapshot_download
from safetensors.torch import load_file, save_file

from serve_app import checkpoint as checkpoints
from serve_app.checkpoint import ROOT, load_model, load_tokenizer, resolve
from serve_app.errors import ModelError
from serve_app.settings import AppArgs
from tests.support.checkpoints import random_t5, save_checkpoint, small_tokenizer

GODEL = "microsoft/GODEL-v1_1-base-seq2seq"
COMMIT = "0123456789abcdef0123456789abcdef01234567"


@pytest.fixture(scope="module")
def good_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    model = random_t5(vocab_size=len(small_tokenizer()))
    return save_checkpoint(model, tmp_path_factory.mktemp("checkpoint"))


@pytest.fixture
def folder(good_folder: Path, tmp_path: Path) -> Path:
    """A copy, to be damaged."""
    return Path(shutil.copytree(good_folder, tmp_path / "model"))


@pytest.fixture
def no_hub(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A hub that refuses connections, and an empty cache."""
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        _use_hub(monkeypatch, f"http://127.0.0.1:{closed.getsockname()[1]}", tmp_path / "cache")


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, good_folder: Path) -> Iterator[str]:
    """A hub on this machine that knows one model, GODEL by name."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), _hub_of(good_folder))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    url = f"http://127.0.0.1:{server.server_port}"
    _use_hub(monkeypatch, url, tmp_path / "cache")
    yield url
    server.shutdown()
    server.server_close()


@pytest.fixture
def quoting_hub(hub: str, good_folder: Path) -> Iterator[Path]:
    """The folder behind the hub, whose generation_config.json may be changed."""
    path = good_folder / "generation_config.json"
    before = path.read_bytes()
    yield good_folder
    path.write_bytes(before)


def test_a_folder_is_read_and_named_as_it_was_asked_for(good_folder: Path) -> None:
    checkpoint = resolve(AppArgs(model=str(good_folder)))
    assert (checkpoint.name, checkpoint.is_fallback) == (str(good_folder), False)
    assert load_model(checkpoint).config.model_type == "t5"
    assert load_tokenizer(checkpoint)("a pod")["input_ids"][-1] == 1


def test_the_shipped_settings_name_models_that_can_be_had(no_hub: None) -> None:
    checkpoint = resolve(AppArgs(model=GODEL, fallback_model="models/mini"))
    assert checkpoint.folder == ROOT / "models/mini"
    assert checkpoint.requested == GODEL
    assert checkpoint.quote


def test_an_unreachable_hub_means_the_fallback_with_the_reason(no_hub: None, good_folder: Path, caplog: Any) -> None:
    checkpoint = resolve(AppArgs(model=GODEL, fallback_model=str(good_folder)))
    assert checkpoint.is_fallback
    assert checkpoint.name == str(good_folder)
    assert checkpoint.fallback_reason is not None
    assert "cannot be reached" in checkpoint.fallback_reason
    assert "fallback" in caplog.text


def test_without_a_fallback_the_error_names_model_reason_and_remedy(no_hub: None) -> None:
    with pytest.raises(ModelError) as raised:
        resolve(AppArgs(model=GODEL, fallback_model=None))
    for part in (GODEL, "cannot be reached", "folder", "fallback_model"):
        assert part in str(raised.value)


def test_a_silent_hub_is_given_up_in_time(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, good_folder: Path) -> None:
    """A hub that accepts connections and never answers; its client retries on its own."""
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen(16)
        _use_hub(monkeypatch, f"http://127.0.0.1:{silent.getsockname()[1]}", tmp_path)
        checkpoint = resolve(AppArgs(model=GODEL, fallback_model=str(good_folder), hub_timeout_s=0.5))
    assert checkpoint.fallback_reason is not None
    assert "cannot be reached" in checkpoint.fallback_reason


def test_the_hubs_answer_pins_a_commit_and_its_files_are_fetched(hub: str) -> None:
    checkpoint = resolve(AppArgs(model=GODEL))
    assert (checkpoint.name, checkpoint.commit, checkpoint.is_fallback) == (GODEL, COMMIT, False)
    assert load_model(checkpoint).config.model_type == "t5"


def test_a_tokenizer_is_fetched_without_the_weights(hub: str, tmp_path: Path) -> None:
    """It is read where the application is built, which may be a node without a model."""
    load_tokenizer(resolve(AppArgs(model=GODEL)))
    fetched = {path.name for path in (tmp_path / "cache").rglob("snapshots/*/*")}
    assert "tokenizer.json" in fetched
    assert "model.safetensors" not in fetched


def test_what_was_fetched_once_is_found_without_the_hub(hub: str, monkeypatch: pytest.MonkeyPatch) -> None:
    load_model(resolve(AppArgs(model=GODEL)))
    load_tokenizer(resolve(AppArgs(model=GODEL)))
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    checkpoint = resolve(AppArgs(model=GODEL))
    assert checkpoint.commit == COMMIT
    assert load_model(checkpoint).config.model_type == "t5"


def test_a_folder_recommends_quotes_if_its_generation_config_says_so(folder: Path, hub: str) -> None:
    """One that says nothing, as GODEL's, does not."""
    assert [resolve(AppArgs(model=model)).quote for model in (str(folder), GODEL)] == [False, False]
    for quote in (True, False):
        _edit_json(folder / "generation_config.json", quote=quote)
        assert resolve(AppArgs(model=str(folder))).quote is quote
    (folder / "generation_config.json").unlink()
    assert resolve(AppArgs(model=str(folder))).quote is False


@pytest.mark.parametrize("quote", [True, False])
def test_a_model_of_the_hub_recommends_quotes_with_and_without_the_hub(
    quoting_hub: Path, monkeypatch: pytest.MonkeyPatch, quote: bool
) -> None:
    _edit_json(quoting_hub / "generation_config.json", quote=quote)
    checkpoint = resolve(AppArgs(model=GODEL))
    assert (checkpoint.commit, checkpoint.quote) == (COMMIT, quote)
    load_model(checkpoint)
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    assert resolve(AppArgs(model=GODEL)).quote is quote


def test_a_fallback_recommends_for_itself(no_hub: None, folder: Path) -> None:
    _edit_json(folder / "generation_config.json", quote=True)
    assert resolve(AppArgs(model=GODEL, fallback_model=str(folder))).quote


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("{", "generation_config.json"),
        ("[]", "generation_config.json"),
        ('{"quote": "yes"}', "quote is 'yes'; it must be true or false"),
        ('{"quote": null}', "quote is None"),
    ],
)
def test_a_generation_config_that_cannot_be_read_is_said_so(folder: Path, text: str, says: str) -> None:
    (folder / "generation_config.json").write_text(text)
    with pytest.raises(ModelError, match=says):
        resolve(AppArgs(model=str(folder)))


def test_an_id_that_the_hub_does_not_know_is_said_so(hub: str) -> None:
    with pytest.raises(ModelError, match="hub does not know it"):
        resolve(AppArgs(model="nobody/nothing"))


@pytest.mark.parametrize("name", ["./missing", "/missing/folder"])
def test_a_missing_folder_is_said_so_without_asking_the_hub(name: str) -> None:
    with pytest.raises(ModelError, match="no such folder"):
        resolve(AppArgs(model=name))


def _truncate(folder: Path) -> None:
    weights = folder / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-1000])


def _lose_a_weight(folder: Path) -> None:
    weights = load_file(folder / "model.safetensors")
    del weights["decoder.block.1.layer.1.EncDecAttention.v.weight"]
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})


def _edit_config(folder: Path, **values: Any) -> None:
    _edit_json(folder / "config.json", **values)


def _edit_json(path: Path, **values: Any) -> None:
    path.write_text(json.dumps(json.loads(path.read_text()) | values))


@pytest.mark.parametrize(
    ("damage", "says"),
    [
        (_truncate, "damaged weights"),
        (_lose_a_weight, "EncDecAttention.v"),
        (lambda folder: (folder / "model.safetensors").unlink(), "no weights"),
        (lambda folder: (folder / "config.json").write_text("{"), "config.json"),
        (lambda folder: (folder / "config.json").unlink(), "config.json"),
        (lambda folder: (folder / "tokenizer.json").write_text("{"), "tokenizer"),
        (lambda folder: _edit_config(folder, model_type="bert"), "type bert"),
        (lambda folder: _edit_config(folder, vocab_size=10), "do not belong together"),
    ],
)
def test_a_damaged_folder_is_refused_before_a_replica_starts(folder: Path, damage: Any, says: str) -> None:
    damage(folder)
    with pytest.raises(ModelError, match=says) as raised:
        resolve(AppArgs(model=str(folder)))
    assert str(folder) in str(raised.value)


def test_a_damaged_folder_means_the_fallback_where_there_is_one(folder: Path, good_folder: Path) -> None:
    _truncate(folder)
    checkpoint = resolve(AppArgs(model=str(folder), fallback_model=str(good_folder)))
    assert checkpoint.fallback_reason is not None
    assert "damaged weights" in checkpoint.fallback_reason


def _save_pickle(state: dict[str, Any], folder: Path) -> None:
    torch.save(state, folder / "pytorch_model.bin")


def _save_old_pickle(state: dict[str, Any], folder: Path) -> None:
    torch.save(state, folder / "pytorch_model.bin", _use_new_zipfile_serialization=False)


def _save_sharded_pickle(state: dict[str, Any], folder: Path) -> None:
    shard = "pytorch_model-00001-of-00001.bin"
    torch.save(state, folder / shard)
    index = {"metadata": {}, "weight_map": dict.fromkeys(state, shard)}
    (folder / "pytorch_model.bin.index.json").write_text(json.dumps(index))


@pytest.mark.parametrize("save", [_save_pickle, _save_old_pickle, _save_sharded_pickle])
def test_a_pickled_checkpoint_is_read_without_running_its_code(
    folder: Path, save: Callable[[dict[str, Any], Path], None]
) -> None:
    """GODEL's own checkpoint is a pickle."""
    state = dict(load_model(resolve(AppArgs(model=str(folder)))).state_dict())
    (folder / "model.safetensors").unlink()
    save(state, folder)
    assert load_model(resolve(AppArgs(model=str(folder)))).config.model_type == "t5"
    save(state | {"shared.weight": _Malicious(folder / "ran")}, folder)
    with pytest.raises(ModelError, match="[Ww]eights.only|UnpicklingError|Unsupported"):
        load_model(resolve(AppArgs(model=str(folder))))
    assert not (folder / "ran").exists()


@pytest.mark.parametrize("of", ["config.json", "tokenizer_config.json"])
def test_python_that_comes_with_a_model_is_not_run(
    folder: Path, of: str, monkeypatch: pytest.MonkeyPatch, caplog: Any
) -> None:
    """transformers asks at the terminal whether to run it."""
    monkeypatch.setattr("builtins.input", lambda *prompt: "y")
    (folder / "own.py").write_text(f"from pathlib import Path\nPath({str(folder / 'ran')!r}).touch()\n")
    (folder / "tokenizer.json").unlink()
    kinds = {"AutoConfig": "own.Config", "AutoTokenizer": ["own.Tokenizer", "own.Tokenizer"]}
    _edit_json(folder / of, auto_map=kinds, model_type="own", tokenizer_class="OwnTokenizer")
    with pytest.raises(ModelError):
        resolve(AppArgs(model=str(folder)))
    assert not (folder / "ran").exists()


def test_settings_may_name_any_folder_and_relative_ones_start_at_the_projects(good_folder: Path, no_hub: None) -> None:
    """They are the operator's. What is no folder is asked for at the hub, by a name that the hub's client checks."""
    outside = os.path.relpath(good_folder, ROOT)
    assert outside.startswith("..")
    for model in (str(good_folder), outside, "models/../models/mini"):
        assert resolve(AppArgs(model=model)).folder == ROOT / model
    for model in ("nobody/../../etc", "models/mini/config.json", "models/mini\0", "..\\models"):
        with pytest.raises(ModelError, match="cannot be had"):
            resolve(AppArgs(model=model))


class _Malicious:
    def __init__(self, path: Path) -> None:
        self._path = path

    def __reduce__(self) -> Any:
        return (Path.touch, (self._path,))


def _use_hub(monkeypatch: pytest.MonkeyPatch, url: str, cache: Path) -> None:
    monkeypatch.setattr(constants, "ENDPOINT", url)
    monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", url + "/{repo_id}/resolve/{revision}/{filename}")
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(cache))
    monkeypatch.setattr(checkpoints, "HfApi", lambda: HfApi(endpoint=url))
    monkeypatch.setattr(
        checkpoints,
        "snapshot_download",
        lambda *args, **options: snapshot_download(*args, **options, endpoint=url, cache_dir=cache),
    )


def _hub_of(folder: Path) -> type[BaseHTTPRequestHandler]:
    class Hub(BaseHTTPRequestHandler):
        """The calls that a download makes: what a revision is, its files, and each file."""

        def do_GET(self) -> None:
            if self.path.startswith(f"/api/models/{GODEL}/tree/"):
                tree = [
                    {"type": "file", "path": path.name, "size": path.stat().st_size, "oid": COMMIT}
                    for path in folder.iterdir()
                ]
                self._answer(json.dumps(tree).encode())
            elif self.path.startswith(f"/api/models/{GODEL}"):
                siblings = [{"rfilename": path.name} for path in folder.iterdir()]
                self._answer(json.dumps({"id": GODEL, "sha": COMMIT, "siblings": siblings}).encode())
            elif self.path.startswith(f"/{GODEL}/resolve/{COMMIT}/"):
                self._answer((folder / self.path.rsplit("/", 1)[1]).read_bytes())
            else:
                self.send_response(404)
                self.send_header("X-Error-Code", "RepoNotFound")
                self.send_header("Content-Length", "0")
                self.end_headers()

        do_HEAD = do_GET

        def _answer(self, body: bytes) -> None:
            self.send_response(200)
            self.send_header("ETag", f'"{hash(body):x}"')
            self.send_header("X-Repo-Commit", COMMIT)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            if self.command == "GET":
                self.wfile.write(body)

        def log_message(self, format: str, *args: Any) -> None:
            pass

    return Hub
