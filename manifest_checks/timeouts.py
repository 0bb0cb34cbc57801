"""The order of the timeouts: nothing on a reply's way gives up before the reply has had its time."""

from collections.abc import Iterator

from frontend.__main__ import CLOSING_SECONDS
from manifest_checks.contents import frontend_settings
from manifest_checks.objects import Field, Object, Pod, Problem, at, environment, identity, pods, ray_service
from manifest_checks.render import Rendering
from manifest_checks.serve_schema import application, serve_config

DRAIN_VARIABLE = "RAY_GRACEFUL_SHUTDOWN_DRAIN_TIMEOUT_S"
DRAIN_DEFAULT_S = 30  # Ray's
INGRESS_SHUTDOWN_S = 10  # what an ingress gets beyond request_timeout_s, see serve_app/app.py
RAY_SHUTDOWN_S = 10  # Ray's own processes, after the replicas have gone
MIN_DELETION_DELAY_S = 300  # clients notice the new cluster within this time
PROBES = ("startupProbe", "readinessProbe", "livenessProbe")


def check(rendering: Rendering) -> Iterator[Problem]:
    service = ray_service(rendering.objects)
    config = serve_config(service)
    reply = at(application(config), "args", "request_timeout_s", default=60)
    yield from _old_cluster(service, reply, at(config, "http_options", "keep_alive_timeout_s", default=5))
    for pod in pods(rendering.objects):
        yield from _probes(pod)
        if pod.role == "worker":
            yield from _worker(pod, reply)
        for container in pod.containers:
            if "FRONTEND_BACKEND_URL" in environment(container):
                yield from _frontend(pod, container, reply)


def _old_cluster(service: Object, reply: float, keep_alive: float) -> Iterator[Problem]:
    delay = at(service, "spec", "rayClusterDeletionDelaySeconds", default=60)  # the operator's default
    field = ("spec", "rayClusterDeletionDelaySeconds")
    for least, what in (
        (MIN_DELETION_DELAY_S, "what connections need to move to the new cluster"),
        (keep_alive, "Serve's keep_alive_timeout_s: idle connections must end before the old cluster does"),
        (reply, "the longest reply, request_timeout_s"),
    ):
        if delay < least:
            yield Problem(identity(service), field, f"{delay} s is less than {least:g} s, {what}")


def _worker(pod: Pod, reply: float) -> Iterator[Problem]:
    container = pod.containers[0]
    given = at(environment(container), DRAIN_VARIABLE, "value", default=str(DRAIN_DEFAULT_S))
    try:
        drain = float(given)
    except ValueError:
        yield Problem(pod.where, pod.place(container, "env", DRAIN_VARIABLE, "value"), f"{given!r} is no number")
        return
    if drain <= reply + INGRESS_SHUTDOWN_S:
        message = f"{drain:g} s is not more than the longest reply and {INGRESS_SHUTDOWN_S} s"
        yield Problem(pod.where, pod.place(container, "env", DRAIN_VARIABLE, "value"), message)
    if "preStop" in container.get("lifecycle", {}):
        field = pod.place(container, "lifecycle", "preStop")
        yield Problem(pod.where, field, "Ray drains by itself on SIGTERM; `ray stop` would end replies under way")
    yield from _grace(pod, drain + RAY_SHUTDOWN_S, "draining and Ray's own shutdown")


def _grace(pod: Pod, least: float, what: str) -> Iterator[Problem]:
    grace = pod.spec.get("terminationGracePeriodSeconds", 30)
    if grace < least:
        field = (*pod.field, "terminationGracePeriodSeconds")
        yield Problem(pod.where, field, f"{grace} s is less than {least:g} s, {what}")


def _frontend(pod: Pod, container: Object, reply: float) -> Iterator[Problem]:
    given = {
        name.removeprefix("FRONTEND_").lower(): variable["value"]
        for name, variable in environment(container).items()
        if name.startswith("FRONTEND_") and name.endswith("_SECONDS") and "value" in variable
    }
    try:
        settings = frontend_settings(given)
    except ValueError:
        return  # contents.py says what is wrong
    env: Field = pod.place(container, "env")
    if settings.read_timeout_seconds <= reply:
        message = f"{settings.read_timeout_seconds:g} s is not more than the backend's request_timeout_s, {reply:g} s"
        yield Problem(pod.where, (*env, "FRONTEND_READ_TIMEOUT_SECONDS", "value"), message)
    if settings.shutdown_grace_seconds <= reply:
        message = f"{settings.shutdown_grace_seconds:g} s is not more than the longest reply, {reply:g} s"
        yield Problem(pod.where, (*env, "FRONTEND_SHUTDOWN_GRACE_SECONDS", "value"), message)
    before = at(container, "lifecycle", "preStop", "sleep", "seconds", default=0)
    least = before + settings.shutdown_grace_seconds + CLOSING_SECONDS
    yield from _grace(pod, least, "preStop, FRONTEND_SHUTDOWN_GRACE_SECONDS and the last events")


def _probes(pod: Pod) -> Iterator[Problem]:
    for container in pod.containers:
        for name in PROBES:
            probe = container.get(name)
            if probe is None:
                if pod.role in ("head", "worker"):
                    message = "is missing: the operator puts in its own, which flaps when the CPU is busy"
                    yield Problem(pod.where, pod.place(container, name), message)
                continue
            timeout, period = probe.get("timeoutSeconds", 1), probe.get("periodSeconds", 10)
            if timeout > period:
                field = pod.place(container, name, "timeoutSeconds")
                yield Problem(pod.where, field, f"{timeout} s is more than periodSeconds, {period} s")
