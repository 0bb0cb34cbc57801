"""What the checks speak of: a Kubernetes object, a place in it, and a problem at that place."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

Object = dict[str, Any]

# A place in an object. An item of a list is named by its `name`, else by its index:
# ("spec", "template", "spec", "containers", "frontend", "env", "FRONTEND_PORT", "value")
Field = tuple[str, ...]


@dataclass(frozen=True)
class Problem:
    """Something to correct. `where` is the object as kind/name; the file is found from it and the field."""

    where: str
    field: Field
    message: str
    file: str | None = None  # where the check knows it better


def identity(obj: Object) -> str:
    """Kind/name: what distinguishes the objects of one namespace. A question mark stands for what is missing."""
    return f"{at(obj, 'kind', default='?')}/{at(obj, 'metadata', 'name', default='?')}"


def without_nulls(value: Any) -> Any:
    """As the API server reads it: a field that is null is one that is not there."""
    if isinstance(value, dict):
        return {key: without_nulls(inner) for key, inner in value.items() if inner is not None}
    return [without_nulls(inner) for inner in value] if isinstance(value, list) else value


def nodes(value: Any, field: Field = ()) -> Iterator[tuple[Field, Any]]:
    """Everything in `value`, the outer before the inner, each with its place."""
    yield field, value
    for key, inner in children(value):
        yield from nodes(inner, (*field, key))


def children(value: Any) -> Iterator[tuple[str, Any]]:
    if isinstance(value, dict):
        for key, inner in value.items():
            yield str(key), inner
    elif isinstance(value, list):
        for index, inner in enumerate(value):
            yield item_key(inner, index), inner


def item_key(item: Any, index: int) -> str:
    """How an item of a list is named in a Field."""
    for key in ("name", "groupName"):
        if isinstance(item, dict) and isinstance(item.get(key), str):
            name: str = item[key]
            return name
    return str(index)


def named(obj: Any, steps: list[str | int]) -> Field:
    """The Field of a path that counts list items, such as a JSON pointer's; walked through `obj` as far as it goes."""
    field: list[str] = []
    for step in steps:
        if isinstance(obj, list):
            index = int(step) if str(step).isdigit() else len(obj)
            obj = obj[index] if index < len(obj) else None
            field.append(item_key(obj, index))
        else:
            obj = obj.get(step) if isinstance(obj, dict) else None
            field.append(str(step))
    return tuple(field)


def at(obj: Any, *steps: str | int, default: Any = None) -> Any:
    """The value under `steps`, or `default` where one of them is missing."""
    for step in steps:
        try:
            obj = obj[step]
        except (KeyError, IndexError, TypeError):
            return default
    return obj


QUANTITY = re.compile(r"(\d+(?:\.\d+)?(?:[eE]\d+)?)(m|k|[MGTPE]|[KMGTPE]i)?")
_DECIMAL = {"m": 1e-3, "k": 1e3} | {unit: 1e3**power for power, unit in enumerate("MGTPE", 2)}
_UNITS = _DECIMAL | {f"{unit}i": 1024.0**power for power, unit in enumerate("KMGTPE", 1)}


def quantity(value: str | float) -> float:
    """A quantity of Kubernetes as a number: 500m is half of one. Raises ValueError for what is none."""
    found = QUANTITY.fullmatch(str(value))
    if found is None:
        raise ValueError(f"{value!r} is no quantity, such as 500m, 2 or 4Gi")
    return float(found[1]) * _UNITS.get(found[2], 1)


@dataclass(frozen=True)
class Pod:
    """A pod template, wherever it stands."""

    owner: Object
    field: Field  # of its spec
    labels: dict[str, str]
    spec: Object
    role: str  # head, worker, or the owner's kind in small letters
    group: Object | None = None  # of Ray: its group's spec

    @property
    def where(self) -> str:
        return identity(self.owner)

    @property
    def containers(self) -> list[Object]:
        containers: list[Object] = self.spec.get("containers", [])
        return containers

    def place(self, container: Object, *inner: str) -> Field:
        return (*self.field, "containers", container["name"], *inner)


# What the operator adds to the labels of every Ray pod (labelPod in its pod.go), as far as policies select by it.
_RAY_NODE = {"ray.io/is-ray-node": "yes", "ray.io/cluster": "made-by-the-operator"}


def pods(objects: list[Object]) -> Iterator[Pod]:
    """Every pod that the objects will lead to, with its labels, those that the operator adds included."""
    for obj in objects:
        if obj["kind"] in ("Deployment", "StatefulSet"):
            template = obj["spec"]["template"]
            field = ("spec", "template", "spec")
            yield Pod(obj, field, at(template, "metadata", "labels", default={}), template["spec"], obj["kind"].lower())
        elif obj["kind"] == "RayService":
            yield from _ray_pods(obj)


def _ray_pods(obj: Object) -> Iterator[Pod]:
    cluster = obj["spec"]["rayClusterConfig"]
    start = ("spec", "rayClusterConfig")
    yield _ray_pod(obj, cluster["headGroupSpec"], (*start, "headGroupSpec"), "head")
    for index, group in enumerate(cluster.get("workerGroupSpecs", [])):
        yield _ray_pod(obj, group, (*start, "workerGroupSpecs", item_key(group, index)), "worker")


def _ray_pod(obj: Object, group: Object, start: Field, role: str) -> Pod:
    template = group["template"]
    labels = at(template, "metadata", "labels", default={}) | _RAY_NODE | {"ray.io/node-type": role}
    return Pod(obj, (*start, "template", "spec"), labels, template["spec"], role, group)


def ray_service(objects: list[Object]) -> Object:
    """The RayService. Raises LookupError unless there is exactly one."""
    found = [obj for obj in objects if obj["kind"] == "RayService"]
    if len(found) != 1:
        raise LookupError(f"expected one RayService, found {len(found)}")
    return found[0]


def environment(container: Object) -> dict[str, Object]:
    """A container's variables by name."""
    return {variable["name"]: variable for variable in container.get("env", [])}
