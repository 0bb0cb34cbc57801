"""Each rule is worth having: break one thing in a sound overlay, and the check names that place."""

from collections.abc import Callable
from types import ModuleType
from typing import Any

import pytest

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
from manifest_checks.render import Rendering
from tests.manifests.breaking import REMOVED, broken

Overlay = Callable[[str], Rendering]
RAY, FRONTEND = "RayService/godel", "Deployment/frontend"
MONITOR, RULE, DASHBOARD = "PodMonitor/ray-head", "PrometheusRule/godel", "ConfigMap/godel-dashboard"
HEAD, WORKER = "headGroupSpec.template.spec", "model.template.spec"
ENV = "frontend.env"
OPTIONS = "spec.upgradeStrategy.clusterUpgradeOptions"

# object, end of the place to break, value, words of the message; and where the message is about another place, its end.
Mistake = tuple[str, str, Any, str] | tuple[str, str, Any, str, str]
Mistakes = dict[str, list[Mistake]]  # by overlay

SCHEMAS: Mistakes = {
    "production": [
        (FRONTEND, "spec.replicas", "two", "'two' is not of type 'integer'"),
        (FRONTEND, "spec.replicas", -1, "-1 is negative"),
        (FRONTEND, "template.spec.terminationGracePeriod", 90, "'terminationGracePeriod' was unexpected"),
        (FRONTEND, "template.spec", REMOVED, "is missing"),
        ("Service/frontend", "spec.type", "Nodeport", "'Nodeport' is none of ClusterIP"),
        ("PodDisruptionBudget/worker", "apiVersion", "policy/v2", "Kubernetes 1.32 knows no policy/v2"),
        ("NetworkPolicy/redis", "from.0.podSelector.matchExpressions.0.operator", "Gt", "'Gt' is none of In,"),
        ("NetworkPolicy/redis", "spec.ingress.0.ports", [None], "is empty"),
        (RAY, "apiVersion", "ray.io/v2", "the CRD has ray.io/v1"),
        (RAY, "metadata.annotations", "none", "'none' is not of type"),
        (RAY, "spec", REMOVED, "'spec' is a required property"),
        (RAY, "spec.rayClusterConfig", REMOVED, "'rayClusterConfig' is a required property"),
        (RAY, "spec.rayClusterConfig.rayversion", "2.60.0", "'rayversion' was unexpected"),
        (RAY, "autoscalerOptions.version", "v3", "'v3' is not one of"),
        (RAY, "headGroupSpec.template.spec", REMOVED, "is missing"),
        (RAY, f"{WORKER}.containers", [], "is missing"),
        (RAY, "ray-worker.readinesProbe", {}, "'readinesProbe' was unexpected"),
        (RAY, "ray-worker.resources.limits.memory", "4 GB", "'4 GB' is no quantity"),
        (RAY, "headGroupSpec.rayStartParams.num-cpus", "two", "'two' is no whole number"),
    ],
    "upgrade": [(RAY, f"{OPTIONS}.stepSizePercent", REMOVED, "'stepSizePercent' is a required property")],
    "gpu": [
        (RAY, "tolerations.0.effect", "NoSchedul", "'NoSchedul' is none of"),
        (RAY, "tolerations.0.operator", "Exist", "'Exist' is none of"),
    ],
    "monitoring": [
        (MONITOR, "kind", "PodMonitors", "no such kind"),
        (MONITOR, "podMetricsEndpoints.0.interval", "15 s", "'15 s' is no duration"),
        (MONITOR, "podMetricsEndpoints.0.intervall", "15s", "'intervall' was unexpected"),
        (MONITOR, "podMetricsEndpoints.0.port", REMOVED, "'port' is a required property"),
        (MONITOR, "spec.selector", REMOVED, "'selector' is a required property"),
        (MONITOR, "selector.matchLabels", True, "True is not of type 'object'"),
        (RULE, "godel.rules.0.labels.severity", 1, "1 is not of type 'string'"),
        (RULE, "godel.rules.0.for", "2 minutes", "'2 minutes' is no duration"),
    ],
}

