"""Every object against its schema: Kubernetes' own kinds, and KubeRay's by the CRDs where those are at hand."""

import os
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import jsonschema
import kubernetes_validate  # type: ignore[import-untyped]  # it publishes no types
import yaml

from tools.manifests.objects import Field, Object, Problem, at, identity, named, nodes
from tools.manifests.render import Rendering

KUBERNETES = "1.32"  # the oldest version that the manifests are written for: `lifecycle.preStop.sleep` is on by default
CRDS_VARIABLE = "KUBERAY_CRDS"
_CRD_FOLDERS = ("../shared/kuberay-crds", ".crds")
_CRD_FILE = "ray.io_rayservices.yaml"
# Kinds of operators whose schemas are not here; references.py looks at what matters in them.
_WITHOUT_SCHEMA = ("monitoring.coreos.com/v1",)
# What the API server allows and the published schemas call a mere string: the end of the place, and the values.
_VALUES: dict[Field, tuple[str, ...]] = {
    ("imagePullPolicy",): ("Always", "IfNotPresent", "Never"),
    ("restartPolicy",): ("Always", "OnFailure", "Never"),
    ("whenUnsatisfiable",): ("DoNotSchedule", "ScheduleAnyway"),
    ("strategy", "type"): ("RollingUpdate", "Recreate"),
    ("seccompProfile", "type"): ("RuntimeDefault", "Localhost", "Unconfined"),
    ("protocol",): ("TCP", "UDP", "SCTP"),
    ("accessModes", "0"): ("ReadWriteOnce", "ReadOnlyMany", "ReadWriteMany", "ReadWriteOncePod"),
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
        yield from _values(obj)
        if obj["apiVersion"] in _WITHOUT_SCHEMA:
            continue
        if obj["kind"] == "RayService":
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
        return
    filled = with_defaults(obj, schema)
    for error in jsonschema.Draft202012Validator(schema).iter_errors(filled):
        yield Problem(identity(obj), named(filled, list(error.absolute_path)), _shortened(error.message))


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


def _shortened(message: str) -> str:
    return message if len(message) < 300 else message[:300] + " ..."
