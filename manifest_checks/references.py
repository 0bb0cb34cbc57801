"""Every name that an object gives is the name of something: ConfigMaps, Secrets, Services, volumes, ports, labels."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from manifest_checks.kustomization import folders
from manifest_checks.objects import (
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
from manifest_checks.render import Rendering
from manifest_checks.yaml_text import load

SECRETS_FILE = "required-secrets.yaml"
TOKEN_KEY = "auth_token"  # KubeRay's
EVERY_KEY = "*"  # of a Secret that is mounted as a whole
SERVE_PORT = 8000
_SELECTING = ("Service", "PodDisruptionBudget", "PodMonitor", "Deployment", "StatefulSet")
_TWO_NUMBERS = ("postgres",)  # the second one is the patch; everywhere else it takes three


def check(rendering: Rendering) -> Iterator[Problem]:
    objects = rendering.objects
    yield from _config_maps(objects)
    yield from _secrets(rendering)
    yield from _selectors(objects)
    yield from _services(objects)
    yield from _claims(objects)
    yield from _addresses(objects)
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
        for volume in pod.spec.get("volumes", []):
            source = volume.get("configMap")
            if source is None:
                continue
            field = (*pod.field, "volumes", volume["name"], "configMap")
            name = source.get("name")
            if name not in known:
                yield Problem(pod.where, (*field, "name"), f"there is no ConfigMap {name!r}; there is {_list(known)}")
                continue
            data = known[name].get("data", {})
            for item in source.get("items", []):
                if item["key"] not in data:
                    message = f"ConfigMap {name} has no key {item['key']!r}; it has {_list(data)}"
                    yield Problem(pod.where, field, message)


def required_secrets(folder: Path) -> dict[str, dict[str, str]]:
    """Name -> key -> meaning, of all that must be made before `folder` is applied."""
    required: dict[str, dict[str, str]] = {}
    for each in folders(folder):
        for name, keys in _listed(each).items():
            if isinstance(keys, dict):  # _secrets tells of others
                required[name] = required.get(name, {}) | keys
    return required


def _listed(folder: Path) -> Object:
    """The Secrets that this folder adds."""
    file = folder / SECRETS_FILE
    content = load(file.read_text(encoding="utf-8")) if file.exists() else {}
    return content if isinstance(content, dict) else {"(all)": content}


def _secrets(rendering: Rendering) -> Iterator[Problem]:
    required = required_secrets(rendering.folder)
    used: set[tuple[str, str]] = set()
    for obj in rendering.objects:
        if obj["kind"] == "Secret":
            yield Problem(identity(obj), ("kind",), "secrets are given by reference only, never by value")
        for field, name, key in secret_references(obj):
            listed = required.get(name, {})
            used |= {(name, each) for each in (listed if key == EVERY_KEY else [key])}
            if not listed or key not in (EVERY_KEY, *listed):
                what = f"Secret {name!r}" if key == EVERY_KEY else f"key {key!r} of Secret {name!r}"
                message = f"no {SECRETS_FILE} lists {what}; known are {_list(required)}"
                message += ". Correct the name, or list it there and make it"
                yield Problem(identity(obj), field, message)
    for name, keys in _listed(rendering.folder).items():
        file = rendering.file(SECRETS_FILE)
        if not isinstance(keys, dict):
            yield Problem(f"Secret/{name}", (str(name),), "must have its keys under it, each with what it is", file)
            continue
        for key in keys:
            if (name, key) not in used:
                yield Problem(f"Secret/{name}", (name, key), "nothing refers to it", file)


def secret_references(obj: Object) -> Iterator[tuple[Field, str, str]]:
    """Field, name and key of every Secret that an object needs; EVERY_KEY where a volume takes all that it has."""
    for field, value in nodes(obj):
        if field[-1:] == ("secretKeyRef",) and not value.get("optional"):
            yield field, value.get("name", ""), value["key"]
        elif field[-1:] == ("authOptions",) and "secretName" in value:
            yield (*field, "secretName"), value["secretName"], TOKEN_KEY
        elif field[-1:] == ("secret",) and isinstance(value, dict) and "secretName" in value:
            for item in value.get("items", [{"key": EVERY_KEY}]):
                yield field, value["secretName"], item["key"]


def _volumes(pod: Pod) -> Iterator[Problem]:
    volumes = {volume["name"]: volume for volume in pod.spec.get("volumes", [])}
    templates = at(pod.owner, "spec", "volumeClaimTemplates", default=[])
    claims = {at(claim, "metadata", "name", default="") for claim in templates}
    mounted: set[str] = set()
    for container in pod.containers:
        for mount in container.get("volumeMounts", []):
            name = mount["name"]
            mounted.add(name)
            field = pod.place(container, "volumeMounts", name)
            if name not in volumes.keys() | claims:
                known = _list(volumes.keys() | claims)
                yield Problem(pod.where, field, f"there is no volume {name!r}; there is {known}")
            elif "subPath" in mount and volumes.get(name, {}).keys() & {"configMap", "secret"}:
                message = "what is mounted with subPath never changes in a running pod; mount the directory"
                yield Problem(pod.where, (*field, "subPath"), message)
    for name in sorted(volumes.keys() - mounted):
        yield Problem(pod.where, (*pod.field, "volumes", name), "no container mounts it")


def _ports(pod: Pod) -> Iterator[Problem]:
    for container in pod.containers:
        named = _port_names(container)
        for probe in ("startupProbe", "readinessProbe", "livenessProbe"):
            port = at(container, probe, "httpGet", "port") or at(container, probe, "tcpSocket", "port")
            if isinstance(port, str) and port not in named:
                field = pod.place(container, probe)
                yield Problem(pod.where, field, f"the container has no port {port!r}; it has {_list(named)}")
    if pod.role == "head" and "serve" not in _port_names(pod.containers[0]):
        field = pod.place(pod.containers[0], "ports")
        yield Problem(
            pod.where, field, "a port named `serve` is missing: without it the operator makes no serve Service"
        )


def _port_names(container: Object) -> set[str]:
    """A port need not have one."""
    return {port["name"] for port in container.get("ports", []) if "name" in port}


def _images(pod: Pod) -> Iterator[Problem]:
    for container in pod.containers:
        image = container.get("image", "")
        if not is_pinned(image):
            message = f"{image!r} is not pinned: give it a patch version, such as 1.2.3, or a digest"
            yield Problem(pod.where, pod.place(container, "image"), message)


def is_pinned(image: str) -> bool:
    """Whether its name says which content: by a digest, or a tag with an exact version; `latest` and 7.4 move on."""
    name, _, digest = image.partition("@")
    name, _, tag = name.rpartition("/")[2].partition(":")
    numbers = 2 if name in _TWO_NUMBERS else 3
    return bool(re.fullmatch(r"sha256:[0-9a-f]{64}", digest) or re.match(rf"\d+(\.\d+){{{numbers - 1}}}(?![\w.])", tag))


def _service_account(pod: Pod, objects: list[Object]) -> Iterator[Problem]:
    name = pod.spec.get("serviceAccountName")
    if name is not None and name not in _named(objects, "ServiceAccount"):
        field = (*pod.field, "serviceAccountName")
        yield Problem(pod.where, field, f"there is no ServiceAccount {name!r}")


def _selectors(objects: list[Object]) -> Iterator[Problem]:
    """Selectors of Services, budgets, monitors, spreads and workloads find at least one pod."""
    everyone = list(pods(objects))
    for obj in objects:
        if _must_select(obj):
            selector = _selector(obj)
            if not any(selects(selector, pod.labels) for pod in everyone):
                message = "is missing" if selector is None else f"no pod has the labels {selector}"
                yield Problem(identity(obj), ("spec", "selector"), message)
    for pod in everyone:
        for index, spread in enumerate(pod.spec.get("topologySpreadConstraints", [])):
            if not selects(spread.get("labelSelector"), pod.labels):
                field = (*pod.field, "topologySpreadConstraints", str(index), "labelSelector")
                yield Problem(pod.where, field, "the pod itself is not among those it is spread with")
        apart: Field = ("affinity", "podAntiAffinity", "requiredDuringSchedulingIgnoredDuringExecution")
        for index, term in enumerate(at(pod.spec, *apart, default=[])):
            if not any(selects(term.get("labelSelector"), other.labels) for other in everyone):
                field = (*pod.field, *apart, str(index), "labelSelector")
                yield Problem(pod.where, field, "there is no such pod to keep away from")


def _must_select(obj: Object) -> bool:
    return obj["kind"] in _SELECTING and obj["spec"].get("type") != "ExternalName"


def _selector(obj: Object) -> Object | None:
    selector: Object | None = obj["spec"].get("selector")
    return {"matchLabels": selector} if obj["kind"] == "Service" and selector else selector


def selects(selector: Object | None, labels: dict[str, str]) -> bool:
    """Kubernetes' label selectors: all that they ask for holds; without one, nothing is selected."""
    if selector is None:
        return False
    return all(labels.get(key) == value for key, value in selector.get("matchLabels", {}).items()) and all(
        _holds(expression, labels) for expression in selector.get("matchExpressions", [])
    )


