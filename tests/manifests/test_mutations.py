"""Each check is worth having: break one thing in a sound overlay, and the check names that place."""

import copy
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import yaml

from manifest_checks import (
    contents,
    monitoring,
    network,
    operator_rules,
    references,
    schemas,
    security,
    serve_schema,
    timeouts,
)
from manifest_checks.__main__ import problems
from manifest_checks.objects import Object, Problem, item_key
from manifest_checks.render import Rendering
from tests.support.backend import ROOT

Overlay = Callable[[str], Rendering]
CLUSTER = "spec.rayClusterConfig"
HEAD = f"{CLUSTER}.headGroupSpec"
WORKERS = f"{CLUSTER}.workerGroupSpecs.model"
HEAD_POD = f"{HEAD}.template.spec"
WORKER_POD = f"{WORKERS}.template.spec"
HEAD_CONTAINER = f"{HEAD_POD}.containers.ray-head"
WORKER_CONTAINER = f"{WORKER_POD}.containers.ray-worker"
FRONTEND_POD = "spec.template.spec"
FRONTEND_CONTAINER = f"{FRONTEND_POD}.containers.frontend"
SERVE = "spec.serveConfigV2.applications.godel"
GODEL_MODEL = f"{SERVE}.deployments.GodelModel"
INGRESS = f"{SERVE}.deployments.Ingress"
RAY_SERVICE, FRONTEND = "RayService/godel", "Deployment/frontend"
REMOVE = object()


def broken(rendering: Rendering, where: str, path: str, value: Any) -> Rendering:
    """A copy with one value changed, added or (REMOVE) removed; items of lists are named as in a Problem's field."""
    objects = copy.deepcopy(rendering.objects)
    obj = next(each for each in objects if f"{each['kind']}/{each['metadata']['name']}" == where)
    steps = path.split("/") if "/" in path else path.split(".")
    if steps[:2] == ["spec", "serveConfigV2"] and len(steps) > 2:
        config = yaml.safe_load(obj["spec"]["serveConfigV2"])
        _put(config, steps[2:], value)
        obj["spec"]["serveConfigV2"] = yaml.safe_dump(config)
    else:
        _put(obj, steps, value)
    return Rendering(rendering.root, rendering.folder, objects)


def _put(target: Any, steps: list[str], value: Any) -> None:
    for step in steps[:-1]:
        target = _item(target, step) if isinstance(target, list) else target.setdefault(step, {})
    if isinstance(target, list):
        found = _item(target, steps[-1])
        target.remove(found)
        if value is not REMOVE:
            target.append(value)
    elif value is REMOVE:
        del target[steps[-1]]
    else:
        target[steps[-1]] = value


def _item(items: list[Any], name: str) -> Any:
    return next(item for index, item in enumerate(items) if item_key(item, index) == name)


def found(check: ModuleType, rendering: Rendering) -> list[Problem]:
    return list(check.check(rendering))


def assert_caught(caught: list[Problem], where: str, field: str, words: str) -> None:
    told = [(problem.where, ".".join(problem.field), problem.message) for problem in caught]
    hits = [each for each in told if each[0] == where and each[1].startswith(field) and words in each[2]]
    assert hits, f"nothing about {where} {field} with {words!r} in {told}"