SERVE: Mistakes = {
    "production": [
        (RAY, "args.slots", 0, "greater than or equal to 1"),
        (RAY, "args.sloths", 4, "not permitted"),
        (RAY, "GodelModel.max_queued_requests", "many", "integer"),
        (RAY, "GodelModel.max_replicas_per_nod", 1, "did you mean max_replicas_per_node?"),
        (RAY, "GodelModel.ray_actor_options.num_cpu", 1, "did you mean num_cpus?"),
        (RAY, "GodelModel.autoscaling_config.max", 1, "Serve has no such setting"),
        (RAY, "GodelModel.autoscaling_config.min_replicas", -2, "than or equal"),
        (RAY, "godel.route_prefixes", "/", "did you mean route_prefix?"),
        (RAY, "http_options.ports", 1, "did you mean port?"),
        (RAY, "http_options.port", "8000", "integer"),
        (RAY, "logging_config.level", 1, "not permitted"),
        (RAY, "serveConfigV2.proxy", "HeadOnly", "no such setting"),
        (RAY, "serveConfigV2.applications", [], "there must be one, not 0"),
        (RAY, "godel.name", REMOVED, "is missing", "applications.0.name"),
        (RAY, "godel.deployments", REMOVED, "is missing"),
        (RAY, "spec.serveConfigV2", "applications: [", "is not YAML"),
    ],
}

OPERATOR: Mistakes = {
    "upgrade": [
        (RAY, "spec.upgradeStrategy.type", "BlueGreen", "is none of"),
        (RAY, OPTIONS, REMOVED, "needs these options"),
        (RAY, f"{OPTIONS}.gatewayClassName", "", "needs a class of Gateways"),
        (RAY, f"{OPTIONS}.stepSizePercent", 101, "101 is not within 0 to 100"),
        (RAY, f"{OPTIONS}.stepSizePercent", 50, "50 is more than maxSurgePercent, 25"),
        (RAY, f"{OPTIONS}.maxSurgePercent", -1, "-1 is not within 0 to 100"),
        (RAY, f"{OPTIONS}.intervalSeconds", 0, "0 is not above 0"),
        (RAY, "spec.rayClusterConfig.enableInTreeAutoscaling", False, "needs the autoscaler"),
    ],
    "production": [
        (RAY, "metadata.name", "g" * 48, "48 characters"),
        (RAY, "metadata.name", "Godel_1", "is not a DNS-1035 label"),
        (RAY, "spec.rayClusterDeletionDelaySeconds", -1, "-1 is negative"),
        (RAY, "autoscalerOptions.idleTimeoutSeconds", -1, "-1 is negative"),
        (RAY, "model.minReplicas", -1, "-1 is negative"),
        (RAY, "model.minReplicas", 9, "9 is more than maxReplicas, 6"),
        (RAY, "model.replicas", 7, "7 is not within minReplicas to maxReplicas, 2 to 6"),
        (RAY, f"{HEAD}.restartPolicy", "OnFailure", "autoscaler v2 wants Never"),
        (RAY, f"{WORKER}.restartPolicy", "Always", "autoscaler v2 wants Never"),
        (RAY, "ray-head.env.POD_NAME.name", "REDIS_PASSWORD", "use gcsFault", "ray-head.env.REDIS_PASSWORD"),
        (RAY, "headGroupSpec.rayStartParams.redis-password", "x", "gcsFaultToleranceOptions.redisPassword"),
        (RAY, "spec.rayClusterConfig.rayVersion", "2.51.1", "needs 2.52 or newer"),
        (RAY, "spec.rayClusterConfig.rayVersion", "nightly", "is no version"),
    ],
}

