"""The serving graph without its model: an ingress's own pool over replicas that only wait as long as an engine takes.

Without torch and tokenizer a hundred replicas fit into 24 GiB, and the time they take is Serve's and the pool's.
"""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

from ray import serve
from ray.serve import Application
from ray.serve.handle import DeploymentHandle
from starlette.requests import Request

from capacity.service_times import load
from serve_app.messages import GenerateRequest, ReplicaStatus, Sampling, TokenChunk
from serve_app.model_pool import ModelPool
from serve_app.replica import here

APP = "nodes"
SLOTS = 16
PROMPT, REPLY = 200, 24  # tokens
_STALL_S = 10.0
_TIMEOUT_S = 60.0


class StubModel:
    """Writes as many tokens as are asked for, in the time that the measured engine takes."""

    def __init__(self) -> None:
        self._times = load()
        self._slots = asyncio.Semaphore(SLOTS)
        self._active = self._waiting = 0
        self._origin = here()

    async def generate(self, request: GenerateRequest) -> AsyncIterator[TokenChunk]:
        """One chunk: a reply that nobody reads along."""
        self._waiting += 1
        async with self._slots:
            self._waiting -= 1
            self._active += 1
            tokens = request.sampling.max_length
            await asyncio.sleep(self._times.encode([len(request.prompt_ids)]) + tokens * self._times.step(self._active))
            self._active -= 1
            yield TokenChunk([1] * tokens, self._origin, "length")

    async def status(self) -> ReplicaStatus:
        return ReplicaStatus(self._origin, SLOTS, self._active, self._waiting, tokens_per_second=0)

    def record_autoscaling_stats(self) -> dict[str, float]:
        return {"slots": SLOTS, "active": self._active, "waiting": self._waiting, "tokens_per_second": 0}


class StubIngress:
    """Answers every request with a reply of the pool. `user_config` says whether the pool watches its replicas."""

    def __init__(self, model: DeploymentHandle[Any]) -> None:
        self._pool = ModelPool(model, _STALL_S)
        self._watcher: asyncio.Task[None] | None = None

    async def reconfigure(self, config: dict[str, bool]) -> None:
        """Called by Serve at first, and when the configuration changes."""
        if self._watcher:
            self._watcher.cancel()
        self._watcher = asyncio.create_task(self._pool.watch()) if config["watches"] else None

    async def __call__(self, request: Request) -> dict[str, int]:
        if request.url.path.endswith("/ready"):
            return {"ready": len(self._pool.ready)}
        asked = GenerateRequest("r", [1] * PROMPT, Sampling(max_length=REPLY), budget_s=_TIMEOUT_S, streamed=False)
        return {"tokens": sum([len(chunk.token_ids) async for chunk in self._pool.write(asked)])}


def build(replicas: int, ingresses: int, *, watches: bool) -> Application:
    """So many of each, with the other settings of serve_config.yaml."""
    model = serve.deployment(
        num_replicas=None,
        autoscaling_config={
            "min_replicas": replicas,
            "max_replicas": replicas,
            "policy": {"policy_function": "serve_app.autoscaling:by_capacity"},
            "look_back_period_s": 5,
            "metrics_interval_s": 1,
        },
        max_ongoing_requests=SLOTS + 64,
        ray_actor_options={"num_cpus": 1},
        request_router_config={"request_router_class": "serve_app.routing.AroundStalled"},
        health_check_period_s=2,
        health_check_timeout_s=30,
    )(StubModel)
    ingress = serve.deployment(
        num_replicas=ingresses,
        max_ongoing_requests=1000,
        ray_actor_options={"num_cpus": 0},
        user_config={"watches": watches},
        health_check_period_s=2,
        health_check_timeout_s=30,
    )(StubIngress)
    return ingress.bind(model.bind())