OPERATOR_RULES = [
    ("metadata.name", "g" * 48, "metadata.name", "48 characters"),
    ("metadata.name", "Godel_1", "metadata.name", "DNS-1035"),
    (f"{HEAD}.headService", {"metadata": {"name": "mine"}}, f"{HEAD}.headService.metadata.name", "must not be set"),
    ("spec.upgradeStrategy.type", "BlueGreen", "spec.upgradeStrategy.type", "is none of"),
    ("spec.upgradeStrategy.clusterUpgradeOptions", REMOVE, "spec.upgradeStrategy.clusterUpgradeOptions", "needs"),
    (f"{CLUSTER}.enableInTreeAutoscaling", False, f"{CLUSTER}.enableInTreeAutoscaling", "needs the autoscaler"),
    ("spec.upgradeStrategy.clusterUpgradeOptions.gatewayClassName", "", "spec.upgradeStrategy", "class of Gateways"),
    ("spec.upgradeStrategy.clusterUpgradeOptions.stepSizePercent", 101, "spec.upgradeStrategy", "within 0 to 100"),
    ("spec.upgradeStrategy.clusterUpgradeOptions.stepSizePercent", 50, "spec.upgradeStrategy", "maxSurgePercent, 25"),
    ("spec.upgradeStrategy.clusterUpgradeOptions.maxSurgePercent", -1, "spec.upgradeStrategy", "within 0 to 100"),
    ("spec.upgradeStrategy.clusterUpgradeOptions.intervalSeconds", 0, "spec.upgradeStrategy", "not above 0"),
    ("spec.rayClusterDeletionDelaySeconds", -1, "spec.rayClusterDeletionDelaySeconds", "negative"),
    (f"{HEAD_POD}.containers", [], f"{HEAD_POD}.containers", "at least one container"),
    (f"{WORKER_POD}.containers", [], f"{WORKER_POD}.containers", "at least one container"),
    (f"{WORKERS}.idleTimeoutSeconds", -1, f"{WORKERS}.idleTimeoutSeconds", "-1 is negative"),
    (f"{CLUSTER}.autoscalerOptions.idleTimeoutSeconds", -1, f"{CLUSTER}.autoscalerOptions", "-1 is negative"),
    (f"{WORKERS}.minReplicas", -1, f"{WORKERS}.minReplicas", "negative"),
    (f"{WORKERS}.minReplicas", 9, f"{WORKERS}.minReplicas", "more than maxReplicas, 6"),
    ("metadata.annotations", {"ray.io/ft-enabled": "true"}, "metadata.annotations.ray.io/ft-enabled", "together"),
    (
        f"{HEAD_CONTAINER}.env.POD_NAME",
        {"name": "RAY_REDIS_ADDRESS", "value": "redis:6379"},
        f"{HEAD_CONTAINER}.env.RAY_REDIS_ADDRESS",
        "redisAddress",
    ),
    (
        f"{HEAD_CONTAINER}.env.POD_NAME",
        {"name": "REDIS_PASSWORD", "value": "x"},
        f"{HEAD_CONTAINER}.env.REDIS_PASSWORD",
        "redisPassword",
    ),
    (f"{HEAD}.rayStartParams.redis-password", "x", f"{HEAD}.rayStartParams.redis-password", "redisPassword"),
    (f"{HEAD}.rayStartParams.redis-username", "x", f"{HEAD}.rayStartParams.redis-username", "redisUsername"),
    (f"{HEAD}.resources", {"CPU": "1"}, f"{HEAD}.resources", "also in rayStartParams"),
    (f"{WORKERS}.rayStartParams.labels", "a=b", f"{WORKERS}.rayStartParams.labels", "group's own"),
    (f"{WORKER_POD}.restartPolicy", "Always", f"{WORKER_POD}.restartPolicy", "wants Never"),
    (f"{HEAD_POD}.restartPolicy", "OnFailure", f"{HEAD_POD}.restartPolicy", "wants Never"),
    (f"{WORKERS}.suspend", True, f"{WORKERS}.suspend", "refused"),
    (f"{CLUSTER}.rayVersion", "2.51.1", f"{CLUSTER}.rayVersion", "2.52 or newer"),
    (f"{CLUSTER}.rayVersion", "nightly", f"{CLUSTER}.rayVersion", "no version"),
    (f"{CLUSTER}.authOptions.enableK8sTokenAuth", True, f"{CLUSTER}.authOptions.enableK8sTokenAuth", "refused"),
    (f"{CLUSTER}.networkPolicy", {"mode": "DenyAll"}, f"{CLUSTER}.networkPolicy", "feature gate"),
    (f"{CLUSTER}.tlsOptions", {"enabled": True}, f"{CLUSTER}.tlsOptions", "feature gate"),
    (f"{CLUSTER}.gcsFaultToleranceOptions.backend", "rocksdb", f"{CLUSTER}.gcsFaultToleranceOptions", "feature gate"),
    (
        f"{HEAD_CONTAINER}.env.POD_NAME",
        {"name": "RAY_enable_autoscaler_v2", "value": "1"},
        f"{HEAD_CONTAINER}.env.RAY_enable_autoscaler_v2",
        "autoscalerOptions.version",
    ),
]


@pytest.mark.parametrize(("path", "value", "field", "words"), OPERATOR_RULES)
def test_the_operators_rules(overlay: Overlay, path: str, value: Any, field: str, words: str) -> None:
    rendering = broken(overlay("upgrade"), RAY_SERVICE, path, value)
    name = value if path == "metadata.name" else "godel"
    assert_caught(found(operator_rules, rendering), f"RayService/{name}", field, words)


def test_an_idle_timeout_of_a_group_needs_the_second_autoscaler(overlay: Overlay) -> None:
    rendering = broken(overlay("base"), RAY_SERVICE, f"{WORKERS}.idleTimeoutSeconds", 60)
    assert found(operator_rules, rendering) == []
    rendering = broken(rendering, RAY_SERVICE, f"{CLUSTER}.autoscalerOptions.version", "v1")
    assert_caught(found(operator_rules, rendering), RAY_SERVICE, f"{WORKERS}.idleTimeoutSeconds", "v2")


SCHEMAS = [
    (FRONTEND, "spec.replicas", "two", "spec.replicas", "'two'"),
    (FRONTEND, f"{FRONTEND_CONTAINER}.image", 7, f"{FRONTEND_CONTAINER}.image", "7 is not"),
    (FRONTEND, f"{FRONTEND_POD}.terminationGracePeriod", 90, FRONTEND_POD, "terminationGracePeriod"),
    ("Service/frontend", "spec.type", "Nodeport", "spec.type", "Nodeport"),
    ("NetworkPolicy/ray", "spec.policyTypes", "Ingress", "spec.policyTypes", "Ingress"),
    ("PodDisruptionBudget/worker", "spec.minAvaliable", 1, "spec", "minAvaliable"),
    (FRONTEND, "spec.replicas", -1, "spec.replicas", "-1 is negative"),
    ("PodDisruptionBudget/worker", "apiVersion", "policy/v2", "apiVersion", "knows no policy/v2"),
]
RAY_SCHEMAS = [
    (f"{CLUSTER}.rayversion", "2.60.0", CLUSTER, "rayversion"),
    (f"{WORKERS}.replicas", "two", f"{WORKERS}.replicas", "'two'"),
    (f"{CLUSTER}.autoscalerOptions.version", "v3", f"{CLUSTER}.autoscalerOptions.version", "v3"),
    (f"{CLUSTER}.authOptions.mode", "password", f"{CLUSTER}.authOptions.mode", "password"),
    (f"{HEAD}.template", REMOVE, HEAD, "template"),
    ("spec.managedBy", "nobody", "spec.managedBy", "must be either"),  # a rule in CEL, as the next
    (f"{CLUSTER}.managedBy", "nobody", f"{CLUSTER}.managedBy", "must be either"),
    (f"{WORKER_CONTAINER}.readinesProbe", {}, WORKER_CONTAINER, "readinesProbe"),
    (f"{WORKER_CONTAINER}.resources.limits.memory", "4 GB", f"{WORKER_CONTAINER}.resources.limits.memory", "4 GB"),
]