APART = "podAntiAffinity.requiredDuringSchedulingIgnoredDuringExecution"
REFERENCES: Mistakes = {
    "production": [
        ("ConfigMap/chatbot", "kind", "Secret", "by reference only, never by value"),
        (RAY, f"{WORKER}.volumes.chatbot.configMap.name", "chatbots", "no ConfigMap 'chatbots'; there is chatbot"),
        (RAY, f"{HEAD}.volumes.chatbot.configMap.items", [{"key": "a.yml", "path": "b"}], "no key 'a.yml'; it has"),
        (FRONTEND, "FRONTEND_SECRET_KEY.valueFrom.secretKeyRef.key", "key", "lists key 'key' of Secret 'frontend'"),
        (FRONTEND, f"{ENV}.PGPASSWORD.valueFrom.secretKeyRef.name", REMOVED, "of Secret ''"),
        (RAY, "authOptions.secretName", "token", "of Secret 'token'"),
        ("Service/frontend", "spec.selector", {"app": "frontend"}, "no pod has the labels"),
        ("Service/frontend", "spec.selector", REMOVED, "is missing"),
        ("PodDisruptionBudget/worker", "selector.matchLabels", {"a": "b"}, "no pod has the labels"),
        ("Service/postgres", "ports.postgres.targetPort", "pg", "no port 'pg'"),
        (FRONTEND, "readinessProbe.httpGet.port", "web", "no port 'web'"),
        (RAY, "ray-head.ports.serve", REMOVED, "named `serve` is missing"),
        (RAY, f"{WORKER}.volumes.tmp", REMOVED, "no volume 'tmp'", "ray-worker.volumeMounts.tmp"),
        (RAY, "ray-worker.volumeMounts.chatbot.subPath", "chatbot.yaml", "never changes in a running pod"),
        (RAY, "ray-worker.volumeMounts.keys.subPath", "frontend", "never changes in a running pod"),
        (RAY, f"{WORKER}.volumes.keys.secret.secretName", "keys", "no required-secrets.yaml lists Secret 'keys'"),
        (FRONTEND, "frontend.volumeMounts.tmp", REMOVED, "no container mounts it", "spec.volumes.tmp"),
        ("StatefulSet/postgres", "volumeClaimTemplates.0.metadata", {}, "no volume 'data'", "volumeMounts.data"),
        (FRONTEND, "containers.frontend.image", "godel-frontend:latest", "not pinned"),
        (FRONTEND, "template.spec.serviceAccountName", "front", "no ServiceAccount 'front'"),
        (FRONTEND, "topologySpreadConstraints.0.labelSelector", REMOVED, "not among those"),
        (RAY, f"{APART}.0.labelSelector.matchLabels", {"app": "x"}, "no such pod to keep away from"),
        (FRONTEND, f"{ENV}.FRONTEND_BACKEND_URL.value", "http://godel-head-svc:8000", "http://godel-serve-svc:8000"),
        (FRONTEND, f"{ENV}.FRONTEND_DATABASE_URL.value", "postgresql+psycopg://postgres:http/x", "is no address"),
        (FRONTEND, f"{ENV}.FRONTEND_DATABASE_URL.value", "postgresql+psycopg://sql/x", "no Service 'sql'"),
        (RAY, "gcsFaultToleranceOptions.redisAddress", "redis:6380", "no port 6380"),
    ],
    "local": [(FRONTEND, "volumes.data.persistentVolumeClaim.claimName", "data", "no PersistentVolumeClaim 'data'")],
    "monitoring": [(MONITOR, "podMetricsEndpoints.0.port", "metric", "no port 'metric'")],
    "upgrade": [
        (FRONTEND, f"{ENV}.FRONTEND_BACKEND_URL.value", "http://godel-serve-svc:8000", "http://godel-gateway-istio:80"),
    ],
}

CONTENTS: Mistakes = {
    "production": [
        (RAY, "http_options.port", 8001, "run `make manifests`", "serveConfigV2"),
        (RAY, "GodelModel.ray_actor_options.num_cpus", 8, "a worker offers 4 CPUs"),
        (RAY, "GodelModel.ray_actor_options.num_gpus", 1, "a worker offers 0 GPUs"),
        (RAY, "GodelModel.autoscaling_config.max_replicas", 7, "have room for 6"),
        (RAY, "GodelModel.max_replicas_per_node", 0, "have room for 0", "autoscaling_config.max_replicas"),
        (RAY, "Ingress.ray_actor_options.num_cpus", 0, "may run on the head"),
        (RAY, "Ingress.num_replicas", 7, "7 replicas, but the workers that may come"),
        (RAY, "Ingress.num_replicas", "auto", "up to 100 replicas"),
        (RAY, "args.chat_config", "/etc/godel/chatbot.yml", "no key 'chatbot.yml'"),
        (RAY, "args.chat_config", "/etc/chat/chatbot.yaml", "no ConfigMap is mounted", "ray-worker.volumeMounts"),
        (RAY, "args.keys", "/etc/godel", "no Secret is mounted at /etc/godel,", "ray-worker.volumeMounts"),
        (FRONTEND, f"{ENV}.FRONTEND_BACKEND_KEY", REMOVED, "the backend asks for a key"),
        (FRONTEND, f"{ENV}.FRONTEND_BACKEND_KEY", {"name": "FRONTEND_BACKEND_KEY", "value": "sk"}, "be from a Secret"),
        ("ConfigMap/chatbot", "data/chatbot.yaml", "x" * (1024**2 + 1), "1,048,577 bytes"),
        (FRONTEND, f"{ENV}.FRONTEND_PORT.value", "http", "valid integer"),
        (FRONTEND, f"{ENV}.FRONTEND_PORT.name", "FRONTEND_PRT", "is not a setting", "env.FRONTEND_PRT"),
        (FRONTEND, "template.spec.enableServiceLinks", True, "must be false"),
    ],
    "local": [
        (FRONTEND, f"{ENV}.FRONTEND_DATABASE_URL.value", "sqlite:////var/x", "no volume is mounted at /var; there is"),
        (FRONTEND, "spec.replicas", 2, "a SQLite file has one user"),
        (RAY, "args.model", "models/mimi", "no folder models/mimi; there is models/mini"),
    ],
}

