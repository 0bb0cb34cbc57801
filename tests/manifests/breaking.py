"""A sound overlay with one value changed, which the checks are tried on."""

import copy
import json
from typing import Any, NamedTuple

import yaml

from manifest_checks.objects import Field, Object, at, identity, item_key, nodes, without_nulls
from manifest_checks.render import Rendering
from manifest_checks.yaml_text import load

REMOVED = object()
# Texts that hold fields of their own: where they are, and how they are read and written.
_TEXTS = (
    ("spec", "serveConfigV2", load, yaml.safe_dump),
    ("data", "godel.json", json.loads, json.dumps),
)


class Broken(NamedTuple):
    rendering: Rendering
    where: str  # the object, as it is called now
    place: Field


def broken(rendering: Rendering, where: str, path: str, value: Any) -> Broken:
    """A copy with one value changed, added or (REMOVED) removed.

    where: the object as kind/name. path: how the place ends, its steps between dots, or slashes if one has a dot, as in
    a Problem's field: "ray-worker.env.POD_NAME". Of several such places the outermost is meant.
    """
    objects = opened(rendering.objects)
    obj = next(each for each in objects if identity(each) == where)
    *parents, last = path.split("/" if "/" in path else ".")
    found = [field for field, _ in nodes(obj) if list(field[len(field) - len(parents) :]) == parents]
    parent = min(found, key=len)
    assert [len(field) for field in found].count(len(parent)) == 1, f"{path} of {where} may be any of {found}"
    _put(obj, parent, last, value)
    return Broken(Rendering(rendering.root, rendering.folder, closed(objects)), identity(obj), (*parent, last))


def _put(target: Any, parent: Field, last: str, value: Any) -> None:
    for step in parent:
        target = target[step] if isinstance(target, dict) else _item(target, step)
    if isinstance(target, list):
        target.remove(_item(target, last))
        target += [] if value is REMOVED else [value]
    elif value is REMOVED:
        del target[last]
    else:
        target[last] = copy.deepcopy(value)


def _item(items: list[Any], name: str) -> Any:
    return next(item for index, item in enumerate(items) if item_key(item, index) == name)


def opened(objects: list[Object]) -> list[Object]:
    """A copy, with what the texts hold in their place."""
    objects = copy.deepcopy(objects)
    for obj in objects:
        for outer, inner, read, _ in _TEXTS:
            if isinstance(at(obj, outer, inner), str):
                obj[outer][inner] = read(obj[outer][inner])
    return objects


def closed(objects: list[Object]) -> list[Object]:
    """Texts again, of what is in those places now."""
    for obj in objects:
        for outer, inner, _, write in _TEXTS:
            if isinstance(at(obj, outer, inner), dict):
                obj[outer][inner] = write(obj[outer][inner])
    return [without_nulls(obj) for obj in objects]