@pytest.mark.parametrize(("where", "path", "value", "field", "words"), SCHEMAS)
def test_kubernetes_schemas(overlay: Overlay, where: str, path: str, value: Any, field: str, words: str) -> None:
    assert_caught(found(schemas, broken(overlay("production"), where, path, value)), where, field, words)


@pytest.mark.parametrize(("path", "value", "field", "words"), RAY_SCHEMAS)
def test_the_crds_schema(overlay: Overlay, path: str, value: Any, field: str, words: str) -> None:
    if schemas.crd_file(ROOT) is None:
        pytest.skip("KubeRay's CRDs are not here; run `make crds`")
    assert_caught(found(schemas, broken(overlay("production"), RAY_SERVICE, path, value)), RAY_SERVICE, field, words)


def test_what_rules_in_cel_allow(overlay: Overlay) -> None:
    """And those about the value before, `oldSelf`, are for updates only."""
    assert found(schemas, broken(overlay("base"), RAY_SERVICE, "spec.managedBy", "ray.io/kuberay-operator")) == []


def test_rules_in_cel_are_found_wherever_they_stand() -> None:
    rule = {"x-kubernetes-validations": [{"rule": "self.low <= self.high", "message": "low is above high"}]}
    schema = {"properties": {"ranges": {"items": rule}, "named": {"additionalProperties": rule}}}
    wrong, right, odd = {"low": 2, "high": 1}, {"low": 1, "high": 2}, {"low": "1"}
    value = {"ranges": [right, wrong, odd], "named": {"a": right, "b": wrong}}
    places = [("ranges", "1"), ("ranges", "2"), ("named", "b")]
    assert list(schemas.broken_rules(value, schema)) == [(place, "low is above high") for place in places]


@pytest.mark.parametrize(("key", "value"), [("effect", "NoSchedul"), ("operator", "Exist")])
def test_tolerations(overlay: Overlay, key: str, value: str) -> None:
    pod = f"{CLUSTER}.workerGroupSpecs.gpu.template.spec"
    rendering = broken(overlay("gpu"), RAY_SERVICE, f"{pod}.tolerations.0.{key}", value)
    assert_caught(found(schemas, rendering), RAY_SERVICE, f"{pod}.tolerations.0.{key}", f"'{value}' is none of")


PROMETHEUS_SCHEMAS = [
    ("PodMonitor/ray-head", "spec.podMetricsEndpoints.0.interval", "15 s", "'15 s' is no duration"),
    ("PodMonitor/ray-head", "spec.podMetricsEndpoints.0.intervall", "15s", "intervall"),
    ("PodMonitor/ray-head", "spec.podMetricsEndpoints.0.relabelings.0.action", "rename", "'rename' is not one of"),
    ("PodMonitor/ray-head", "spec.selector", REMOVE, "'selector' is a required property"),
    ("PrometheusRule/godel", "spec.groups.godel.rules.0.for", "2 minutes", "'2 minutes' is no duration"),
    ("PrometheusRule/godel", "spec.groups.godel.rules.0.labels.severity", 1, "1 is not of type 'string'"),
    ("PrometheusRule/godel", "spec.groups.godel.rules.0.expr", REMOVE, "'expr' is a required property"),
    ("PrometheusRule/godel", "spec.groups.godel.rules.0.expression", "1", "expression"),
]


@pytest.mark.parametrize(("where", "path", "value", "words"), PROMETHEUS_SCHEMAS)
def test_the_prometheus_operators_schemas(overlay: Overlay, where: str, path: str, value: Any, words: str) -> None:
    rendering = broken(overlay("monitoring"), where, path, value)
    field = path if words.startswith(("'15 s", "'2 min", "'rename", "1 is")) else path.rpartition(".")[0]
    assert_caught(found(schemas, rendering), where, field, words)


def test_a_kind_without_a_schema_is_not_passed_over(overlay: Overlay) -> None:
    rendering = broken(overlay("monitoring"), "PodMonitor/ray-head", "kind", "PodMonitors")
    assert_caught(found(schemas, rendering), "PodMonitors/ray-head", "kind", "no such kind")


RULES = "spec.groups.godel.rules"
QUESTIONS = [
    ("PrometheusRule/godel", f"{RULES}.2.expr", "max(ray_godel_config_error > 0", f"{RULES}.2.expr", "is not PromQL"),
    ("PrometheusRule/godel", f"{RULES}.3.expr", "rate(ray_godel_waiting) > 8", f"{RULES}.3.expr", "is not PromQL"),
    ("PrometheusRule/godel", f"{RULES}.3.expr", "sum(ray_godel_wait) > 8", f"{RULES}.3.expr", "'ray_godel_wait'"),
    (
        "PrometheusRule/godel",
        f"{RULES}.0.expr",
        'absent(ray_serve_deployment_replica_healthy{deployment="Godel"})',
        f"{RULES}.0.expr",
        "no deployment 'Godel'; there is GodelModel, Ingress",
    ),
    (
        "ConfigMap/godel-dashboard",
        "data/godel.json",
        '{"panels": [{"targets": [{"expr": "sum(ray_serve_num_requests)"}]}]}',
        "data.godel.json.panels.0.targets.0.expr",
        "'ray_serve_num_requests'",
    ),
    (
        "ConfigMap/godel-dashboard",
        "data/godel.json",
        '{"panels": [{"targets": [{}]}]}',
        "data.godel.json.panels.0.targets",
        "without a question",
    ),
    ("ConfigMap/godel-dashboard", "data/godel.json", "{", "data.godel.json", "is not JSON"),
]


@pytest.mark.parametrize(("where", "path", "value", "field", "words"), QUESTIONS)
def test_questions_to_prometheus(overlay: Overlay, where: str, path: str, value: Any, field: str, words: str) -> None:
    assert_caught(found(monitoring, broken(overlay("monitoring"), where, path, value)), where, field, words)