READ_TIMEOUT = {"name": "FRONTEND_READ_TIMEOUT_SECONDS", "value": "60"}
DRAIN = "ray-worker.env.RAY_GRACEFUL_SHUTDOWN_DRAIN_TIMEOUT_S"
TIMEOUTS: Mistakes = {
    "production": [
        (RAY, f"{DRAIN}.value", "long", "'long' is no number"),
        (RAY, DRAIN, REMOVED, "30 s is not more than the longest reply"),
        (RAY, "args.request_timeout_s", 80, "85 s is not more than the longest reply", f"{DRAIN}.value"),
        (RAY, f"{WORKER}.terminationGracePeriodSeconds", 75, "75 s is less than 95 s"),
        (RAY, "ray-worker.lifecycle", {"preStop": {}}, "would end replies under way"),
        (RAY, "spec.rayClusterDeletionDelaySeconds", 60, "60 s is less than 300 s"),
        (RAY, "http_options.keep_alive_timeout_s", 400, "less than 400 s", "rayClusterDeletionDelaySeconds"),
        (RAY, "ray-head.livenessProbe", REMOVED, "puts in its own"),
        (RAY, "ray-head.livenessProbe.timeoutSeconds", 60, "more than periodSeconds"),
        (FRONTEND, "template.spec.terminationGracePeriodSeconds", 30, "30 s is less than 85 s"),
        (FRONTEND, f"{ENV}.FRONTEND_SHUTDOWN_GRACE_SECONDS.value", "30", "not more than the longest reply"),
        (FRONTEND, f"{ENV}.FRONTEND_PORT", READ_TIMEOUT, "request_timeout_s, 60 s", f"{READ_TIMEOUT['name']}.value"),
    ],
}

SECURITY: Mistakes = {
    "production": [
        ("Namespace/godel", "metadata.labels", {}, "must be restricted"),
        (RAY, "authOptions.mode", REMOVED, "must be token"),
        (RAY, "autoscalerOptions.securityContext", REMOVED, "must be ['ALL'], not None"),
        (RAY, "gcsFaultToleranceOptions.redisPassword", {"value": "secret"}, "must be from a Secret"),
        (RAY, f"{WORKER}.securityContext.runAsNonRoot", False, "must be True, not False"),
        (RAY, f"{WORKER}.securityContext.runAsUser", 0, "other than root"),
        (RAY, f"{WORKER}.automountServiceAccountToken", True, "no business with the API server"),
        (RAY, f"{HEAD}.securityContext.seccompProfile", REMOVED, "must be RuntimeDefault"),
        (RAY, "ray-head.securityContext.capabilities", REMOVED, "must be ['ALL'], not None"),
        (FRONTEND, "containers.frontend.securityContext.readOnlyRootFilesystem", False, "must be True"),
        ("StatefulSet/redis", "containers.redis.resources.limits", {}, "is missing"),
        (RAY, "ray-worker.resources.limits.memory", "8Gi", "must equal the request"),
        (RAY, "ray-worker.env.POD_NAME", REMOVED, "must be metadata.name"),
    ],
}

