"""Every object against its schema: Kubernetes' own kinds, KubeRay's by its CRD where that is at hand, and the
Prometheus operator's by crds/ beside this file."""

import os
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import celpy
import jsonschema
import kubernetes_validate  # type: ignore[import-untyped]  # it publishes no types
import yaml
from celpy.adapter import json_to_cel
from celpy.evaluation import CELEvalError

from tools.manifests.objects import Field, Object, Problem, at, identity, item_key, named, nodes
from tools.manifests.render import Rendering

KUBERNETES = "1.32"  # the oldest version that the manifests are written for: `lifecycle.preStop.sleep` is on by default
CRDS_VARIABLE = "KUBERAY_CRDS"
_CRD_FOLDERS = ("../shared/kuberay-crds", ".crds")
_CRD_FILE = "ray.io_rayservices.yaml"
_PROMETHEUS_OPERATOR = "monitoring.coreos.com/v1"
# What the API server allows and the published schemas call a mere string: the end of the place, and the values.
_VALUES: dict[Field, tuple[str, ...]] = {
    ("imagePullPolicy",): ("Always", "IfNotPresent", "Never"),
    ("restartPolicy",): ("Always", "OnFailure", "Never"),
    ("whenUnsatisfiable",): ("DoNotSchedule", "ScheduleAnyway"),
    ("strategy", "type"): ("RollingUpdate", "Recreate"),
    ("seccompProfile", "type"): ("RuntimeDefault", "Localhost", "Unconfined"),
    ("protocol",): ("TCP", "UDP", "SCTP"),
    ("effect",): ("NoSchedule", "PreferNoSchedule", "NoExecute"),
    ("operator",): ("In", "NotIn", "Exists", "DoesNotExist", "Equal", "Gt", "Lt"),  # of selectors and of tolerations
    ("accessModes", "0"): ("ReadWriteOnce", "ReadOnlyMany", "ReadWriteMany", "ReadWriteOncePod"),
}
# What a pattern is about, by something that only such patterns have.
_FORMS = {"[KMGTPE]i": "quantity, such as 500m, 2 or 4Gi", "([0-9]+)ms": "duration, such as 30s or 5m"}
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
        yield from _values(obj)
        if obj["apiVersion"] == _PROMETHEUS_OPERATOR:
            yield from _against_prometheus_operator(obj)
        elif obj["kind"] == "RayService":
            if crd is not None:
                yield from _against_crd(obj, crd)
            yield from _pod_templates(obj)
        else:
            yield from _against_kubernetes(obj)


def _values(obj: Object) -> Iterator[Problem]:
    for field, value in nodes(obj):
        allowed = next((values for end, values in _VALUES.items() if field[-len(end) :] == end), None)
        if obj["kind"] == "Service" and field == ("spec", "type"):
            allowed = _SERVICE_TYPES
        if field == ("spec", "replicas") and isinstance(value, int) and value < 0:
            yield Problem(identity(obj), field, f"{value} is negative")
        if allowed is not None and value not in allowed:
            yield Problem(identity(obj), field, f"{value!r} is none of {', '.join(allowed)}")


def _against_kubernetes(obj: Object, prefix: Field = (), owner: str | None = None) -> Iterator[Problem]:
    try:
        kubernetes_validate.validate(obj, KUBERNETES, strict=True)
    except kubernetes_validate.SchemaNotFoundError:
        yield Problem(identity(obj), ("apiVersion",), f"Kubernetes {KUBERNETES} knows no {obj['apiVersion']}")
    except kubernetes_validate.ValidationError as error:
        place = named(obj, list(error.absolute_path))[1 if prefix else 0 :]
        yield Problem(owner or identity(obj), (*prefix, *place), _shortened(error.message))


def _pod_templates(obj: Object) -> Iterator[Problem]:
    """A CRD says less about pods than Kubernetes does: their names and quantities, for example."""
    cluster = ("spec", "rayClusterConfig")
    groups: list[tuple[Field, Object]] = [((*cluster, "headGroupSpec"), at(obj, *cluster, "headGroupSpec"))]
    for group in at(obj, *cluster, "workerGroupSpecs", default=[]):
        groups.append(((*cluster, "workerGroupSpecs", group.get("groupName", "?")), group))
    for field, group in groups:
        template = at(group, "template", default={})
        pod = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "any"}, "spec": template.get("spec")}
        yield from _against_kubernetes(pod, (*field, "template", "spec"), identity(obj))


def _against_crd(obj: Object, crd: Path) -> Iterator[Problem]:
    schema = _schema(crd, obj["apiVersion"].split("/")[-1])
    if schema is None:
        yield Problem(identity(obj), ("apiVersion",), f"the CRD has no version {obj['apiVersion']}")
    else:
        yield from _against(obj, schema)


def _against_prometheus_operator(obj: Object) -> Iterator[Problem]:
    file = Path(__file__).parent / "crds" / f"{obj['kind'].lower()}.yaml"
    if not file.exists():
        yield Problem(identity(obj), ("kind",), f"{_PROMETHEUS_OPERATOR} has no such kind among those in crds/")
        return
    spec = yaml.safe_load(file.read_text(encoding="utf-8"))
    whole = {"properties": {"apiVersion": {}, "kind": {}, "metadata": {}, "spec": spec}, "required": ["spec"]}
    yield from _against(obj, closed(whole))


def _against(obj: Object, schema: dict[str, Any]) -> Iterator[Problem]:
    filled = with_defaults(obj, schema)
    for error in jsonschema.Draft202012Validator(schema).iter_errors(filled):
        yield Problem(identity(obj), named(filled, list(error.absolute_path)), _message(error))
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
    content = yaml.load(crd.read_text(encoding="utf-8"), Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader))
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


def _message(error: jsonschema.ValidationError) -> str:
    """The library's, but for forms that a person knows by name and not by their regular expression."""
    for part, name in _FORMS.items():
        if error.validator == "pattern" and part in str(error.validator_value):
            return f"{error.instance!r} is no {name}"
    return _shortened(error.message)


def _shortened(message: str) -> str:
    return message if len(message) < 300 else message[:300] + " ..."