def test_absent_values_get_the_crds_defaults(overlay: Overlay) -> None:
    """minReplicas and maxReplicas are required but defaulted: leaving them out is no mistake."""
    rendering = broken(overlay("base"), RAY_SERVICE, f"{WORKERS}.minReplicas", REMOVE)
    assert found(schemas, rendering) == []


REFERENCES = [
    (RAY_SERVICE, f"{WORKER_POD}.volumes.chatbot.configMap.name", "chatbots", WORKER_POD, "no ConfigMap 'chatbots'"),
    (
        RAY_SERVICE,
        f"{HEAD_POD}.volumes.chatbot.configMap.items",
        [{"key": "chatbot.yml", "path": "chatbot.yaml"}],
        f"{HEAD_POD}.volumes.chatbot",
        "no key 'chatbot.yml'; it has chatbot.yaml",
    ),
    (
        FRONTEND,
        f"{FRONTEND_CONTAINER}.env.FRONTEND_SECRET_KEY.valueFrom.secretKeyRef.key",
        "secret_key",
        f"{FRONTEND_CONTAINER}.env.FRONTEND_SECRET_KEY",
        "lists key 'secret_key' of Secret 'frontend'",
    ),
    (
        FRONTEND,
        f"{FRONTEND_CONTAINER}.env.PGPASSWORD.valueFrom.secretKeyRef.name",
        "database",
        f"{FRONTEND_CONTAINER}.env.PGPASSWORD",
        "Secret 'database'",
    ),
    (RAY_SERVICE, f"{CLUSTER}.authOptions.secretName", "token", f"{CLUSTER}.authOptions.secretName", "Secret 'token'"),
    ("ConfigMap/chatbot", "kind", "Secret", "kind", "by reference only"),
    ("Service/frontend", "spec.selector", {"app": "frontend"}, "spec.selector", "no pod has the labels"),
    ("PodDisruptionBudget/worker", "spec.selector.matchLabels", {"a": "b"}, "spec.selector", "no pod has"),
    ("Service/postgres", "spec.ports.postgres.targetPort", "pg", "spec.ports.postgres", "no port 'pg'"),
    (FRONTEND, f"{FRONTEND_CONTAINER}.readinessProbe.httpGet.port", "web", FRONTEND_CONTAINER, "no port 'web'"),
    (RAY_SERVICE, f"{HEAD_CONTAINER}.ports.serve", REMOVE, f"{HEAD_CONTAINER}.ports", "named `serve` is missing"),
    (RAY_SERVICE, f"{WORKER_POD}.volumes.tmp", REMOVE, f"{WORKER_CONTAINER}.volumeMounts.tmp", "no volume 'tmp'"),
    (
        RAY_SERVICE,
        f"{WORKER_CONTAINER}.volumeMounts.chatbot.subPath",
        "chatbot.yaml",
        f"{WORKER_CONTAINER}.volumeMounts.chatbot.subPath",
        "never changes in a running pod",
    ),
    (FRONTEND, f"{FRONTEND_CONTAINER}.volumeMounts.tmp", REMOVE, f"{FRONTEND_POD}.volumes.tmp", "no container mounts"),
    (FRONTEND, f"{FRONTEND_CONTAINER}.image", "godel-frontend:latest", FRONTEND_CONTAINER, "not pinned"),
    (FRONTEND, f"{FRONTEND_CONTAINER}.image", "godel-frontend", FRONTEND_CONTAINER, "not pinned"),
    ("StatefulSet/redis", "spec.template.spec.containers.redis.image", "redis:7.4-alpine", "spec", "not pinned"),
    ("StatefulSet/postgres", "spec.template.spec.containers.postgres.image", "postgres:17", "spec", "not pinned"),
    ("Service/frontend", "spec.selector", REMOVE, "spec.selector", "is missing"),
    (
        FRONTEND,
        f"{FRONTEND_POD}.topologySpreadConstraints.0.labelSelector",
        REMOVE,
        f"{FRONTEND_POD}.topologySpreadConstraints",
        "not among those",
    ),
    (
        FRONTEND,
        f"{FRONTEND_CONTAINER}.env.PGPASSWORD.valueFrom.secretKeyRef.name",
        REMOVE,
        f"{FRONTEND_CONTAINER}.env.PGPASSWORD",
        "of Secret ''",
    ),
    (
        FRONTEND,
        f"{FRONTEND_CONTAINER}.env.FRONTEND_DATABASE_URL.value",
        "postgresql+psycopg://frontend@postgres:http/frontend",
        f"{FRONTEND_CONTAINER}.env.FRONTEND_DATABASE_URL",
        "is no address",
    ),
    (
        "StatefulSet/postgres",
        "spec.volumeClaimTemplates.0.metadata",
        {},
        "spec.template.spec.containers.postgres.volumeMounts.data",
        "no volume 'data'",
    ),
    (FRONTEND, f"{FRONTEND_POD}.serviceAccountName", "front", FRONTEND_POD, "no ServiceAccount 'front'"),
    (
        FRONTEND,
        f"{FRONTEND_POD}.topologySpreadConstraints.0.labelSelector.matchLabels",
        {"app": "x"},
        f"{FRONTEND_POD}.topologySpreadConstraints",
        "not among those",
    ),
    (
        RAY_SERVICE,
        f"{WORKER_POD}.affinity.podAntiAffinity.requiredDuringSchedulingIgnoredDuringExecution.0.labelSelector",
        {"matchLabels": {"app": "x"}},
        f"{WORKER_POD}.affinity.podAntiAffinity.requiredDuringSchedulingIgnoredDuringExecution.0.labelSelector",
        "no such pod",
    ),
    (
        FRONTEND,
        f"{FRONTEND_CONTAINER}.env.FRONTEND_BACKEND_URL.value",
        "http://godel-head-svc:8000",
        f"{FRONTEND_CONTAINER}.env.FRONTEND_BACKEND_URL",
        "http://godel-serve-svc:8000",
    ),
    (
        FRONTEND,
        f"{FRONTEND_CONTAINER}.env.FRONTEND_DATABASE_URL.value",
        "postgresql+psycopg://frontend@postgresql/frontend",
        f"{FRONTEND_CONTAINER}.env.FRONTEND_DATABASE_URL",
        "no Service 'postgresql'",
    ),
    (
        RAY_SERVICE,
        f"{CLUSTER}.gcsFaultToleranceOptions.redisAddress",
        "redis:6380",
        f"{CLUSTER}.gcsFaultToleranceOptions.redisAddress",
        "no port 6380",
    ),
]