def _holds(expression: Object, labels: dict[str, str]) -> bool:
    key, values = expression["key"], expression.get("values", [])
    match expression["operator"]:
        case "In":
            return labels.get(key) in values
        case "NotIn":
            return labels.get(key) not in values
        case "Exists":
            return key in labels
        case _:  # DoesNotExist: schemas.py lets no other pass
            return key not in labels


def _services(objects: list[Object]) -> Iterator[Problem]:
    for obj in objects:
        if obj["kind"] == "Service":
            targets = [pod for pod in pods(objects) if selects(_selector(obj), pod.labels)]
            for index, port in enumerate(obj["spec"].get("ports", [])):
                place: Field = ("spec", "ports", item_key(port, index))
                yield from _service_port(obj, place, port.get("targetPort", port["port"]), targets)
        if obj["kind"] == "PodMonitor":
            targets = [pod for pod in pods(objects) if selects(_selector(obj), pod.labels)]
            for index, endpoint in enumerate(obj["spec"].get("podMetricsEndpoints", [])):
                place = ("spec", "podMetricsEndpoints", str(index), "port")
                yield from _service_port(obj, place, endpoint["port"], targets)


def _service_port(obj: Object, field: Field, target: int | str, targets: list[Pod]) -> Iterator[Problem]:
    for pod in targets:
        names = {name for container in pod.containers for name in _port_names(container)}
        numbers = {port["containerPort"] for container in pod.containers for port in container.get("ports", [])}
        if target not in names | numbers:
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


