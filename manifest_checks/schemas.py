"""Every object against its schema: Kubernetes' own kinds by the published ones, a RayService by KubeRay's CRD, the
Prometheus operator's kinds by prometheus_operator.yaml.

What passes has the shape that the other checks rely on: `metadata.name`, and the way to every pod's containers.
"""

import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import jsonschema
from kubernetes_validate.utils import schema_contents  # type: ignore[import-untyped]  # it publishes no types
from referencing import Registry, Resource

from manifest_checks.crd import CRD
from manifest_checks.objects import QUANTITY, Field, Object, Problem, at, identity, nodes
from manifest_checks.openapi import closed, mistakes, with_defaults
from manifest_checks.render import Rendering
from manifest_checks.yaml_text import load

KUBERNETES = "1.32"  # the oldest version that the manifests are written for: `lifecycle.preStop.sleep` is on by default
_PROMETHEUS_OPERATOR = "monitoring.coreos.com/v1"
_PROMETHEUS_SCHEMAS = Path(__file__).with_name("prometheus_operator.yaml")
_SELECTING = ("In", "NotIn", "Exists", "DoesNotExist")
# What the API server allows and the published schemas call a mere string: the end of the place (*: any item of
# a list), and the values.
_VALUES: dict[Field, tuple[str, ...]] = {
    ("spec", "type"): ("ClusterIP", "NodePort", "LoadBalancer", "ExternalName"),
    ("imagePullPolicy",): ("Always", "IfNotPresent", "Never"),
    ("restartPolicy",): ("Always", "OnFailure", "Never"),
    ("whenUnsatisfiable",): ("DoNotSchedule", "ScheduleAnyway"),
    ("strategy", "type"): ("RollingUpdate", "Recreate"),
    ("seccompProfile", "type"): ("RuntimeDefault", "Localhost", "Unconfined"),
    ("protocol",): ("TCP", "UDP", "SCTP"),
    ("effect",): ("NoSchedule", "PreferNoSchedule", "NoExecute"),
    ("tolerations", "*", "operator"): ("Exists", "Equal"),
    ("nodeSelectorTerms", "*", "matchExpressions", "*", "operator"): (*_SELECTING, "Gt", "Lt"),
    ("matchExpressions", "*", "operator"): _SELECTING,
    ("accessModes", "*"): ("ReadWriteOnce", "ReadOnlyMany", "ReadWriteMany", "ReadWriteOncePod"),
}
_RESOURCES = (("resources", "requests"), ("resources", "limits"))
_WHOLE_NUMBERS = ("num-cpus", "num-gpus", "memory", "object-store-memory")  # of rayStartParams, whose values are texts
_ANY_OBJECT = {
    "type": "object",
    "required": ["apiVersion", "kind", "metadata"],
    "properties": {
        "apiVersion": {"type": "string"},
        "kind": {"type": "string", "pattern": "^[A-Za-z]+$"},
        "metadata": {
            "type": "object",
            "required": ["name"],
            "properties": {"name": {"type": "string", "minLength": 1}},
        },
    },
}
_WORKLOAD: tuple[Field, ...] = (
    ("spec",),
    ("spec", "template", "metadata", "labels"),
    ("spec", "template", "spec"),
    ("spec", "template", "spec", "containers"),
)
_REQUIRED: dict[str, tuple[Field, ...]] = {
    "Deployment": _WORKLOAD,
    "StatefulSet": _WORKLOAD,
    "Service": (("spec",),),
    "NetworkPolicy": (("spec",),),
    "PodDisruptionBudget": (("spec",), ("spec", "selector")),
}

Found = tuple[Field, str]


def check(rendering: Rendering) -> Iterator[Problem]:
    """Unknown fields, wrong types, missing values. Raises FileNotFoundError without the CRD."""
    for obj in rendering.objects:
        skeleton = list(_against(_ANY_OBJECT, obj))
        for field, message in skeleton or _object(obj):
            yield Problem(identity(obj), field, message)
    yield from _one_ray_service(rendering)


def _object(obj: Object) -> Iterator[Found]:
    yield from _values(obj)
    if obj["apiVersion"] == _PROMETHEUS_OPERATOR:
        yield from _metadata(obj)
        yield from _by_prometheus_operator(obj)
    elif obj["kind"] == "RayService":
        yield from _metadata(obj)
        yield from _by_crd(obj)
    else:
        yield from _by_kubernetes(obj)
        yield from _complete(obj)


def _one_ray_service(rendering: Rendering) -> Iterator[Problem]:
    found = [identity(obj) for obj in rendering.objects if at(obj, "kind") == "RayService"]
    if len(found) != 1:
        message = f"there must be one RayService, not {len(found)}: {', '.join(found) or 'none'}"
        yield Problem("RayService/?", ("resources",), message, rendering.file("kustomization.yaml"))