@pytest.mark.parametrize(("where", "path", "value", "field", "words"), REFERENCES)
def test_references(overlay: Overlay, where: str, path: str, value: Any, field: str, words: str) -> None:
    rendering = broken(overlay("production"), where, path, value)
    where = "Secret/chatbot" if value == "Secret" else where
    assert_caught(found(references, rendering), where, field, words)


@pytest.mark.parametrize(
    ("image", "pinned"),
    [
        ("redis:7.4.11-alpine", True),
        ("redis:7.4.11", True),
        ("redis:7.4-alpine", False),
        ("postgres:17.11-alpine3.22", True),
        ("postgres:17-alpine", False),
        ("host:5000/team/godel-backend:0.1.0-cuda", True),
        ("host:5000/team/godel-backend", False),
        ("redis@sha256:" + "0" * 64, True),
        ("redis:7.4.11-alpine@sha256:" + "0" * 64, True),
        ("redis@sha256:123", False),
        ("redis:latest", False),
        ("redis:v7", False),
        ("", False),
    ],
)
def test_which_images_are_pinned(image: str, pinned: bool) -> None:
    assert references.is_pinned(image) is pinned


def test_ports_need_no_name(overlay: Overlay) -> None:
    ports = [
        {"containerPort": 6379},
        {"containerPort": 8265, "name": "dashboard"},
        {"containerPort": 8000, "name": "serve"},
    ]
    assert problems(broken(overlay("local"), RAY_SERVICE, f"{HEAD_CONTAINER}.ports", ports)) == []


def test_a_managed_redis_is_outside_of_the_namespace(overlay: Overlay) -> None:
    path = f"{CLUSTER}.gcsFaultToleranceOptions.redisAddress"
    assert found(references, broken(overlay("production"), RAY_SERVICE, path, "redis.example.org:6379")) == []


def test_a_lost_volume_claim(overlay: Overlay) -> None:
    path = f"{FRONTEND_POD}.volumes.data.persistentVolumeClaim.claimName"
    rendering = broken(overlay("local"), FRONTEND, path, "data")
    assert_caught(found(references, rendering), FRONTEND, path, "no PersistentVolumeClaim 'data'")


def test_a_monitor_of_a_port_that_is_not_there(overlay: Overlay) -> None:
    rendering = broken(overlay("monitoring"), "PodMonitor/ray-head", "spec.podMetricsEndpoints.0.port", "metric")
    assert_caught(
        found(references, rendering), "PodMonitor/ray-head", "spec.podMetricsEndpoints.0.port", "no port 'metric'"
    )


def test_the_gateway_is_the_backends_address_during_incremental_upgrades(overlay: Overlay) -> None:
    path = f"{FRONTEND_CONTAINER}.env.FRONTEND_BACKEND_URL.value"
    rendering = broken(overlay("upgrade"), FRONTEND, path, "http://godel-serve-svc:8000")
    assert_caught(found(references, rendering), FRONTEND, path, "http://godel-gateway-istio:80")


SERVE_SCHEMA = [
    (RAY_SERVICE, f"{SERVE}.args.slots", 0, f"{SERVE}.args.slots", "greater than or equal to 1"),
    (RAY_SERVICE, f"{SERVE}.args.sloths", 4, f"{SERVE}.args.sloths", "not permitted"),
    (RAY_SERVICE, f"{GODEL_MODEL}.max_queued_requests", "many", f"{GODEL_MODEL}.max_queued_requests", "integer"),
    (RAY_SERVICE, f"{GODEL_MODEL}.max_replicas_per_nod", 1, f"{GODEL_MODEL}.max_replicas_per_nod", "did you mean"),
    (RAY_SERVICE, f"{GODEL_MODEL}.ray_actor_options.num_cpu", 1, GODEL_MODEL, "did you mean num_cpus?"),
    (RAY_SERVICE, f"{GODEL_MODEL}.autoscaling_config.max", 1, GODEL_MODEL, "Serve has no such setting"),
    (RAY_SERVICE, f"{SERVE}.route_prefixes", "/", f"{SERVE}.route_prefixes", "did you mean route_prefix?"),
    (RAY_SERVICE, "spec.serveConfigV2.http_options.ports", 1, "spec.serveConfigV2.http_options.ports", "mean port?"),
    (
        RAY_SERVICE,
        "spec.serveConfigV2.logging_config.level",
        1,
        "spec.serveConfigV2.logging_config.level",
        "not permitted",
    ),
    (RAY_SERVICE, "spec.serveConfigV2.proxy", "HeadOnly", "spec.serveConfigV2.proxy", "no such setting"),
    (RAY_SERVICE, "spec.serveConfigV2.http_options.port", "8000", "spec.serveConfigV2.http_options.port", "integer"),
    (
        RAY_SERVICE,
        f"{GODEL_MODEL}.autoscaling_config.min_replicas",
        -2,
        f"{GODEL_MODEL}.autoscaling_config",
        "than or equal",
    ),
    (RAY_SERVICE, "spec.serveConfigV2.applications", [], "spec.serveConfigV2.applications", "must be one, not 0"),
    (RAY_SERVICE, f"{SERVE}.name", REMOVE, "spec.serveConfigV2.applications.0.name", "is missing"),
    (RAY_SERVICE, f"{SERVE}.deployments", REMOVE, f"{SERVE}.deployments", "is missing"),
]


