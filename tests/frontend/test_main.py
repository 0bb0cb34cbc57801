"""`python -m frontend`: refuses with sentences, starts, stops."""

import os
import re
import signal
import socket
import subprocess
import sys
import urllib.request
from pathlib import Path

import pytest

from frontend.__main__ import main

ROOT = Path(__file__).parents[2]


def refusal(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], **settings: str) -> str:
    """What a start with these settings says before it gives up."""
    for name, value in settings.items():
        monkeypatch.setenv(f"FRONTEND_{name.upper()}", value)
    assert main() == 2
    said = capsys.readouterr().err
    assert all(line.startswith("frontend: ") for line in said.splitlines())
    return said


@pytest.mark.parametrize(
    ("settings", "sentence"),
    [
        ({"port": "tcp://10.0.0.1:80"}, "FRONTEND_PORT Input should be a valid integer"),
        ({"secret_key": "too-short-and-private"}, "FRONTEND_SECRET_KEY is too short"),
        ({"database_url": "postgresql://u:private@h/d"}, "FRONTEND_SECRET_KEY is required"),
        ({"suggestions": "not json"}, "suggestions"),
        ({"host": "256.0.0.1", "secret_key": "kX9-vT2mQ7_rLp4wZs8bNc1yHd6fJg3e"}, "cannot listen on 256.0.0.1"),
    ],
)
def test_wrong_settings_are_refused_in_a_sentence(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], settings: dict[str, str], sentence: str
) -> None:
    said = refusal(monkeypatch, capsys, **settings)
    assert sentence in said
    assert "private" not in said


def test_every_wrong_setting_is_told_at_once(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    said = refusal(monkeypatch, capsys, port="-1", log_level="loud")
    assert "FRONTEND_PORT" in said and "FRONTEND_LOG_LEVEL" in said


def test_a_port_in_use_is_a_sentence(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = str(other.getsockname()[1])
        said = refusal(monkeypatch, capsys, port=port, database_url=f"sqlite:///{tmp_path}/chats.sqlite3")
    assert f"port {port}: Address already in use" in said
    assert "FRONTEND_PORT" in said


def start(folder: Path, **settings: str) -> subprocess.Popen[str]:
    names = {f"FRONTEND_{name.upper()}": value for name, value in settings.items()}
    defaults = {"FRONTEND_PORT": "0", "FRONTEND_DATABASE_URL": f"sqlite:///{folder}/chats.sqlite3"}
    return subprocess.Popen(
        [sys.executable, "-m", "frontend"],
        cwd=ROOT,
        env=dict(os.environ) | defaults | names,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def until(process: subprocess.Popen[str], words: str) -> str:
    """What it logs, up to the line that says these words."""
    assert process.stdout is not None
    log = ""
    for line in process.stdout:
        log += line
        if words in line:
            break
    return log


@pytest.mark.parametrize("name", ["chats.sqlite3", "chats.sqlite3.lock"])
def test_an_unusable_database_is_named(tmp_path: Path, name: str) -> None:
    (tmp_path / name).mkdir()
    process = start(tmp_path)
    errors, _ = process.communicate(timeout=120)
    assert process.returncode == 3
    assert "the database of FRONTEND_DATABASE_URL" in errors


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_starts_says_where_warns_of_misspelt_names_and_stops(tmp_path: Path, number: signal.Signals) -> None:
    process = start(tmp_path, prot="9")
    log = until(process, "startup complete")
    process.send_signal(number)
    rest, _ = process.communicate(timeout=120)
    assert "frontend on http://127.0.0.1:" in log
    assert "FRONTEND_PROT is not a setting" in log
    assert "shutdown complete" in rest
    assert "Traceback" not in log + rest


def test_what_people_search_for_is_not_logged(tmp_path: Path) -> None:
    """A search is an address: uvicorn logs addresses whole."""
    process = start(tmp_path)
    try:
        log = until(process, "startup complete")
        port = re.search(r"frontend on http://127.0.0.1:(\d+)", log)
        assert port is not None
        with urllib.request.urlopen(f"http://127.0.0.1:{port[1]}/conversations?q=private+words", timeout=30) as page:
            assert page.status == 200
        requests = until(process, "GET /conversations")
    finally:
        process.terminate()
        rest, _ = process.communicate(timeout=120)
    assert "GET /conversations HTTP" in requests
    assert "private" not in log + requests + rest
