"""What KubeRay 1.7's operator refuses beyond its CRD's schema, said in Python.

Its source: ray-operator/controllers/ray/utils/validation.go. A refused RayService stays in the cluster, does nothing,
and tells why only in an event; so it is better refused here. The operator stops at its first error; this tells all.
"""

import re
from collections.abc import Iterator

from manifest_checks.objects import Field, Object, Problem, at, environment, identity, item_key, ray_service
from manifest_checks.render import Rendering

MAX_NAME = 47
MIN_TOKEN_VERSION = (2, 52)
_DNS_1035 = re.compile(r"[a-z]([-a-z0-9]*[a-z0-9])?")
_STRATEGIES = ("NewClusterWithIncrementalUpgrade", "NewCluster", "None")
_START_RESOURCES = ("num-cpus", "num-gpus", "memory", "resources")
# Fields behind feature gates that are off by default; the gate that each needs.
_GATED = {
    ("networkPolicy",): "RayClusterNetworkPolicy",
    ("tlsOptions",): "RayClusterMTLS",
    ("historyServerOptions",): "RayClusterHistoryServer",
}

_CLUSTER = ("spec", "rayClusterConfig")
Found = tuple[Field, str]


def check(rendering: Rendering) -> Iterator[Problem]:
    service = ray_service(rendering.objects)
    cluster = service["spec"]["rayClusterConfig"]
    rules = [
        _name(service),
        _upgrade(service),
        _head(cluster),
        _groups(cluster),
        _redis(service, cluster),
        _autoscaler(cluster),
        _authentication(cluster),
        _gates(cluster),
    ]
    for found in rules:
        for field, message in found:
            yield Problem(identity(service), field, message)


def _name(service: Object) -> Iterator[Found]:
    name = service["metadata"]["name"]
    if len(name) > MAX_NAME:
        yield ("metadata", "name"), f"{len(name)} characters; at most {MAX_NAME} leave room for what Services add"
    if not _DNS_1035.fullmatch(name):
        yield ("metadata", "name"), f"{name!r} is not a DNS-1035 label: small letters, digits, hyphens; a letter first"


def _upgrade(service: Object) -> Iterator[Found]:
    spec = service["spec"]
    strategy = at(spec, "upgradeStrategy", "type")
    if strategy is not None and strategy not in _STRATEGIES:
        yield ("spec", "upgradeStrategy", "type"), f"{strategy!r} is none of {', '.join(_STRATEGIES)}"
    delay = spec.get("rayClusterDeletionDelaySeconds", 0)
    if delay < 0:
        yield ("spec", "rayClusterDeletionDelaySeconds"), f"{delay} is negative"
    if strategy == "NewClusterWithIncrementalUpgrade":
        yield from _incremental(spec)


def _incremental(spec: Object) -> Iterator[Found]:
    field = ("spec", "upgradeStrategy", "clusterUpgradeOptions")
    if not at(spec, "rayClusterConfig", "enableInTreeAutoscaling"):
        yield (*_CLUSTER, "enableInTreeAutoscaling"), "an incremental upgrade needs the autoscaler"
    options = at(spec, "upgradeStrategy", "clusterUpgradeOptions")
    if options is None:
        yield field, "an incremental upgrade needs these options"
        return
    surge, step = options.get("maxSurgePercent", 100), options.get("stepSizePercent")
    if not 0 <= surge <= 100:
        yield (*field, "maxSurgePercent"), f"{surge} is not within 0 to 100"
    if step is None or not 0 <= step <= 100:
        yield (*field, "stepSizePercent"), f"{step} is not within 0 to 100"
    elif step > surge:
        yield (*field, "stepSizePercent"), f"{step} is more than maxSurgePercent, {surge}"
    if options.get("intervalSeconds", 0) <= 0:
        yield (*field, "intervalSeconds"), f"{options.get('intervalSeconds')} is not above 0"
    if not options.get("gatewayClassName"):
        yield (*field, "gatewayClassName"), "an incremental upgrade needs a class of Gateways"


def _head(cluster: Object) -> Iterator[Found]:
    head = cluster["headGroupSpec"]
    field = (*_CLUSTER, "headGroupSpec")
    if at(head, "headService", "metadata", "name"):
        yield (*field, "headService", "metadata", "name"), "must not be set: the operator names the Service"
    yield from _group(head, field)


def _groups(cluster: Object) -> Iterator[Found]:
    autoscaled = cluster.get("enableInTreeAutoscaling", False)
    for index, group in enumerate(cluster.get("workerGroupSpecs", [])):
        field = (*_CLUSTER, "workerGroupSpecs", item_key(group, index))
        yield from _group(group, field)
        yield from _replicas(group, field, autoscaled)
        if group.get("suspend"):
            yield (*field, "suspend"), "is refused with autoscaling, and gated without"
        idle = group.get("idleTimeoutSeconds", 0)
        if idle < 0:
            yield (*field, "idleTimeoutSeconds"), f"{idle} is negative"
        if "idleTimeoutSeconds" in group and at(cluster, "autoscalerOptions", "version") != "v2":
            yield (*field, "idleTimeoutSeconds"), "a group's own needs autoscalerOptions.version v2"