MONITORING: Mistakes = {
    "monitoring": [
        (RULE, "godel.rules.0.expr", "max(ray_godel_config_error > 0", "is not PromQL"),
        (RULE, "godel.rules.0.expr", "sum(ray_godel_wait) > 8", "has a metric 'ray_godel_wait'"),
        (
            RULE,
            "godel.rules.0.expr",
            'ray_serve_deployment_replica_healthy{deployment="Godel"}',
            "no deployment 'Godel'",
        ),
        (DASHBOARD, "data/godel.json/panels/0/targets/0/expr", "sum(ray_serve_requests)", "'ray_serve_requests'"),
        (DASHBOARD, "data/godel.json/panels/0/targets", [{}], "without a question"),
        (DASHBOARD, "data/godel.json", "{", "is not JSON"),
    ],
}

CHECKS: dict[ModuleType, Mistakes] = {
    schemas: SCHEMAS,
    serve_schema: SERVE,
    operator_rules: OPERATOR,
    references: REFERENCES,
    contents: CONTENTS,
    timeouts: TIMEOUTS,
    security: SECURITY,
    monitoring: MONITORING,
}
EVERY = [
    pytest.param(check, name, mistake, id=f"{check.__name__.rpartition('.')[2]}-{mistake[1]}")
    for check, mistakes in CHECKS.items()
    for name, found in mistakes.items()
    for mistake in found
]


@pytest.mark.parametrize(("check", "name", "mistake"), EVERY)
def test_a_mistake_is_reported_with_its_place(
    overlay: Overlay, request: pytest.FixtureRequest, check: ModuleType, name: str, mistake: Mistake
) -> None:
    if check is schemas:
        request.getfixturevalue("crd")
    where, path, value, words, *elsewhere = mistake
    rendering, where, place = broken(overlay(name), where, path, value)
    reported = [each for each in check.check(rendering) if each.where == where and words in each.message]
    if elsewhere:
        end = tuple(elsewhere[0].split("."))
        assert any(each.field[-len(end) :] == end for each in reported), reported
    else:  # the place itself, what it is in, or what is in it
        assert any(each.field[: len(place)] == place[: len(each.field)] for each in reported), reported


def test_what_the_other_checks_would_fail_on_is_reported_alone(overlay: Overlay, crd: None) -> None:
    rendering, *_ = broken(overlay("base"), RAY, "headGroupSpec.template.spec", REMOVED)
    place = "spec.rayClusterConfig.headGroupSpec.template.spec.containers"
    assert problems(rendering) == [f"kuberay/base/rayservice.yaml: {place}: is missing [RayService/godel, base]"]


def test_without_a_ray_service(overlay: Overlay, crd: None) -> None:
    rendering = overlay("base")
    objects = [obj for obj in rendering.objects if obj["kind"] != "RayService"]
    (sentence,) = problems(Rendering(rendering.root, rendering.folder, objects))
    assert sentence.startswith("kuberay/base/kustomization.yaml: resources: there must be one RayService, not 0")


REDIS_CLIENTS = "from.0.podSelector.matchExpressions"
NODE_TYPE = "ray.io/node-type"
NO_HEAD = {"key": NODE_TYPE, "operator": "NotIn", "values": ["head"]}
# The same, and why it is sound.
SOUND: Mistakes = {
    "base": [
        (RAY, "model.minReplicas", REMOVED, "required, but the CRD has a default"),
    ],
    "local": [
        (RAY, "ray-head.ports.gcs-server.name", REMOVED, "a port needs no name"),
    ],
    "production": [
        (RAY, "gcsFaultToleranceOptions.redisAddress", "redis.example.org:6379", "outside of the namespace"),
        ("NetworkPolicy/frontend", "ingress.0.ports", [{"port": 8080}], "of TCP, where nothing is said"),
        ("NetworkPolicy/frontend", "ingress.0.ports", [{"port": "http"}], "by the name that the pod gives it"),
        ("NetworkPolicy/frontend", "ingress.0.ports", [{"port": 8000, "endPort": 8090}], "a range"),
        ("NetworkPolicy/redis", "ingress.0.ports", [{"protocol": "TCP"}], "any port"),
        ("NetworkPolicy/redis", "spec.policyTypes", REMOVED, "as the rules are"),
        ("NetworkPolicy/redis-clients", "spec.policyTypes", REMOVED, "as the rules are"),
        ("NetworkPolicy/redis", REDIS_CLIENTS, [{"key": NODE_TYPE, "operator": "Exists"}], "any of Ray's"),
        ("NetworkPolicy/redis", REDIS_CLIENTS, [{"key": "frontend", "operator": "DoesNotExist"}], "none of others"),
    ],
}


