"""Ray, in the pinned version, takes the commands that the operator writes for the overlays' pods."""

import shlex
from collections.abc import Callable
from typing import Any

import pytest
from ray.scripts.scripts import start

from manifest_checks.objects import pods, ray_service
from manifest_checks.render import Rendering
from tests.manifests import kuberay_pods


def parsed(rendering: Rendering, role: str) -> dict[str, Any]:
    """The parameters of `ray start` for a head or a worker. Raises click.UsageError for one that Ray does not know."""
    pod = next(pod for pod in pods([ray_service(rendering.objects)]) if pod.role == role)
    _, _, flags = kuberay_pods.command(pod)[-1].partition("ray start ")
    context = start.make_context("ray start", shlex.split(flags))
    return dict(context.params)


@pytest.mark.parametrize("name", ["base", "local", "production", "gpu", "monitoring", "upgrade"])
def test_heads_and_workers(overlay: Callable[[str], Rendering], name: str) -> None:
    head, worker = parsed(overlay(name), "head"), parsed(overlay(name), "worker")
    assert (head["head"], head["num_cpus"], head["block"]) == (True, 0, True)
    assert (worker["head"], worker["address"]) == (False, "godel-head-svc.godel.svc.cluster.local:6379")
    assert worker["num_cpus"] > 0 and float(worker["memory"]) > 0


def test_a_gpu_of_a_worker_is_known_to_ray(overlay: Callable[[str], Rendering]) -> None:
    gpus = {role: parsed(overlay("gpu"), role)["num_gpus"] for role in ("head", "worker")}
    assert gpus == {"head": None, "worker": 1}


def test_only_a_head_with_redis_shows_it_the_password(overlay: Callable[[str], Rendering]) -> None:
    given = {name: parsed(overlay(name), "head")["redis_password"] for name in ("local", "production")}
    assert given == {"local": "", "production": "$REDIS_PASSWORD"}, "bash puts the Secret's value in"
