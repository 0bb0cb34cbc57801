"""spec.serveConfigV2 of each overlay: serve_config.yaml and the serve-config.patch.yaml files on the way to it.

Kustomize reads no file above a kustomization's folder and cannot change a part of a text, so this is done here. The
result is a patch beside each serve-config.patch.yaml, which lets `kubectl apply -k` work by itself; a stale one is a
problem that the checks report.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

from manifest_checks.kustomization import SERVE_CONFIG as SOURCE
from manifest_checks.kustomization import SERVE_CONFIG_GENERATED as GENERATED
from manifest_checks.kustomization import SERVE_CONFIG_PATCH as PATCH
from manifest_checks.kustomization import folders
from manifest_checks.objects import at
from manifest_checks.yaml_text import load

_HEAD = f"""\
# Made by `make manifests` from {SOURCE} and every {PATCH} from the base up to here. Edit those.
- op: add
  path: /spec/serveConfigV2
  value: |
"""


class PatchError(Exception):
    """A serve-config.patch.yaml does not fit what it patches; the text names the file and the field."""


def compose(root: Path, folder: Path) -> dict[str, Any]:
    """The serve config of the kustomization in `folder`. Raises PatchError."""
    config: dict[str, Any] = load((root / SOURCE).read_text(encoding="utf-8"))
    for patch in patches(folder):
        try:
            config = _merge(config, load(patch.read_text(encoding="utf-8")), "")
        except PatchError as error:
            raise PatchError(f"{patch.relative_to(root)}: {error}") from None
    return config


def patches(folder: Path) -> list[Path]:
    """The patches that apply in `folder`: the base's first, its own last."""
    return [each / PATCH for each in folders(folder) if (each / PATCH).exists()]


def generate(root: Path) -> Iterator[tuple[Path, str]]:
    """Each generated file and what it should hold. Raises PatchError."""
    for patch in sorted((root / "kuberay").rglob(PATCH)):
        yield patch.with_name(GENERATED), as_patch(compose(root, patch.parent))


def as_patch(config: dict[str, Any]) -> str:
    text = yaml.safe_dump(config, sort_keys=False, width=1000)
    return _HEAD + "".join(f"    {line}\n" for line in text.splitlines())


def _merge(old: Any, new: Any, field: str) -> Any:
    """`new` over `old`: mappings key by key, lists of named items item by item, all else replaced."""
    if isinstance(old, dict) and isinstance(new, dict):
        return old | {key: _merge(old.get(key), value, f"{field}.{key}".lstrip(".")) for key, value in new.items()}
    if _is_named(old) and isinstance(new, list):
        return _merge_items(old, new, field)
    return new


def _is_named(items: Any) -> bool:
    return isinstance(items, list) and bool(items) and all(isinstance(at(item, "name"), str) for item in items)


def _merge_items(old: list[Any], new: list[Any], field: str) -> list[Any]:
    merged = {item["name"]: item for item in old}
    for item in new:
        name = at(item, "name")
        if name not in list(merged):
            raise PatchError(f"{field}: there is no {name!r} to patch; it has {', '.join(merged)}")
        merged[name] = _merge(merged[name], item, f"{field}.{name}")
    return list(merged.values())
