"""What KubeRay 1.7's operator refuses beyond its CRD's schema, as far as the overlays set the fields in question.

Its source: ray-operator/controllers/ray/utils/validation.go. A refused RayService stays in the cluster, does nothing,
and tells why only in an event; so it is better refused here. The operator stops at its first error; this tells all.
"""

import re
from collections.abc import Iterator

from manifest_checks.objects import Field, Object, Problem, at, environment, identity, item_key, pods, ray_service
from manifest_checks.render import Rendering

MAX_NAME = 47
MIN_TOKEN_VERSION = (2, 52)
_DNS_1035 = re.compile(r"[a-z]([-a-z0-9]*[a-z0-9])?")
_STRATEGIES = ("NewClusterWithIncrementalUpgrade", "NewCluster", "None")
_CLUSTER = ("spec", "rayClusterConfig")
# Variables and start parameters that the operator sets itself, and refuses from others; the field to use.
_REDIS_FIELDS = {
    "RAY_REDIS_ADDRESS": "redisAddress",
    "REDIS_USERNAME": "redisUsername",
    "REDIS_PASSWORD": "redisPassword",
    "redis-username": "redisUsername",
    "redis-password": "redisPassword",
}

Found = tuple[Field, str]


def check(rendering: Rendering) -> Iterator[Problem]:
    service = ray_service(rendering.objects)
    for rule in (_name, _upgrade, _replicas, _idle_timeout, _restart_policy, _redis, _token):
        for field, message in rule(service):
            yield Problem(identity(service), field, message)


def _name(service: Object) -> Iterator[Found]:
    name = service["metadata"]["name"]
    if len(name) > MAX_NAME:
        yield ("metadata", "name"), f"{len(name)} characters; at most {MAX_NAME} leave room for what Services add"
    if not _DNS_1035.fullmatch(name):
        yield ("metadata", "name"), f"{name!r} is not a DNS-1035 label: small letters, digits, hyphens; a letter first"


def _upgrade(service: Object) -> Iterator[Found]:
    spec = service["spec"]
    delay = spec.get("rayClusterDeletionDelaySeconds", 0)
    if delay < 0:
        yield ("spec", "rayClusterDeletionDelaySeconds"), f"{delay} is negative"
    strategy = at(spec, "upgradeStrategy", "type", default="NewCluster")
    if strategy not in _STRATEGIES:
        yield ("spec", "upgradeStrategy", "type"), f"{strategy!r} is none of {', '.join(_STRATEGIES)}"
    if strategy == "NewClusterWithIncrementalUpgrade":
        yield from _incremental(spec)


def _incremental(spec: Object) -> Iterator[Found]:
    field = ("spec", "upgradeStrategy", "clusterUpgradeOptions")
    if not spec["rayClusterConfig"].get("enableInTreeAutoscaling"):
        yield (*_CLUSTER, "enableInTreeAutoscaling"), "an incremental upgrade needs the autoscaler"
    options = spec["upgradeStrategy"].get("clusterUpgradeOptions")
    if options is None:
        yield field, "an incremental upgrade needs these options"
        return
    surge, step = options.get("maxSurgePercent", 100), options["stepSizePercent"]
    for name, percent in (("maxSurgePercent", surge), ("stepSizePercent", step)):
        if not 0 <= percent <= 100:
            yield (*field, name), f"{percent} is not within 0 to 100"
    if step > surge:
        yield (*field, "stepSizePercent"), f"{step} is more than maxSurgePercent, {surge}"
    if options["intervalSeconds"] <= 0:
        yield (*field, "intervalSeconds"), f"{options['intervalSeconds']} is not above 0"
    if not options["gatewayClassName"]:
        yield (*field, "gatewayClassName"), "an incremental upgrade needs a class of Gateways"


def _replicas(service: Object) -> Iterator[Found]:
    """`replicas` outside of the range is not refused: the operator takes its nearer end, and says nothing."""
    for index, group in enumerate(service["spec"]["rayClusterConfig"].get("workerGroupSpecs", [])):
        field = (*_CLUSTER, "workerGroupSpecs", item_key(group, index))
        low, high = group.get("minReplicas", 0), group.get("maxReplicas", 2**31 - 1)  # the CRD's defaults
        for name, value in (("minReplicas", low), ("maxReplicas", high)):
            if value < 0:
                yield (*field, name), f"{value} is negative"
        if low > high:
            yield (*field, "minReplicas"), f"{low} is more than maxReplicas, {high}"
        elif not low <= group.get("replicas", low) <= high:
            yield (*field, "replicas"), f"{group['replicas']} is not within minReplicas to maxReplicas, {low} to {high}"


def _idle_timeout(service: Object) -> Iterator[Found]:
    seconds = at(service, *_CLUSTER, "autoscalerOptions", "idleTimeoutSeconds", default=0)
    if seconds < 0:
        yield (*_CLUSTER, "autoscalerOptions", "idleTimeoutSeconds"), f"{seconds} is negative"


def _restart_policy(service: Object) -> Iterator[Found]:
    cluster = service["spec"]["rayClusterConfig"]
    if cluster.get("enableInTreeAutoscaling") and at(cluster, "autoscalerOptions", "version") == "v2":
        for pod in pods([service]):
            policy = pod.spec.get("restartPolicy", "Never")
            if policy != "Never":
                yield (*pod.field, "restartPolicy"), f"{policy!r}: autoscaler v2 wants Never, or nothing"


def _redis(service: Object) -> Iterator[Found]:
    head = next(pod for pod in pods([service]) if pod.role == "head")
    given = {name: head.place(head.containers[0], "env", name) for name in environment(head.containers[0])}
    start = (*_CLUSTER, "headGroupSpec", "rayStartParams")
    given |= {name: (*start, name) for name in at(service, *start, default={})}
    for name, instead in _REDIS_FIELDS.items():
        if name in given:
            yield given[name], f"is refused; use gcsFaultToleranceOptions.{instead}"


def _token(service: Object) -> Iterator[Found]:
    cluster = service["spec"]["rayClusterConfig"]
    if at(cluster, "authOptions", "mode") != "token":
        return
    version = cluster.get("rayVersion", "")
    numbers = re.match(r"v?(\d+)\.(\d+)", version)
    if numbers is None:
        yield (*_CLUSTER, "rayVersion"), f"{version!r} is no version, and token authentication needs one"
    elif tuple(map(int, numbers.groups())) < MIN_TOKEN_VERSION:
        yield (*_CLUSTER, "rayVersion"), f"{version}: token authentication needs 2.52 or newer"
