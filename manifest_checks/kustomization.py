"""Reads kustomizations as files: which folder builds on which, and which file sets a field of a rendered object."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from manifest_checks.objects import Field, Object, identity, named, nodes
from manifest_checks.yaml_text import load, load_all

FILE = "kustomization.yaml"
SERVE_CONFIG = "serve_config.yaml"
SERVE_CONFIG_PATCH = "serve-config.patch.yaml"
SERVE_CONFIG_GENERATED = "serve-config.generated.yaml"
SERVE_CONFIG_FIELD = ("spec", "serveConfigV2")


def read(folder: Path) -> dict[str, Any]:
    """Empty where there is none: kustomize says so, with the folder's name."""
    file = folder / FILE
    content: dict[str, Any] = (load(file.read_text(encoding="utf-8")) if file.exists() else None) or {}
    return content


def folders(folder: Path) -> list[Path]:
    """The folders that `folder` builds on, the deepest first, itself last."""
    found: list[Path] = []
    kustomization = read(folder)
    for resource in [*kustomization.get("resources", []), *kustomization.get("components", [])]:
        if (folder / resource).is_dir():
            found += folders((folder / resource).resolve())
    return [*found, folder.resolve()]


@dataclass(frozen=True)
class _Setter:
    """A file, and the place in an object that it sets: all of the object where `field` is empty."""

    file: Path
    where: str  # kind/name
    field: Field


class Sources:
    """Finds the file to edit. Of several that set a field the one closest to the overlay wins, as in kustomize."""

    def __init__(self, root: Path, folder: Path, objects: list[Object]) -> None:
        self._root, self._folder = root, folder
        self._objects = {identity(obj): obj for obj in objects}
        self._service = next((name for name in self._objects if name.startswith("RayService/")), "RayService/?")
        chain = list(reversed(folders(folder)))
        self._setters = [
            *(setter for each in chain for setter in self._patches(each)),
            _Setter(root / SERVE_CONFIG, self._service, SERVE_CONFIG_FIELD),
            *(setter for each in chain for setter in _resources(each)),
        ]

    def file_of(self, where: str, field: Field) -> str:
        """Relative to the root. The object's own file where no patch sets the field; else what puts all together."""
        for setter in self._setters:
            if setter.where == where and field[: len(setter.field)] == setter.field:
                return str(setter.file.relative_to(self._root))
        return str((self._folder / FILE).relative_to(self._root))

    def _patches(self, folder: Path) -> Iterator[_Setter]:
        if (folder / SERVE_CONFIG_PATCH).exists():
            for field in _leaves(_documents(folder / SERVE_CONFIG_PATCH)[0]):
                yield _Setter(folder / SERVE_CONFIG_PATCH, self._service, (*SERVE_CONFIG_FIELD, *field))
        for patch in reversed(read(folder).get("patches", [])):
            if patch.get("path", SERVE_CONFIG_GENERATED) != SERVE_CONFIG_GENERATED:
                yield from self._patch(folder / patch["path"], patch.get("target", {}))

    def _patch(self, file: Path, target: dict[str, str]) -> Iterator[_Setter]:
        for content in _documents(file):
            if isinstance(content, list):  # JSON 6902
                where = f"{target.get('kind')}/{target.get('name')}"
                for operation in content:
                    steps: list[str | int] = [_unescaped(step) for step in operation["path"].split("/")[1:]]
                    yield _Setter(file, where, named(self._objects.get(where), steps))
            else:  # strategic merge
                for field in _leaves(content):
                    yield _Setter(file, identity(content), field)


def _resources(folder: Path) -> Iterator[_Setter]:
    kustomization = read(folder)
    for generator in kustomization.get("configMapGenerator", []):
        for entry in generator.get("files", []):
            key, _, path = entry.rpartition("=")
            yield _Setter(folder / path, f"ConfigMap/{generator['name']}", ("data", key or path))
    for resource in kustomization.get("resources", []):
        if (folder / resource).is_file():
            for obj in _documents(folder / resource):
                yield _Setter(folder / resource, identity(obj), ())


def _leaves(content: Any) -> Iterator[Field]:
    """Where a patch sets something; the names that only say which object or item it means are left out."""
    for field, value in nodes(content):
        if not isinstance(value, dict | list) and field and field[-1] != "name":
            yield field


def _unescaped(step: str) -> str:
    return step.replace("~1", "/").replace("~0", "~")


def _documents(file: Path) -> list[Any]:
    return [content for content in load_all(file.read_text(encoding="utf-8")) if content]