@pytest.mark.parametrize(("where", "path", "value", "field", "words"), SERVE_SCHEMA)
def test_what_serve_is_given(overlay: Overlay, where: str, path: str, value: Any, field: str, words: str) -> None:
    assert_caught(found(serve_schema, broken(overlay("production"), where, path, value)), where, field, words)


CONTENTS = [
    (RAY_SERVICE, "spec.serveConfigV2.http_options.port", 8001, "spec.serveConfigV2", "run `make manifests`"),
    (RAY_SERVICE, f"{GODEL_MODEL}.ray_actor_options.num_cpus", 8, GODEL_MODEL, "a worker offers 4 CPUs"),
    (RAY_SERVICE, f"{GODEL_MODEL}.ray_actor_options.num_gpus", 1, GODEL_MODEL, "a worker offers 0 GPUs"),
    (RAY_SERVICE, f"{GODEL_MODEL}.autoscaling_config.max_replicas", 7, GODEL_MODEL, "have room for 6"),
    (RAY_SERVICE, f"{INGRESS}.ray_actor_options.num_cpus", 0, SERVE, "may run on the head"),
    (RAY_SERVICE, f"{GODEL_MODEL}.max_replicas_per_node", 0, f"{GODEL_MODEL}.autoscaling_config", "have room for 0"),
    (RAY_SERVICE, f"{INGRESS}.num_replicas", 7, f"{INGRESS}.num_replicas", "7 replicas, but the workers that may come"),
    (RAY_SERVICE, f"{INGRESS}.num_replicas", "auto", f"{INGRESS}.num_replicas", "up to 100 replicas"),
    (RAY_SERVICE, f"{SERVE}.args.chat_config", "/etc/godel/chatbot.yml", SERVE, "no key 'chatbot.yml'"),
    (RAY_SERVICE, f"{SERVE}.args.chat_config", "/etc/chat/chatbot.yaml", WORKER_CONTAINER, "no ConfigMap is mounted"),
    ("ConfigMap/chatbot", "data/chatbot.yaml", "x" * 1024**2 + "x", "data.chatbot.yaml", "1,048,577 bytes"),
    (FRONTEND, f"{FRONTEND_CONTAINER}.env.FRONTEND_PORT.value", "http", FRONTEND_CONTAINER, "valid integer"),
    (FRONTEND, f"{FRONTEND_CONTAINER}.env.FRONTEND_PORT.name", "FRONTEND_PRT", FRONTEND_CONTAINER, "not a setting"),
    (FRONTEND, f"{FRONTEND_POD}.enableServiceLinks", True, f"{FRONTEND_POD}.enableServiceLinks", "must be false"),
]


SQLITE = f"{FRONTEND_CONTAINER}.env.FRONTEND_DATABASE_URL.value"
LOCAL = [
    (FRONTEND, SQLITE, "sqlite:////var/chats.sqlite3", SQLITE, "no volume is mounted at /var; there is /data, /tmp"),
    (FRONTEND, "spec.replicas", 2, "spec.replicas", "a SQLite file has one user"),
    (
        RAY_SERVICE,
        f"{SERVE}.args.model",
        "models/mimi",
        f"{SERVE}.args.model",
        "no folder models/mimi; there is models/mini",
    ),
]


@pytest.mark.parametrize(
    ("name", "where", "path", "value", "field", "words"),
    [*(("production", *mistake) for mistake in CONTENTS), *(("local", *mistake) for mistake in LOCAL)],
)
def test_contents(overlay: Overlay, name: str, where: str, path: str, value: Any, field: str, words: str) -> None:
    assert_caught(found(contents, broken(overlay(name), where, path, value)), where, field, words)


def test_a_serve_config_that_is_not_yaml(overlay: Overlay) -> None:
    sentences = problems(broken(overlay("base"), RAY_SERVICE, "spec.serveConfigV2", "applications: ["))
    assert any("spec.serveConfigV2: is not YAML" in sentence for sentence in sentences)


@pytest.mark.parametrize("crds", ["at hand", "not at hand"])
@pytest.mark.parametrize(
    ("path", "value", "words"),
    [
        ("spec", REMOVE, "'spec' is a required property"),
        (CLUSTER, REMOVE, "'rayClusterConfig' is a required property"),
        (HEAD, REMOVE, "'headGroupSpec' is a required property"),
        (HEAD_POD, REMOVE, "is missing"),
        (f"{WORKERS}.template", REMOVE, "'template' is a required property"),
        (f"{WORKERS}.rayStartParams.num-cpus", "two", "'two' does not match"),
        (f"{WORKER_CONTAINER}.resources.requests.cpu", "two", "'two' is no quantity"),
        ("metadata.annotations", "none", "'none' is not of type"),
    ],
)
def test_what_a_check_cannot_read_is_told_by_its_place(
    overlay: Overlay, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, crds: str, path: str, value: Any, words: str
) -> None:
    """The other checks, which would fail on it, are left out."""
    if crds == "not at hand":
        monkeypatch.setenv(schemas.CRDS_VARIABLE, str(tmp_path))
    sentences = problems(broken(overlay("base"), RAY_SERVICE, path, value))
    assert any(f": {path}" in sentence and words in sentence for sentence in sentences), sentences


