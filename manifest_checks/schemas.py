"""Every object against its schema: Kubernetes' own kinds, KubeRay's by its CRD where that is at hand, and the
Prometheus operator's by crds/ beside this file.

What passes has the shape that the other checks rely on: `metadata.name`, and the way to every pod's containers.
"""

import os
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import celpy
import jsonschema
from celpy.adapter import json_to_cel
from celpy.evaluation import CELEvalError
from kubernetes_validate.utils import schema_contents  # type: ignore[import-untyped]  # it publishes no types
from referencing import Registry, Resource

from manifest_checks.objects import QUANTITY, Field, Object, Problem, at, identity, item_key, named, nodes
from manifest_checks.render import Rendering
from manifest_checks.yaml_text import load

KUBERNETES = "1.32"  # the oldest version that the manifests are written for: `lifecycle.preStop.sleep` is on by default
CRDS_VARIABLE = "KUBERAY_CRDS"
_CRD_FOLDERS = ("../shared/kuberay-crds", ".crds")
_CRD_FILE = "ray.io_rayservices.yaml"
_PROMETHEUS_OPERATOR = "monitoring.coreos.com/v1"
_SELECTING = ("In", "NotIn", "Exists", "DoesNotExist")
# What the API server allows and the published schemas call a mere string: the end of the place (*: any item of
# a list), and the values.
_VALUES: dict[Field, tuple[str, ...]] = {
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
# What a pattern is about, by something that only such patterns have.
_FORMS = {"[KMGTPE]i": "quantity, such as 500m, 2 or 4Gi", "([0-9]+)ms": "duration, such as 30s or 5m"}
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
_SERVICE_TYPES = ("ClusterIP", "NodePort", "LoadBalancer", "ExternalName")


def crd_file(root: Path) -> Path | None:
    """RayService's CRD: in the folder that KUBERAY_CRDS names, beside the repository or where `make crds` puts it."""
    given = os.environ.get(CRDS_VARIABLE)
    candidates = [Path(given)] if given else [root / folder for folder in _CRD_FOLDERS]
    return next((folder / _CRD_FILE for folder in candidates if (folder / _CRD_FILE).exists()), None)


def check(rendering: Rendering) -> Iterator[Problem]:
    """Unknown fields, wrong types, missing values."""
    crd = crd_file(rendering.root)
    for obj in rendering.objects:
        skeleton = list(_against(obj, _ANY_OBJECT))
        yield from skeleton or _object(obj, crd)
    yield from _one_ray_service(rendering)


def _object(obj: Object, crd: Path | None) -> Iterator[Problem]:
    yield from _values(obj)
    if obj["apiVersion"] == _PROMETHEUS_OPERATOR:
        yield from _metadata(obj)
        yield from _against_prometheus_operator(obj)
    elif obj["kind"] == "RayService":
        yield from _metadata(obj)
        yield from _against_crd(obj, crd)
    else:
        yield from _against_kubernetes(obj)
        yield from _complete(obj)


def _one_ray_service(rendering: Rendering) -> Iterator[Problem]:
    found = [identity(obj) for obj in rendering.objects if at(obj, "kind") == "RayService"]
    if len(found) != 1:
        message = f"there must be one RayService, not {len(found)}: {', '.join(found) or 'none'}"
        yield Problem("RayService/?", ("resources",), message, rendering.file("kustomization.yaml"))


def _values(obj: Object) -> Iterator[Problem]:
    for field, value in nodes(obj):
        allowed = next((values for end, values in _VALUES.items() if _ends_with(field, end)), None)
        if obj["kind"] == "Service" and field == ("spec", "type"):
            allowed = _SERVICE_TYPES
        if field == ("spec", "replicas") and isinstance(value, int) and value < 0:
            yield Problem(identity(obj), field, f"{value} is negative")
        if value is None:  # in a list: without_nulls has left out all others
            yield Problem(identity(obj), field, "is empty")
        if field[-3:-1] in _RESOURCES and not QUANTITY.fullmatch(str(value)):
            yield Problem(identity(obj), field, f"{value!r} is no quantity, such as 500m, 2 or 4Gi")
        if allowed is not None and value not in allowed:
            yield Problem(identity(obj), field, f"{value!r} is none of {', '.join(allowed)}")


def _ends_with(field: Field, end: Field) -> bool:
    return len(field) >= len(end) and all(
        wanted in ("*", step) for step, wanted in zip(field[-len(end) :], end, strict=True)
    )


def _complete(obj: Object) -> Iterator[Problem]:
    """What the API server demands of a workload, a Service or a budget, and the published schemas do not."""
    required = _REQUIRED.get(obj["kind"], ())
    ways = [[field[:end] for end in range(1, len(field) + 1)] for field in required]
    missing = [next((place for place in way if at(obj, *place) in (None, [])), None) for way in ways]
    for place in dict.fromkeys(missing):  # the outermost alone: it says it of all that would be in it
        if place is not None:
            yield Problem(identity(obj), place, "is missing")


def _metadata(obj: Object) -> Iterator[Problem]:
    """A CRD takes it for granted; it is of the same form in every kind."""
    yield from _against_kubernetes({"apiVersion": "v1", "kind": "ConfigMap", "metadata": obj["metadata"]}, (), obj)


def _against_kubernetes(obj: Object, prefix: Field = (), owner: Object | None = None) -> Iterator[Problem]:
    """`obj` stands in for the part of `owner` at `prefix`, where these are given."""
    validator = _kubernetes(obj["kind"], obj["apiVersion"])
    if validator is None:
        message = f"Kubernetes {KUBERNETES} knows no {obj['apiVersion']} {obj['kind']}"
        yield Problem(identity(obj), ("apiVersion",), message)
        return
    for error in validator.iter_errors(obj):
        yield Problem(identity(owner or obj), (*prefix, *_place(error, obj)), _message(error))


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


def _against_crd(obj: Object, crd: Path | None) -> Iterator[Problem]:
    broken = list(_against(obj, _bundled("rayservice")))
    yield from broken
    schema = _schema(crd, obj["apiVersion"].split("/")[-1]) if crd is not None else {}
    if schema is None:
        yield Problem(identity(obj), ("apiVersion",), f"the CRD has no version {obj['apiVersion']}")
    elif schema:
        yield from _against(obj, schema)
    if not broken:
        yield from _pod_templates(obj)


def _pod_templates(obj: Object) -> Iterator[Problem]:
    """A CRD says less about pods than Kubernetes does: their names and quantities, for example."""
    cluster = ("spec", "rayClusterConfig")
    groups: list[tuple[Field, Object]] = [((*cluster, "headGroupSpec"), at(obj, *cluster, "headGroupSpec"))]
    for group in at(obj, *cluster, "workerGroupSpecs", default=[]):
        groups.append(((*cluster, "workerGroupSpecs", group["groupName"]), group))
    for field, group in groups:
        template = {"apiVersion": "v1", "kind": "PodTemplate", "template": group["template"]}
        yield from _against_kubernetes(template, field, obj)
        if not at(group, "template", "spec", "containers"):
            yield Problem(identity(obj), (*field, "template", "spec", "containers"), "is missing")


def _against_prometheus_operator(obj: Object) -> Iterator[Problem]:
    spec = _bundled(obj["kind"].lower())
    if not spec or obj["kind"] == "RayService":
        yield Problem(identity(obj), ("kind",), f"{_PROMETHEUS_OPERATOR} has no such kind among those in crds/")
        return
    whole = {"properties": {"apiVersion": {}, "kind": {}, "metadata": {}, "spec": spec}, "required": ["spec"]}
    yield from _against(obj, closed(whole))


@cache
def _bundled(kind: str) -> dict[str, Any]:
    """One of crds/ beside this file; empty where there is none."""
    file = Path(__file__).parent / "crds" / f"{kind}.yaml"
    schema: dict[str, Any] = load(file.read_text(encoding="utf-8")) if file.exists() else {}
    return schema


def _against(obj: Object, schema: dict[str, Any]) -> Iterator[Problem]:
    filled = with_defaults(obj, schema)
    for error in jsonschema.Draft202012Validator(schema).iter_errors(filled):
        yield Problem(identity(obj), _place(error, filled), _message(error))
    for field, message in broken_rules(filled, schema):
        yield Problem(identity(obj), field, message)


def broken_rules(value: Any, schema: dict[str, Any], field: Field = ()) -> Iterator[tuple[Field, str]]:
    """The schema's rules in CEL that `value` breaks. Those about `oldSelf` are for updates, which are not seen here."""
    for rule in schema.get("x-kubernetes-validations", []):
        if "oldSelf" not in rule["rule"] and not _holds(rule["rule"], value):
            yield field, rule.get("message", rule["rule"])
    if isinstance(value, dict):
        for name, inner in value.items():
            known = schema.get("properties", {}).get(name) or schema.get("additionalProperties")
            if isinstance(known, dict):
                yield from broken_rules(inner, known, (*field, str(name)))
    elif isinstance(value, list):
        for index, inner in enumerate(value):
            yield from broken_rules(inner, schema.get("items", {}), (*field, item_key(inner, index)))


def _holds(rule: str, value: Any) -> bool:
    try:
        return bool(_program(rule).evaluate({"self": json_to_cel(value)}))
    except CELEvalError:  # a value of another type than the rule is about: as the API server, it does not hold
        return False


@cache
def _program(rule: str) -> celpy.Runner:
    environment = celpy.Environment()
    return environment.program(environment.compile(rule))


@cache
def _schema(crd: Path, version: str) -> dict[str, Any] | None:
    content = load(crd.read_text(encoding="utf-8"))
    for each in content["spec"]["versions"]:
        if each["name"] == version:
            schema = each["schema"]["openAPIV3Schema"]
            schema["properties"]["metadata"] = {"type": "object"}
            return dict(closed(schema))
    return None


def closed(schema: Any) -> Any:
    """OpenAPI's schema as JSON Schema: unknown fields refused, as the API server warns of them, and int-or-string.

    `preserve-unknown-fields` stays open.
    """
    if isinstance(schema, list):
        return [closed(item) for item in schema]
    if not isinstance(schema, dict):
        return schema
    if schema.get("x-kubernetes-int-or-string"):
        return {"type": ["integer", "string"]} | ({"pattern": schema["pattern"]} if "pattern" in schema else {})
    result = {key: _closed_properties(value) if key == "properties" else closed(value) for key, value in schema.items()}
    if "properties" in result and not schema.get("x-kubernetes-preserve-unknown-fields"):
        result.setdefault("additionalProperties", False)
    return result


def _closed_properties(properties: dict[str, Any]) -> dict[str, Any]:
    return {name: closed(inner) for name, inner in properties.items()}


def with_defaults(value: Any, schema: dict[str, Any]) -> Any:
    """What the API server makes of `value` before it validates: absent fields get their schema's defaults."""
    if isinstance(value, dict):
        properties = schema.get("properties", {})
        filled = {name: inner["default"] for name, inner in properties.items() if "default" in inner} | value
        return {name: with_defaults(inner, properties.get(name, {})) for name, inner in filled.items()}
    if isinstance(value, list):
        return [with_defaults(item, schema.get("items", {})) for item in value]
    return value


def _place(error: jsonschema.ValidationError, obj: Object) -> Field:
    """Of something that is missing, where it should be."""
    required: Any = error.validator_value if error.validator == "required" else []
    missing = [name for name in required if error.message.startswith(repr(name))]
    return (*named(obj, list(error.absolute_path)), *missing)


def _message(error: jsonschema.ValidationError) -> str:
    """The library's, but for forms that a person knows by name and not by their regular expression."""
    for part, name in _FORMS.items():
        if error.validator == "pattern" and part in str(error.validator_value):
            return f"{error.instance!r} is no {name}"
    return _shortened(error.message)


def _shortened(message: str) -> str:
    return message if len(message) < 300 else message[:300] + " ..."