def _values(obj: Object) -> Iterator[Found]:
    for field, value in nodes(obj):
        allowed = next((values for end, values in _VALUES.items() if _ends_with(field, end)), None)
        if allowed is not None and value not in allowed:
            yield field, f"{value!r} is none of {', '.join(allowed)}"
        if value is None:  # in a list: without_nulls has left out all others
            yield field, "is empty"
        if field == ("spec", "replicas") and isinstance(value, int) and value < 0:
            yield field, f"{value} is negative"
        if field[-3:-1] in _RESOURCES and not QUANTITY.fullmatch(str(value)):
            yield field, f"{value!r} is no quantity, such as 500m, 2 or 4Gi"
        if field[-2:-1] == ("rayStartParams",) and field[-1] in _WHOLE_NUMBERS and not str(value).isdecimal():
            yield field, f"{value!r} is no whole number, which Ray reads here"


def _ends_with(field: Field, end: Field) -> bool:
    return len(field) >= len(end) and all(
        wanted in ("*", step) for step, wanted in zip(field[-len(end) :], end, strict=True)
    )


def _complete(obj: Object) -> Iterator[Found]:
    """What the API server demands of a workload, a Service or a budget, and the published schemas do not."""
    required = _REQUIRED.get(obj["kind"], ())
    ways = [[field[:end] for end in range(1, len(field) + 1)] for field in required]
    missing = [next((place for place in way if at(obj, *place) in (None, [])), None) for way in ways]
    for place in dict.fromkeys(missing):  # the outermost alone: it says it of all that would be in it
        if place is not None:
            yield place, "is missing"


def _metadata(obj: Object) -> Iterator[Found]:
    """A CRD takes it for granted; it is of the same form in every kind."""
    yield from _by_kubernetes({"apiVersion": "v1", "kind": "ConfigMap", "metadata": obj["metadata"]})


def _by_kubernetes(obj: Object) -> Iterator[Found]:
    validator = _kubernetes(obj["kind"], obj["apiVersion"])
    if validator is None:
        yield ("apiVersion",), f"Kubernetes {KUBERNETES} knows no {obj['apiVersion']} {obj['kind']}"
    else:
        yield from mistakes(obj, validator)


@cache
def _kubernetes(kind: str, api_version: str) -> jsonschema.Draft202012Validator | None:
    """By the published schemas, strict: unknown fields refused. None for a kind that is not Kubernetes' own."""
    group = re.sub(r"^([^./]*)(\.[^/]*)?/", r"\1-", api_version)  # networking.k8s.io/v1 is networking-v1 there
    try:
        schema = _published(f"{kind.lower()}-{group}")
    except FileNotFoundError:
        return None
    registry: Registry[Any] = Resource.from_contents(_published("_definitions")) @ Registry()
    return jsonschema.Draft202012Validator(schema, registry=Resource.from_contents(schema) @ registry)


@cache
def _published(name: str) -> Any:
    return schema_contents(f"kubernetes-json-schema/v{KUBERNETES}.0-local-strict/{name}.json", KUBERNETES)


def _by_crd(obj: Object) -> Iterator[Found]:
    schema = _crd().get(obj["apiVersion"])
    if schema is None:
        yield ("apiVersion",), f"the CRD has {', '.join(_crd())}, not {obj['apiVersion']}"
        return
    yield from list(_against(schema, obj)) or _pod_templates(obj)


@cache
def _crd() -> dict[str, Any]:
    """The schema of a RayService in each apiVersion."""
    content = load(CRD.read_text(encoding="utf-8"))["spec"]
    schemas = {f"{content['group']}/{each['name']}": each["schema"]["openAPIV3Schema"] for each in content["versions"]}
    for schema in schemas.values():
        schema["properties"]["metadata"] = {"type": "object"}
        schema["required"] = ["spec"]  # without one the operator has nothing to do
    return {version: closed(schema) for version, schema in schemas.items()}


def _pod_templates(obj: Object) -> Iterator[Found]:
    """A CRD says less about pods than Kubernetes does: their names and quantities, for example."""
    cluster = obj["spec"]["rayClusterConfig"]
    groups: dict[Field, Object] = {("headGroupSpec",): cluster["headGroupSpec"]}
    groups |= {("workerGroupSpecs", group["groupName"]): group for group in cluster.get("workerGroupSpecs", [])}
    for place, group in groups.items():
        start = ("spec", "rayClusterConfig", *place)
        template = {"apiVersion": "v1", "kind": "PodTemplate", "template": group["template"]}
        for field, message in _by_kubernetes(template):
            yield (*start, *field), message
        if not at(group, "template", "spec", "containers"):
            yield (*start, "template", "spec", "containers"), "is missing"


def _by_prometheus_operator(obj: Object) -> Iterator[Found]:
    spec = load(_PROMETHEUS_SCHEMAS.read_text(encoding="utf-8")).get(obj["kind"])
    if spec is None:
        yield ("kind",), f"{_PROMETHEUS_SCHEMAS.name} has no such kind"
        return
    whole = {"properties": {"apiVersion": {}, "kind": {}, "metadata": {}, "spec": spec}, "required": ["spec"]}
    yield from _against(closed(whole), obj)


def _against(schema: dict[str, Any], obj: Object) -> Iterator[Found]:
    yield from mistakes(with_defaults(obj, schema), jsonschema.Draft202012Validator(schema))