def test_without_a_ray_service(overlay: Overlay) -> None:
    rendering = overlay("base")
    objects = [obj for obj in rendering.objects if obj["kind"] != "RayService"]
    (sentence,) = problems(Rendering(rendering.root, rendering.folder, objects))
    assert sentence.startswith("kuberay/base/kustomization.yaml: resources: there must be one RayService, not 0")


TIMEOUTS = [
    (
        RAY_SERVICE,
        f"{WORKER_CONTAINER}.env.RAY_GRACEFUL_SHUTDOWN_DRAIN_TIMEOUT_S.value",
        "long",
        f"{WORKER_CONTAINER}.env.RAY_GRACEFUL_SHUTDOWN_DRAIN_TIMEOUT_S.value",
        "'long' is no number",
    ),
    (RAY_SERVICE, "spec.rayClusterDeletionDelaySeconds", 60, "spec.rayClusterDeletionDelaySeconds", "60 s is less"),
    (RAY_SERVICE, "spec.serveConfigV2.http_options.keep_alive_timeout_s", 400, "spec.rayCluster", "keep_alive"),
    (RAY_SERVICE, f"{SERVE}.args.request_timeout_s", 80, f"{WORKER_CONTAINER}.env.RAY_GRACEFUL", "longest reply"),
    (RAY_SERVICE, f"{WORKER_POD}.terminationGracePeriodSeconds", 75, WORKER_POD, "75 s is less than 95 s"),
    (
        RAY_SERVICE,
        f"{WORKER_CONTAINER}.env.RAY_GRACEFUL_SHUTDOWN_DRAIN_TIMEOUT_S",
        REMOVE,
        f"{WORKER_CONTAINER}.env.RAY_GRACEFUL_SHUTDOWN_DRAIN_TIMEOUT_S",
        "30 s is not more than the longest reply",
    ),
    (RAY_SERVICE, f"{HEAD_CONTAINER}.livenessProbe", REMOVE, f"{HEAD_CONTAINER}.livenessProbe", "puts in its own"),
    (RAY_SERVICE, f"{HEAD_CONTAINER}.livenessProbe.timeoutSeconds", 60, HEAD_CONTAINER, "more than periodSeconds"),
    (
        RAY_SERVICE,
        f"{WORKER_CONTAINER}.lifecycle",
        {"preStop": {"exec": {"command": ["ray", "stop"]}}},
        f"{WORKER_CONTAINER}.lifecycle.preStop",
        "would end replies under way",
    ),
    (FRONTEND, f"{FRONTEND_POD}.terminationGracePeriodSeconds", 30, FRONTEND_POD, "30 s is less than 85 s"),
    (
        FRONTEND,
        f"{FRONTEND_CONTAINER}.env.FRONTEND_SHUTDOWN_GRACE_SECONDS.value",
        "30",
        f"{FRONTEND_CONTAINER}.env.FRONTEND_SHUTDOWN_GRACE_SECONDS",
        "not more than the longest reply",
    ),
    (
        FRONTEND,
        f"{FRONTEND_CONTAINER}.env.FRONTEND_PORT",
        {"name": "FRONTEND_READ_TIMEOUT_SECONDS", "value": "60"},
        f"{FRONTEND_CONTAINER}.env.FRONTEND_READ_TIMEOUT_SECONDS",
        "request_timeout_s, 60 s",
    ),
]


@pytest.mark.parametrize(("where", "path", "value", "field", "words"), TIMEOUTS)
def test_timeouts(overlay: Overlay, where: str, path: str, value: Any, field: str, words: str) -> None:
    assert_caught(found(timeouts, broken(overlay("production"), where, path, value)), where, field, words)


SECURITY = [
    (
        RAY_SERVICE,
        f"{CLUSTER}.autoscalerOptions.securityContext",
        REMOVE,
        f"{CLUSTER}.autoscalerOptions.securityContext.capabilities.drop",
        "['ALL']",
    ),
    ("Namespace/godel", "metadata.labels", {}, "metadata.labels.pod-security.kubernetes.io/enforce", "must be restri"),
    (RAY_SERVICE, f"{CLUSTER}.authOptions", REMOVE, f"{CLUSTER}.authOptions.mode", "must be token"),
    (
        RAY_SERVICE,
        f"{CLUSTER}.gcsFaultToleranceOptions.redisPassword",
        {"value": "secret"},
        f"{CLUSTER}.gcsFaultToleranceOptions.redisPassword",
        "must be from a Secret",
    ),
    (RAY_SERVICE, f"{WORKER_POD}.securityContext.runAsNonRoot", False, WORKER_POD, "must be True"),
    (RAY_SERVICE, f"{WORKER_POD}.securityContext.runAsUser", 0, WORKER_POD, "other than root"),
    (RAY_SERVICE, f"{WORKER_POD}.automountServiceAccountToken", True, WORKER_POD, "no business"),
    (RAY_SERVICE, f"{HEAD_POD}.securityContext.seccompProfile", REMOVE, HEAD_POD, "RuntimeDefault"),
    (RAY_SERVICE, f"{HEAD_CONTAINER}.securityContext.capabilities", REMOVE, HEAD_CONTAINER, "['ALL']"),
    (FRONTEND, f"{FRONTEND_CONTAINER}.securityContext.readOnlyRootFilesystem", False, FRONTEND_CONTAINER, "True"),
    ("StatefulSet/redis", "spec.template.spec.containers.redis.resources.limits", {}, "spec.template", "is missing"),
    (RAY_SERVICE, f"{WORKER_CONTAINER}.resources.limits.memory", "8Gi", WORKER_CONTAINER, "must equal the request"),
    (RAY_SERVICE, f"{WORKER_CONTAINER}.env.POD_NAME", REMOVE, f"{WORKER_CONTAINER}.env.POD_NAME", "metadata.name"),
    (RAY_SERVICE, f"{HEAD_CONTAINER}.env.NODE_NAME", REMOVE, f"{HEAD_CONTAINER}.env.NODE_NAME", "spec.nodeName"),
]


