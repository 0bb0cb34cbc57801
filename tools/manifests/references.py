"""Every name that an object gives is the name of something: ConfigMaps, Secrets, Services, volumes, ports, labels."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import yaml

from tools.manifests.kustomization import folders
from tools.manifests.objects import (
    Field,
    Object,
    Pod,
    Problem,
    at,
    environment,
    identity,
    item_key,
    nodes,
    pods,
    ray_service,
)
from tools.manifests.render import Rendering

SECRETS_FILE = "required-secrets.yaml"
TOKEN_KEY = "auth_token"  # KubeRay's
SERVE_PORT = 8000
# A tag that says which content: not `latest`, and not only a major version.
_PINNED = re.compile(r"[^:@]+(:\d+\.\d+[\w.+-]*|@sha256:[0-9a-f]{64})")


def check(rendering: Rendering) -> Iterator[Problem]:
    objects = rendering.objects
    yield from _config_maps(objects)
    yield from _secrets(rendering)
    yield from _selectors(objects)
    yield from _services(objects)
    yield from _claims(objects)
    yield from _backend_url(objects)
    yield from _redis_address(objects)
    for pod in pods(objects):
        yield from _volumes(pod)
        yield from _ports(pod)
        yield from _images(pod)
        yield from _service_account(pod, objects)


def _named(objects: list[Object], kind: str) -> dict[str, Object]:
    return {obj["metadata"]["name"]: obj for obj in objects if obj["kind"] == kind}


def _config_maps(objects: list[Object]) -> Iterator[Problem]:
    known = _named(objects, "ConfigMap")
    for pod in pods(objects):
        for field, value in nodes(pod.spec):
            name, keys = _config_map_reference(field, value)
            if name is None:
                continue
            place = (*pod.field, *field)
            if name not in known:
                yield Problem(pod.where, (*place, "name"), f"there is no ConfigMap {name!r}; there is {_list(known)}")
                continue
            for key in keys:
                if key not in known[name].get("data", {}):
                    have = _list(known[name].get("data", {}))
                    yield Problem(pod.where, place, f"ConfigMap {name} has no key {key!r}; it has {have}")


def _config_map_reference(field: Field, value: Any) -> tuple[str | None, list[str]]:
    if not field or not isinstance(value, dict) or value.get("optional"):
        return None, []
    if field[-1] == "configMap":
        return str(value.get("name")), [item["key"] for item in value.get("items", [])]
    if field[-1] == "configMapKeyRef":
        return str(value.get("name")), [value["key"]]
    if field[-1] == "configMapRef":
        return str(value.get("name")), []
    return None, []


def required_secrets(folder: Path) -> dict[str, dict[str, str]]:
    """Name -> key -> meaning, of all that must be made before `folder` is applied."""
    required: dict[str, dict[str, str]] = {}
    for each in folders(folder):
        if (each / SECRETS_FILE).exists():
            for name, keys in yaml.safe_load((each / SECRETS_FILE).read_text(encoding="utf-8")).items():
                required[name] = required.get(name, {}) | keys
    return required


def _secrets(rendering: Rendering) -> Iterator[Problem]:
    required = required_secrets(rendering.folder)
    used: set[tuple[str, str]] = set()
    for obj in rendering.objects:
        if obj["kind"] == "Secret":
            yield Problem(identity(obj), ("kind",), "secrets are given by reference only, never by value")
        for field, name, key in secret_references(obj):
            used.add((name, key))
            if key not in required.get(name, {}):
                message = f"no {SECRETS_FILE} lists key {key!r} of Secret {name!r}; known are {_list(required)}"
                message += ". Correct the name, or list it there and make it"
                yield Problem(identity(obj), field, message)
    own = rendering.folder / SECRETS_FILE
    if own.exists():
        for name, keys in yaml.safe_load(own.read_text(encoding="utf-8")).items():
            for key in keys:
                if (name, key) not in used:
                    file = str(own.relative_to(rendering.root))
                    yield Problem(f"Secret/{name}", (name, key), "nothing refers to it", file)


def secret_references(obj: Object) -> Iterator[tuple[Field, str, str]]:
    """Field, name and key of every Secret that an object needs."""
    for field, value in nodes(obj):
        if field[-1:] == ("secretKeyRef",) and not value.get("optional"):
            yield field, value["name"], value["key"]
        elif field[-1:] == ("authOptions",) and "secretName" in value:
            yield (*field, "secretName"), value["secretName"], TOKEN_KEY
        elif field[-1:] == ("secret",) and isinstance(value, dict) and "secretName" in value:
            for item in value.get("items", [{"key": "*"}]):
                yield field, value["secretName"], item["key"]


def _volumes(pod: Pod) -> Iterator[Problem]:
    volumes = {volume["name"]: volume for volume in pod.spec.get("volumes", [])}
    claims = {claim["metadata"]["name"] for claim in at(pod.owner, "spec", "volumeClaimTemplates", default=[])}
    mounted: set[str] = set()
    for container in pod.containers:
        for mount in container.get("volumeMounts", []):
            name = mount["name"]
            mounted.add(name)
            field = pod.place(container, "volumeMounts", name)
            if name not in volumes.keys() | claims:
                known = _list(volumes.keys() | claims)
                yield Problem(pod.where, field, f"there is no volume {name!r}; there is {known}")
            elif "subPath" in mount and "configMap" in volumes.get(name, {}):
                message = "a ConfigMap mounted with subPath never changes in a running pod; mount the directory"
                yield Problem(pod.where, (*field, "subPath"), message)
    for name in sorted(volumes.keys() - mounted):
        yield Problem(pod.where, (*pod.field, "volumes", name), "no container mounts it")


def _ports(pod: Pod) -> Iterator[Problem]:
    for container in pod.containers:
        named = {port["name"] for port in container.get("ports", [])}
        for probe in ("startupProbe", "readinessProbe", "livenessProbe"):
            port = at(container, probe, "httpGet", "port") or at(container, probe, "tcpSocket", "port")
            if isinstance(port, str) and port not in named:
                field = pod.place(container, probe)
                yield Problem(pod.where, field, f"the container has no port {port!r}; it has {_list(named)}")
    if pod.role == "head" and "serve" not in {port["name"] for port in pod.containers[0].get("ports", [])}:
        field = pod.place(pod.containers[0], "ports")
        yield Problem(
            pod.where, field, "a port named `serve` is missing: without it the operator makes no serve Service"
        )


def _images(pod: Pod) -> Iterator[Problem]:
    for container in pod.containers:
        image = str(container.get("image", ""))
        if not _PINNED.fullmatch(image):
            message = f"{image!r} is not pinned to a version"
            yield Problem(pod.where, pod.place(container, "image"), message)


def _service_account(pod: Pod, objects: list[Object]) -> Iterator[Problem]:
    name = pod.spec.get("serviceAccountName")
    if name is not None and name not in _named(objects, "ServiceAccount"):
        field = (*pod.field, "serviceAccountName")
        yield Problem(pod.where, field, f"there is no ServiceAccount {name!r}")


def _selectors(objects: list[Object]) -> Iterator[Problem]:
    """Selectors of Services, budgets, monitors, spreads and workloads find at least one pod."""
    everyone = list(pods(objects))
    for obj in objects:
        selector, field = _selector(obj)
        if selector is not None and not any(selects(selector, pod.labels) for pod in everyone):
            yield Problem(identity(obj), field, f"no pod has the labels {selector}")
    for pod in everyone:
        for index, spread in enumerate(pod.spec.get("topologySpreadConstraints", [])):
            if not selects(spread["labelSelector"], pod.labels):
                field = (*pod.field, "topologySpreadConstraints", str(index), "labelSelector")
                yield Problem(pod.where, field, "the pod itself is not among those it is spread with")


def _selector(obj: Object) -> tuple[Object | None, Field]:
    if obj["kind"] == "Service":
        return {"matchLabels": obj["spec"].get("selector", {})}, ("spec", "selector")
    if obj["kind"] in ("PodDisruptionBudget", "PodMonitor", "Deployment", "StatefulSet"):
        return obj["spec"]["selector"], ("spec", "selector")
    return None, ()


def selects(selector: Object, labels: dict[str, str]) -> bool:
    """Kubernetes' label selectors; of the expressions, the kinds that are used here."""
    if any(labels.get(key) != value for key, value in selector.get("matchLabels", {}).items()):
        return False
    for expression in selector.get("matchExpressions", []):
        if expression["operator"] != "In":
            raise NotImplementedError(f"operator {expression['operator']}")
        if labels.get(expression["key"]) not in expression["values"]:
            return False
    return True


