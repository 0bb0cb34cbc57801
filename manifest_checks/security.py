"""What every pod has to be: the restricted Pod Security Standard, and limits on what it may use."""

from collections.abc import Iterator

from manifest_checks.objects import Field, Object, Pod, Problem, at, identity, pods, ray_service
from manifest_checks.render import Rendering

_POD: dict[Field, object] = {
    ("securityContext", "runAsNonRoot"): True,
    ("securityContext", "seccompProfile", "type"): "RuntimeDefault",
    ("enableServiceLinks",): False,
}
_RESTRICTED: dict[Field, object] = {
    ("securityContext", "allowPrivilegeEscalation"): False,
    ("securityContext", "capabilities", "drop"): ["ALL"],
}
_CONTAINER = _RESTRICTED | {("securityContext", "readOnlyRootFilesystem"): True}
_ENFORCED = "pod-security.kubernetes.io/enforce"
_RESOURCES = (
    ("requests", "cpu"),
    ("requests", "memory"),
    ("requests", "ephemeral-storage"),
    ("limits", "memory"),
    ("limits", "ephemeral-storage"),
)
_IDENTITY = {"POD_NAME": "metadata.name", "NODE_NAME": "spec.nodeName"}


def check(rendering: Rendering) -> Iterator[Problem]:
    yield from _ray(ray_service(rendering.objects))
    yield from _namespaces(rendering.objects)
    for pod in pods(rendering.objects):
        yield from _expect(pod, pod.spec, pod.field, _POD)
        # The head's autoscaler is the one that talks to the API server.
        if pod.role != "head" and pod.spec.get("automountServiceAccountToken") is not False:
            field = (*pod.field, "automountServiceAccountToken")
            yield Problem(pod.where, field, "must be false: the pod has no business with the API server")
        if at(pod.spec, "securityContext", "runAsUser", default=0) == 0:
            yield Problem(pod.where, (*pod.field, "securityContext", "runAsUser"), "must name a user other than root")
        for container in pod.containers:
            yield from _expect(pod, container, pod.place(container), _CONTAINER)
            yield from _resources(pod, container)
        if pod.group is not None:
            yield from _identity(pod)


def _ray(service: Object) -> Iterator[Problem]:
    """Who may use the cluster."""
    cluster = ("spec", "rayClusterConfig")
    if at(service, *cluster, "authOptions", "mode") != "token":
        field: Field = (*cluster, "authOptions", "mode")
        yield Problem(identity(service), field, "must be token: Ray runs any code that it is sent")
    if at(service, *cluster, "enableInTreeAutoscaling"):
        for place, wanted in _RESTRICTED.items():  # the namespace would refuse the head with it
            field = (*cluster, "autoscalerOptions", *place)
            if (found := at(service, *field)) != wanted:
                yield Problem(identity(service), field, f"must be {wanted}, not {found}")
    redis = at(service, *cluster, "gcsFaultToleranceOptions")
    if redis is not None and not at(redis, "redisPassword", "valueFrom", "secretKeyRef"):
        field = (*cluster, "gcsFaultToleranceOptions", "redisPassword")
        yield Problem(identity(service), field, "must be from a Secret: who writes to Redis is who runs the cluster")


def _namespaces(objects: list[Object]) -> Iterator[Problem]:
    """The API server holds every pod to the standard, those of other manifests too."""
    for obj in objects:
        if obj["kind"] == "Namespace" and at(obj, "metadata", "labels", _ENFORCED) != "restricted":
            yield Problem(identity(obj), ("metadata", "labels", _ENFORCED), "must be restricted")


def _expect(pod: Pod, spec: Object, field: Field, values: dict[Field, object]) -> Iterator[Problem]:
    for place, wanted in values.items():
        if (found := at(spec, *place)) != wanted:
            yield Problem(pod.where, (*field, *place), f"must be {wanted}, not {found}")


def _resources(pod: Pod, container: Object) -> Iterator[Problem]:
    for place in _RESOURCES:
        if at(container, "resources", *place) is None:
            yield Problem(pod.where, pod.place(container, "resources", *place), "is missing")
    memory = [at(container, "resources", kind, "memory") for kind in ("requests", "limits")]
    if pod.group is not None and memory[0] != memory[1]:
        field = pod.place(container, "resources", "limits", "memory")
        yield Problem(pod.where, field, "must equal the request: Ray is given the limit and counts on it")


def _identity(pod: Pod) -> Iterator[Problem]:
    """The operator sets neither; replies say both."""
    variables = {each["name"]: each for each in pod.containers[0].get("env", [])}
    for name, path in _IDENTITY.items():
        if at(variables.get(name), "valueFrom", "fieldRef", "fieldPath") != path:
            yield Problem(pod.where, pod.place(pod.containers[0], "env", name), f"must be {path}, by fieldRef")
