"""`python -m serve_app`: what each command shows, and its exit codes."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from click.testing import CliRunner, Result

from serve_app import __main__ as command_line
from serve_app.client import Finished, ServiceError
from serve_app.keys import KeyRing
from tests.support.stub_backend import Answer, StubBackend

REPLY = {
    "response": "A pod is small.",
    "nodeName": "node-1",
    "model": "mini",
    "config_version": "abc",
    "origins": [{"replica_id": "r1"}, {"replica_id": "r2"}],
    "usage": {"completion_tokens": 8},
    "grounded": 1.0,
}


def run(*arguments: str, typed: str = "") -> Result:
    return CliRunner().invoke(command_line.main, arguments, input=typed)


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[dict[str, Any]]:
    """The bodies that a client was asked; it answers each, but refuses "bad"."""
    bodies: list[dict[str, Any]] = []

    class Client:
        def __init__(self, url: str, key: str | None) -> None:
            assert (url, key) == ("http://here", None)

        def ask(self, body: dict[str, Any]) -> Iterator[str | Finished]:
            bodies.append(body)
            if body["dialog"][-1] == "bad":
                raise ServiceError("429: all busy")
            yield from ("A pod", " is small.")
            yield Finished(REPLY, seconds=0.25, first_piece_s=0.05)

    monkeypatch.setattr(command_line, "ChatClient", Client)
    return bodies


def test_one_question_is_answered_with_its_tags(asked: list[dict[str, Any]], tmp_path: Path) -> None:
    (tmp_path / "shop.txt").write_text("We open at nine.")
    shown = run(
        "chat",
        "http://here",
        "--ask",
        "When?",
        "--knowledge",
        str(tmp_path / "shop.txt"),
        "--instruction",
        "Say.",
        "--free",
    )
    assert shown.exit_code == 0
    assert shown.output == (
        "A pod is small.\n"
        "  [r1 -> r2 | node-1 | mini | configuration abc | first word 50 ms | all 250 ms | 40 tokens/s"
        " | 100% from the text]\n"
    )
    assert asked == [
        {"dialog": ["When?"], "knowledge": "We open at nine.", "instruction": "Say.", "generation": {"quote": False}}
    ]


def test_a_dialogue_is_kept_a_refusal_does_not_spoil_it_and_a_new_one_can_begin(asked: list[dict[str, Any]]) -> None:
    shown = run("chat", "http://here", typed="one\nbad\ntwo\n/new\nthree\n\n")
    assert shown.exit_code == 0
    assert [body["dialog"] for body in asked] == [
        ["one"],
        ["one", "A pod is small.", "bad"],
        ["one", "A pod is small.", "two"],
        ["three"],
    ]
    assert "429: all busy" in shown.stderr


def test_the_exit_code_says_that_one_question_was_refused(asked: list[dict[str, Any]]) -> None:
    shown = run("chat", "http://here", "--ask", "bad")
    assert (shown.exit_code, shown.stderr) == (1, "Error: 429: all busy\n")


def test_a_good_configuration_is_summed_up() -> None:
    shown = run("config", "check", "configs/chatbot.yaml")
    assert shown.exit_code == 0
    assert "is a good configuration, version " in shown.output and " passages, " in shown.output


def test_a_bad_configuration_is_explained(tmp_path: Path) -> None:
    (tmp_path / "bad.yaml").write_text("instruction: Answer.\nknowledge: x\ngeneration: {max_length: 0}\n")
    shown = run("config", "check", str(tmp_path / "bad.yaml"))
    assert shown.exit_code == 1
    assert "generation.max_length" in shown.stderr


def test_a_prompt_is_shown_with_its_passages_and_the_window() -> None:
    shown = run("prompt", "What is a pod?", "A pod is the smallest unit.", "And what is a node?")
    assert shown.exit_code == 0
    passages, prompt = shown.output.split("\nPrompt\n")
    assert re.search(r"[01]\.\d\d  .*A node is a machine that runs pods\.", passages)
    assert "filling" in passages
    assert "[CONTEXT] What is a pod? EOS A pod is the smallest unit. EOS And what is a node?" in prompt
    assert " of 512 tokens" in prompt


def test_a_new_key_comes_with_its_line(tmp_path: Path) -> None:
    shown = run("keys", "new", "page")
    key, line = (part.split(":", 1)[1].strip() for part in shown.output.splitlines())
    (tmp_path / "keys.yaml").write_text(line)
    assert yaml.safe_load(line)["page"].keys() == {"sha256"} and key not in line
    assert KeyRing(tmp_path / "keys.yaml").admit(key).name == "page"


def test_a_text_that_cannot_be_read_is_wrong_usage(tmp_path: Path) -> None:
    shown = run("prompt", "What?", "--knowledge", str(tmp_path / "none.txt"))
    assert shown.exit_code == 2
    assert "none.txt cannot be read as text" in shown.stderr


def test_a_load_is_reported_and_its_failures_are_the_exit_code() -> None:
    with StubBackend() as backend:
        backend.plan(Answer(), Answer(status=500))
        shown = run("load", backend.url, "--clients", "1", "--seconds", "1", "--ask", "What is it?")
    assert shown.exit_code == 1 and "1 failed" in shown.output and "replies/s over time" in shown.output
    assert set(map(tuple, backend.dialogs)) == {("What is it?",)}
    with StubBackend() as backend:
        assert run("load", backend.url, "--rate", "5", "--seconds", "1").exit_code == 0


def test_two_kinds_of_load_at_once_are_refused() -> None:
    shown = run("load", "--clients", "2", "--rate", "2")
    assert (shown.exit_code, "two kinds of load" in shown.output) == (2, True)