def _services(objects: list[Object]) -> Iterator[Problem]:
    for obj in objects:
        if obj["kind"] == "Service":
            targets = [pod for pod in pods(objects) if selects({"matchLabels": obj["spec"]["selector"]}, pod.labels)]
            for index, port in enumerate(obj["spec"]["ports"]):
                place: Field = ("spec", "ports", item_key(port, index))
                yield from _service_port(obj, place, port.get("targetPort", port["port"]), targets)
        if obj["kind"] == "PodMonitor":
            targets = [pod for pod in pods(objects) if selects(obj["spec"]["selector"], pod.labels)]
            for index, endpoint in enumerate(obj["spec"]["podMetricsEndpoints"]):
                place = ("spec", "podMetricsEndpoints", str(index), "port")
                yield from _service_port(obj, place, endpoint["port"], targets)


def _service_port(obj: Object, field: Field, target: int | str, targets: list[Pod]) -> Iterator[Problem]:
    for pod in targets:
        ports = [port for container in pod.containers for port in container.get("ports", [])]
        if target not in [port["name"] for port in ports] + [port["containerPort"] for port in ports]:
            message = f"the pods of {pod.where} have no port {target!r}"
            yield Problem(identity(obj), field, message)


def _claims(objects: list[Object]) -> Iterator[Problem]:
    known = _named(objects, "PersistentVolumeClaim")
    for pod in pods(objects):
        for volume in pod.spec.get("volumes", []):
            name = at(volume, "persistentVolumeClaim", "claimName")
            if name is not None and name not in known:
                field = (*pod.field, "volumes", volume["name"], "persistentVolumeClaim", "claimName")
                yield Problem(pod.where, field, f"there is no PersistentVolumeClaim {name!r}")