def _addresses(objects: list[Object]) -> Iterator[Problem]:
    """Those that lead to other pods: of the backend, of PostgreSQL, of Redis."""
    service = ray_service(objects)
    wanted = backend_address(service)
    for pod in pods(objects):
        for container in pod.containers:
            variables = environment(container)
            url = at(variables, "FRONTEND_BACKEND_URL", "value")
            if url is not None and url.partition("://")[2].partition("/")[0] != wanted:
                field = pod.place(container, "env", "FRONTEND_BACKEND_URL", "value")
                yield Problem(pod.where, field, f"{url}: the RayService will be reached at http://{wanted}")
            database = at(variables, "FRONTEND_DATABASE_URL", "value", default="sqlite:")
            if not database.startswith("sqlite:"):
                field = pod.place(container, "env", "FRONTEND_DATABASE_URL", "value")
                yield from _known_service(objects, pod.where, field, database, 5432)
            rates = at(variables, "FRONTEND_RATE_STORE", "value")
            if rates is not None:
                field = pod.place(container, "env", "FRONTEND_RATE_STORE", "value")
                yield from _known_service(objects, pod.where, field, rates, 6379)
    place = ("spec", "rayClusterConfig", "gcsFaultToleranceOptions", "redisAddress")
    redis = at(service, *place)
    if redis is not None:
        url = redis if "://" in redis else f"redis://{redis}"
        yield from _known_service(objects, identity(service), place, url, 6379)


def _known_service(objects: list[Object], where: str, field: Field, url: str, usual_port: int) -> Iterator[Problem]:
    try:
        host, port = urlsplit(url).hostname, urlsplit(url).port or usual_port
    except ValueError as error:
        yield Problem(where, field, f"{url} is no address: {error}")
        return
    if host is not None and "." in host:  # outside of this namespace
        return
    service = _named(objects, "Service").get(host or "")
    if service is None:
        yield Problem(where, field, f"there is no Service {host!r}; there is {_list(_named(objects, 'Service'))}")
    elif port not in [each["port"] for each in service["spec"].get("ports", [])]:
        yield Problem(where, field, f"Service {host} has no port {port}")


def _list(names: Any) -> str:
    return ", ".join(sorted(names)) or "none"