@pytest.mark.parametrize(("where", "path", "value", "field", "words"), SECURITY)
def test_security(overlay: Overlay, where: str, path: str, value: Any, field: str, words: str) -> None:
    assert_caught(found(security, broken(overlay("production"), where, path, value)), where, field, words)


REACHED_TOO_LITTLE = [
    ("production", "frontend", "the frontend cannot reach the worker on port 8000"),
    ("production", "dns", "the worker cannot reach the cluster's DNS on port 53"),
    ("production", "ray", "the head cannot reach the worker on port 12345"),
    ("production", "ray-operator", "the operator cannot reach the head on port 8265"),
    ("production", "ray-metrics", "Prometheus cannot reach the worker on port 8080"),
    ("production", "autoscaler", "the head cannot reach the API server on port 6443"),
    ("production", "postgres", "the frontend cannot reach the postgres on port 5432"),
    ("production", "redis", "the head cannot reach the redis on port 6379"),
    ("production", "redis-clients", "the head cannot reach the redis on port 6379"),
    ("upgrade", "gateway", "the frontend cannot reach the Gateway on port 80"),
    ("upgrade", "ray-gateway", "the Gateway cannot reach the worker on port 8000"),
    ("upgrade", "frontend-gateway", "the frontend cannot reach the Gateway on port 80"),
]


@pytest.mark.parametrize(("name", "policy", "words"), REACHED_TOO_LITTLE)
def test_every_policy_is_needed(overlay: Overlay, name: str, policy: str, words: str) -> None:
    """Without its rules something that must be reached is not."""
    rendering = broken(overlay(name), f"NetworkPolicy/{policy}", "spec.egress", [])
    rendering = broken(rendering, f"NetworkPolicy/{policy}", "spec.ingress", [])
    assert words in [problem.message for problem in found(network, rendering)]


STRANGERS = "a pod of another namespace must not reach "
REACHED_TOO_MUCH: list[tuple[str, str, Object | list[Object], str]] = [
    (
        "default-deny",
        "spec.podSelector",
        {"matchLabels": {"a": "b"}},
        STRANGERS + "another pod of the namespace on port 80",
    ),
    ("ray", "spec.ingress", [{}], STRANGERS + "the head on port 8265"),
    ("ray", "spec.egress", [{}], "the worker must not reach the internet on port 443"),
    ("postgres", "spec.ingress", [{}], "a pod of another namespace must not reach the postgres on port 5432"),
    ("redis", "spec.ingress", [{}], STRANGERS + "the redis on port 6379"),
    ("frontend", "spec.egress", [{}], "the frontend must not reach the internet on port 443"),
]


@pytest.mark.parametrize(("policy", "path", "value", "words"), REACHED_TOO_MUCH)
def test_nothing_else_is_reached(overlay: Overlay, policy: str, path: str, value: Any, words: str) -> None:
    rendering = broken(overlay("production"), f"NetworkPolicy/{policy}", path, value)
    assert any(problem.message.startswith(words) for problem in found(network, rendering))


REDIS_CLIENTS = "spec.ingress.0.from.0.podSelector.matchExpressions"
PERMITTED: list[tuple[str, str, Any]] = [
    ("frontend", "spec.ingress.0.ports", [{"port": 8080}]),  # of TCP, where nothing is said
    ("frontend", "spec.ingress.0.ports", [{"port": "http"}]),  # by the name that the pod gives it
    ("frontend", "spec.ingress.0.ports", [{"port": 8000, "endPort": 8090}]),
    ("redis", "spec.ingress.0.ports", [{"protocol": "TCP"}]),
    ("redis", "spec.policyTypes", REMOVE),
    ("redis-clients", "spec.policyTypes", REMOVE),
    ("redis", REDIS_CLIENTS, [{"key": "ray.io/node-type", "operator": "Exists"}]),
    ("redis", REDIS_CLIENTS, [{"key": "ray.io/node-type", "operator": "NotIn", "values": ["worker"]}]),
    ("redis", REDIS_CLIENTS, [{"key": "frontend", "operator": "DoesNotExist"}]),
]


@pytest.mark.parametrize(("policy", "path", "value"), PERMITTED)
def test_other_ways_to_say_the_same(overlay: Overlay, policy: str, path: str, value: Any) -> None:
    assert problems(broken(overlay("production"), f"NetworkPolicy/{policy}", path, value)) == []


REFUSED: list[tuple[str, str, Any, str]] = [
    ("frontend", "spec.ingress.0.ports", [{"port": "web"}], "people cannot reach the frontend on port 8080"),
    ("frontend", "spec.ingress.0.ports", [{"port": 80, "endPort": 8000}], "people cannot reach the frontend"),
    ("dns", "spec.egress.0.ports", [{"port": 53}], "the head cannot reach the cluster's DNS on port 53"),
    (
        "redis",
        REDIS_CLIENTS,
        [{"key": "ray.io/node-type", "operator": "NotIn", "values": ["head"]}],
        "the head cannot reach the redis on port 6379",
    ),
    ("redis", REDIS_CLIENTS, [{"key": "ray.io/node-type", "operator": "Gt", "values": ["1"]}], "'Gt' is none of In,"),
]


@pytest.mark.parametrize(("policy", "path", "value", "words"), REFUSED)
def test_other_ways_to_say_something_else(overlay: Overlay, policy: str, path: str, value: Any, words: str) -> None:
    sentences = problems(broken(overlay("production"), f"NetworkPolicy/{policy}", path, value))
    assert any(words in sentence for sentence in sentences), sentences