def backend_address(service: Object) -> str:
    """Host and port where the operator lets requests in.

    `<name>-serve-svc`; with incremental upgrades, the Service that the Gateway's implementation makes for
    `<name>-gateway` (Istio: with the class at the end), whose listener is on port 80.
    """
    name = service["metadata"]["name"]
    if at(service, "spec", "upgradeStrategy", "type") == "NewClusterWithIncrementalUpgrade":
        gateway_class = at(service, "spec", "upgradeStrategy", "clusterUpgradeOptions", "gatewayClassName")
        return f"{name}-gateway-{gateway_class}:80"
    return f"{name}-serve-svc:{SERVE_PORT}"


def _backend_url(objects: list[Object]) -> Iterator[Problem]:
    wanted = backend_address(ray_service(objects))
    for pod in pods(objects):
        for container in pod.containers:
            url = environment(container).get("FRONTEND_BACKEND_URL", {}).get("value")
            if url is not None and urlsplit(url).netloc != wanted:
                field = pod.place(container, "env", "FRONTEND_BACKEND_URL", "value")
                yield Problem(pod.where, field, f"{url}: the RayService will be reached at http://{wanted}")


def _redis_address(objects: list[Object]) -> Iterator[Problem]:
    service = ray_service(objects)
    address = at(service, "spec", "rayClusterConfig", "gcsFaultToleranceOptions", "redisAddress")
    if address is not None:
        place = ("spec", "rayClusterConfig", "gcsFaultToleranceOptions", "redisAddress")
        yield from _known_service(objects, identity(service), place, address)
    for pod in pods(objects):
        for container in pod.containers:
            url = environment(container).get("FRONTEND_DATABASE_URL", {}).get("value", "sqlite:")
            host = urlsplit(url).hostname
            if host is not None and "." not in host:  # a name with dots is outside of this namespace
                field = pod.place(container, "env", "FRONTEND_DATABASE_URL", "value")
                port = urlsplit(url).port or 5432
                yield from _known_service(objects, pod.where, field, f"{host}:{port}")


def _known_service(objects: list[Object], where: str, field: Field, address: str) -> Iterator[Problem]:
    host, _, port = address.rpartition(":")
    service = _named(objects, "Service").get(host)
    if service is None:
        yield Problem(where, field, f"there is no Service {host!r}; there is {_list(_named(objects, 'Service'))}")
    elif int(port) not in [each["port"] for each in service["spec"]["ports"]]:
        yield Problem(where, field, f"Service {host} has no port {port}")


def _list(names: Any) -> str:
    return ", ".join(sorted(names)) or "none"