def _group(group: Object, field: Field) -> Iterator[Found]:
    if not at(group, "template", "spec", "containers"):
        yield (*field, "template", "spec", "containers"), "at least one container is needed"
    parameters = group.get("rayStartParams", {})
    if group.get("resources") and any(parameters.get(name) for name in _START_RESOURCES):
        yield (*field, "resources"), "resources are also in rayStartParams; use one of the two"
    if "labels" in parameters:
        yield (*field, "rayStartParams", "labels"), "is refused; use the group's own `labels`"


def _replicas(group: Object, field: Field, autoscaled: bool) -> Iterator[Found]:
    low, high = group.get("minReplicas"), group.get("maxReplicas")
    for name, value in (("minReplicas", low), ("maxReplicas", high)):
        if value is None and not autoscaled:
            yield (*field, name), "must be set without autoscaling"
        elif value is not None and value < 0:
            yield (*field, name), f"{value} is negative"
    if low is not None and high is not None and low > high:
        yield (*field, "minReplicas"), f"{low} is more than maxReplicas, {high}"


def _redis(service: Object, cluster: Object) -> Iterator[Found]:
    field = (*_CLUSTER, "headGroupSpec")
    head = cluster["headGroupSpec"]
    options = cluster.get("gcsFaultToleranceOptions")
    variables = environment(at(head, "template", "spec", "containers", 0, default={}))
    parameters = head.get("rayStartParams", {})
    annotations = service["metadata"].get("annotations", {})
    environment_field = (*field, "template", "spec", "containers", _first_name(head), "env")
    if "RAY_REDIS_ADDRESS" in variables:
        yield (*environment_field, "RAY_REDIS_ADDRESS"), "is refused; use gcsFaultToleranceOptions.redisAddress"
    if "redis-username" in parameters or "REDIS_USERNAME" in variables:
        yield (*field, "rayStartParams", "redis-username"), "is refused; use gcsFaultToleranceOptions.redisUsername"
    if options is None:
        return
    if "REDIS_PASSWORD" in variables:
        yield (*environment_field, "REDIS_PASSWORD"), "is refused; use gcsFaultToleranceOptions.redisPassword"
    if "redis-password" in parameters:
        yield (*field, "rayStartParams", "redis-password"), "is refused; use gcsFaultToleranceOptions.redisPassword"
    for annotation in ("ray.io/ft-enabled", "ray.io/external-storage-namespace"):
        if annotations.get(annotation):
            yield ("metadata", "annotations", annotation), "is refused together with gcsFaultToleranceOptions"
    if options.get("backend") == "rocksdb" or "storage" in options:
        yield (*_CLUSTER, "gcsFaultToleranceOptions", "backend"), "storage without Redis is behind a feature gate"


def _autoscaler(cluster: Object) -> Iterator[Found]:
    field = (*_CLUSTER, "headGroupSpec", "template", "spec")
    variables = environment(at(cluster, "headGroupSpec", "template", "spec", "containers", 0, default={}))
    name = (*field, "containers", _first_name(cluster["headGroupSpec"]), "env", "RAY_enable_autoscaler_v2")
    version = at(cluster, "autoscalerOptions", "version")
    idle = at(cluster, "autoscalerOptions", "idleTimeoutSeconds", default=0)
    if idle < 0:  # the operator hands this one on, and every worker would be idle for long enough
        yield (*_CLUSTER, "autoscalerOptions", "idleTimeoutSeconds"), f"{idle} is negative"
    if "RAY_enable_autoscaler_v2" in variables and (version or not cluster.get("enableInTreeAutoscaling")):
        yield name, "is refused; use enableInTreeAutoscaling and autoscalerOptions.version"
    if not cluster.get("enableInTreeAutoscaling") or version != "v2":
        return
    policy = at(cluster, "headGroupSpec", "template", "spec", "restartPolicy", default="")
    if policy not in ("", "Never"):
        yield (*field, "restartPolicy"), f"{policy!r}: autoscaler v2 wants Never, or nothing"
    for index, group in enumerate(cluster.get("workerGroupSpecs", [])):
        policy = at(group, "template", "spec", "restartPolicy", default="")
        if policy not in ("", "Never"):
            place = (*_CLUSTER, "workerGroupSpecs", item_key(group, index), "template", "spec", "restartPolicy")
            yield place, f"{policy!r}: autoscaler v2 wants Never, or nothing"


def _authentication(cluster: Object) -> Iterator[Found]:
    options = cluster.get("authOptions", {})
    if options.get("enableK8sTokenAuth"):
        yield (*_CLUSTER, "authOptions", "enableK8sTokenAuth"), "is refused in a RayService"
    if options.get("mode") != "token":
        return
    version = str(cluster.get("rayVersion", ""))
    numbers = re.match(r"v?(\d+)\.(\d+)", version)
    if numbers is None:
        yield (*_CLUSTER, "rayVersion"), f"{version!r} is no version, and token authentication needs one"
    elif tuple(map(int, numbers.groups())) < MIN_TOKEN_VERSION:
        yield (*_CLUSTER, "rayVersion"), f"{version}: token authentication needs 2.52 or newer"


def _gates(cluster: Object) -> Iterator[Found]:
    for field, gate in _GATED.items():
        if at(cluster, *field) is not None:
            yield (*_CLUSTER, *field), f"needs the operator's feature gate {gate}, which is off by default"


def _first_name(group: Object) -> str:
    return str(at(group, "template", "spec", "containers", 0, "name", default="0"))