@pytest.mark.parametrize(("name", "other"), [(name, other) for name, others in SOUND.items() for other in others])
def test_what_is_sound_is_let_be(overlay: Overlay, crd: None, name: str, other: Mistake) -> None:
    where, path, value, why = other[:4]
    assert problems(broken(overlay(name), where, path, value).rendering) == [], why


@pytest.mark.parametrize(
    ("image", "pinned"),
    [
        ("redis:7.4.11-alpine", True),
        ("redis:7.4-alpine", False),
        ("postgres:17.11-alpine3.22", True),
        ("postgres:17-alpine", False),
        ("host:5000/team/godel-backend:0.1.0-cuda", True),
        ("host:5000/team/godel-backend", False),
        ("redis:7.4.11-alpine@sha256:" + "0" * 64, True),
        ("redis@sha256:123", False),
        ("redis:latest", False),
        ("", False),
    ],
)
def test_which_images_are_pinned(image: str, pinned: bool) -> None:
    assert references.is_pinned(image) is pinned


@pytest.mark.parametrize(
    ("name", "policy", "path", "value", "words"),
    [
        # Without its rules, what each policy is for cannot be reached.
        ("production", "frontend", "spec.egress", [], "the frontend cannot reach the worker on port 8000"),
        ("production", "dns", "spec.egress", [], "the worker cannot reach the cluster's DNS on port 53"),
        ("production", "ray", "spec.ingress", [], "the head cannot reach the worker on port 12345"),
        ("production", "ray-operator", "spec.ingress", [], "the operator cannot reach the head on port 8265"),
        ("production", "ray-metrics", "spec.ingress", [], "Prometheus cannot reach the worker on port 8080"),
        ("production", "autoscaler", "spec.egress", [], "the head cannot reach the API server on port 6443"),
        ("production", "postgres", "spec.ingress", [], "the frontend cannot reach the postgres on port 5432"),
        ("production", "redis", "spec.ingress", [], "the head cannot reach the redis on port 6379"),
        ("production", "redis-clients", "spec.egress", [], "the head cannot reach the redis on port 6379"),
        ("upgrade", "gateway", "spec.ingress", [], "the frontend cannot reach the Gateway on port 80"),
        ("upgrade", "ray-gateway", "spec.ingress", [], "the Gateway cannot reach the worker on port 8000"),
        ("upgrade", "frontend-gateway", "spec.egress", [], "the frontend cannot reach the Gateway on port 80"),
        # With wider ones, something is reached that must not be.
        ("production", "default-deny", "podSelector.matchLabels", {"a": "b"}, "must not reach another pod"),
        ("production", "ray", "spec.ingress", [{}], "a pod of another namespace must not reach the head on port 8265"),
        ("production", "ray", "spec.egress", [{}], "the worker must not reach the internet on port 443"),
        ("production", "postgres", "spec.ingress", [{}], "another namespace must not reach the postgres on port 5432"),
        ("production", "redis", "spec.ingress", [{}], "another namespace must not reach the redis on port 6379"),
        ("production", "frontend", "spec.egress", [{}], "the frontend must not reach the internet on port 443"),
        # Ports and labels are read as Kubernetes reads them.
        ("production", "frontend", "ingress.0.ports", [{"port": "web"}], "people cannot reach the frontend"),
        ("production", "frontend", "ingress.0.ports", [{"port": 80, "endPort": 8000}], "people cannot reach"),
        ("production", "dns", "egress.0.ports", [{"port": 53}], "the head cannot reach the cluster's DNS on port 53"),
        ("production", "redis", REDIS_CLIENTS, [NO_HEAD], "the head cannot reach the redis on port 6379"),
    ],
)
def test_network(overlay: Overlay, name: str, policy: str, path: str, value: Any, words: str) -> None:
    rendering, *_ = broken(overlay(name), f"NetworkPolicy/{policy}", path, value)
    reported = [problem.message for problem in network.check(rendering)]
    assert any(words in each for each in reported), reported
