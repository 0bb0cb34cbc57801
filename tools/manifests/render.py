"""`kubectl kustomize` of each overlay: files in, Kubernetes objects out."""

import shutil
import subprocess
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import yaml

from tools.manifests.kustomization import Sources
from tools.manifests.objects import Object, Problem

TIMEOUT_S = 60


class RenderError(Exception):
    """An overlay cannot be rendered; the text is kustomize's, which names the file."""


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

    def sentence(self, problem: Problem) -> str:
        """One line for a person: file, field, object, and what is wrong."""
        file = problem.file or self.sources.file_of(problem.where, problem.field)
        return f"{file}: {'.'.join(problem.field)}: {problem.message} [{problem.where}, {self.name}]"


def kubectl() -> str | None:
    """The kubectl on the PATH, or None."""
    return shutil.which("kubectl")


def overlays(root: Path) -> list[Path]:
    """Everything that can be applied, the base first."""
    return [root / "kuberay/base", *sorted((root / "kuberay/overlays").iterdir())]


def render(root: Path, folder: Path) -> Rendering:
    """Raises RenderError."""
    program = kubectl()
    if program is None:
        raise RenderError("kubectl is not on the PATH")
    command = [program, "kustomize", str(folder)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=TIMEOUT_S, check=False)
    if done.returncode:
        raise RenderError(f"{folder.relative_to(root)}: {_reason(done.stderr)}")
    return Rendering(root, folder, [obj for obj in yaml.safe_load_all(done.stdout) if obj])


def _reason(output: str) -> str:
    """What kustomize complains about, in one line, without what kubectl's logging puts around it."""
    text = " ".join(output.split()).rpartition("err=<")[2].removesuffix(">").strip()
    return text.removeprefix("error: ") or "no reason given"
