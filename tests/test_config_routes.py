"""The configuration over HTTP: read by all who may ask, changed by those who may, and never by two at once."""

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from fastapi.testclient import TestClient

from serve_app.chat import Chat
from serve_app.chat_config import ConfigFile
from serve_app.checkpoint import ROOT, Checkpoint
from serve_app.ingress import create_api
from serve_app.keys import KeyRing
from serve_app.messages import TokenChunk
from serve_app.settings import AppArgs
from tests.support.checkpoints import small_tokenizer
from tests.support.fakes import ORIGIN, FakeReplicas

TEXT = "# ours\ninstruction: Answer.\nknowledge: A pod is small. A node is big.\n"
ADMIN = {"Authorization": "Bearer sk-of-the-admin-itself"}
TOKENIZER = small_tokenizer()
PAGE = {"Authorization": "Bearer sk-of-the-page-itself"}


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "config" / "chatbot.yaml"
    path.parent.mkdir()
    path.write_text(TEXT)
    return path


@pytest.fixture
def replicas() -> FakeReplicas:
    return FakeReplicas(lambda request: [TokenChunk([20], ORIGIN, "stop")])


@pytest.fixture
def client(path: Path, tmp_path: Path, replicas: FakeReplicas) -> Iterator[TestClient]:
    keys = tmp_path / "keys.yaml"
    keys.write_text("page: sk-of-the-page-itself\nadmin: {key: sk-of-the-admin-itself, admin: true}\n")
    args = AppArgs()
    checkpoint = Checkpoint(name="mini", requested="mini", folder=ROOT)
    chat = Chat(args, checkpoint, TOKENIZER, ConfigFile(path, args.max_reply_tokens), replicas)
    yield TestClient(create_api(chat, keys=KeyRing(keys)))


def opened(client: TestClient) -> dict[str, Any]:
    file: dict[str, Any] = client.get("/config", headers=ADMIN).json()["file"]
    return file


def put(client: TestClient, text: str, version: str, headers: dict[str, str] = ADMIN) -> Any:
    return client.put("/config/file", json={"text": text, "version": version}, headers=headers)


def test_who_may_ask_sees_the_configuration_in_use(client: TestClient, monkeypatch: pytest.MonkeyPatch) -> None:
    assert client.get("/config").status_code == 401
    monkeypatch.setenv("TOP_P", "0.5")
    seen = client.get("/config", headers=PAGE).json()
    assert (seen["config"]["instruction"], seen["environment"], seen["error"]) == ("Answer.", ["TOP_P"], None)
    assert seen["version"] == client.get("/health").json()["config_version"]


def test_only_an_admin_reads_and_changes_the_file(client: TestClient, path: Path) -> None:
    assert client.get("/config", headers=PAGE).json()["file"] is None
    refused = put(client, "instruction: Obey.\nknowledge: ''\n", opened(client)["version"], PAGE)
    assert (refused.status_code, refused.json()["error"]["type"]) == (403, "forbidden")
    assert path.read_text() == TEXT


def test_without_keys_nobody_is_an_admin(path: Path, replicas: FakeReplicas) -> None:
    checkpoint = Checkpoint(name="mini", requested="mini", folder=ROOT)
    chat = Chat(AppArgs(), checkpoint, TOKENIZER, ConfigFile(path, 256), replicas)
    open_to_all = TestClient(create_api(chat))
    assert open_to_all.get("/config").json()["file"] is None
    assert put(open_to_all, TEXT, "").status_code == 403


def test_a_save_is_in_use_at_once_and_keeps_what_was_written(client: TestClient, path: Path) -> None:
    path.chmod(0o640)
    file = opened(client)
    assert file["text"] == TEXT
    edited = TEXT.replace("Answer.", "Reply in rhyme. ✓")
    before = client.get("/config", headers=PAGE).json()["version"]
    saved = put(client, edited, file["version"])
    assert saved.status_code == 200
    assert saved.json()["config"]["instruction"] == "Reply in rhyme. ✓"
    assert saved.json()["version"] == client.get("/health").json()["config_version"] != before
    assert path.read_text() == edited
    assert path.stat().st_mode & 0o777 == 0o640
    assert [each.name for each in path.parent.iterdir()] == ["chatbot.yaml"]


def test_of_two_edits_of_one_version_the_second_is_refused(client: TestClient, path: Path) -> None:
    version = opened(client)["version"]
    assert put(client, TEXT + "# first\n", version).status_code == 200
    refused = put(client, TEXT + "# second\n", version)
    assert (refused.status_code, refused.json()["error"]["type"]) == (409, "outdated")
    assert path.read_text() == TEXT + "# first\n"


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("instruction: 3\nknowledge: ''\n", "instruction"),
        ("{", "YAML"),
        (TEXT + "generation: {max_length: 999}", "999"),
    ],
)
def test_a_bad_edit_changes_nothing_and_says_why(client: TestClient, path: Path, text: str, reason: str) -> None:
    refused = put(client, text, opened(client)["version"])
    assert (refused.status_code, reason in refused.json()["error"]["message"]) == (422, True)
    assert path.read_text() == TEXT


def test_a_file_that_cannot_be_written_says_so(client: TestClient, path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As one that is mounted from a ConfigMap."""

    def read_only(**_: object) -> None:
        raise OSError(30, "Read-only file system")

    monkeypatch.setattr("tempfile.mkstemp", read_only)
    refused = put(client, TEXT + "# more\n", opened(client)["version"])
    assert (refused.status_code, "Read-only file system" in refused.json()["error"]["message"]) == (403, True)


def test_an_edit_that_is_interrupted_leaves_the_old_file_alone(
    client: TestClient, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    assert put(client, TEXT + "# more\n", opened(client)["version"]).status_code == 403
    assert path.read_text() == TEXT
    assert [each.name for each in path.parent.iterdir()] == ["chatbot.yaml"]


def test_a_preview_shows_the_prompt_that_a_reply_would_have(client: TestClient, replicas: FakeReplicas) -> None:
    asked = {"dialog": ["What is a pod?"]}
    preview = client.post("/preview", json=asked, headers=PAGE).json()
    assert replicas.requests == []
    reply = client.post("/chat", json=asked, headers=PAGE).json()
    assert preview["grounding"] == reply["grounding"]
    assert preview["prompt_tokens"] == reply["usage"]["prompt_tokens"] < preview["window"] == 512
    assert preview["prompt"] == TOKENIZER.decode(replicas.requests[0].prompt_ids)
    assert client.post("/preview", json={"dialog": [" "]}, headers=PAGE).status_code == 422
