"""What is told of a policy on a trace, of a service whose replicas come and go as the test says."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web
from ray.serve.config import AutoscalingConfig
from ray.serve.schema import DeploymentSchema

from bench import policies, routers
from bench.policies import Measured, begins_s, enough, measure, options, plot, simulated, table
from capacity.policies import OURS, POLICIES, SERVE
from capacity.service_times import load
from capacity.traces import burst, steady
from serve_app.load import Outcome

TRACE = burst(1, 20, 50)
GOOD = Outcome(at_s=1.0, ended_s=2.0, ending="good", first_piece_s=0.2, tokens=24)
RESULT = Measured(
    SERVE,
    [GOOD, Outcome(2.0, 2.1, "refused", problem="status 429"), Outcome(3.0, 4.0, "failed", first_piece_s=0.6)],
    [(0.0, 1, 1), (9.5, 1, 2), (14.0, 2, 2), (31.0, 1, 1), (50.0, 1, 1)],
)


def test_the_table_says_when_there_were_enough_replicas_and_what_became_of_requests() -> None:
    assert begins_s(TRACE) == [10.0, 30.0]
    assert enough(TRACE.peak, load()) == 2
    *_, row = table([RESULT], TRACE, load())
    assert row == f"| {SERVE} | 4 s and never | 3 | 1 | 1 | 0.20 s | 0.60 s | 67 |"


def test_the_plot_is_drawn(tmp_path: Path) -> None:
    plot([RESULT], [simulated(SERVE, TRACE, load())], TRACE, tmp_path / "plot.png")
    assert (tmp_path / "plot.png").stat().st_size > 1000


@pytest.mark.parametrize("policy", POLICIES)
def test_serve_takes_a_policys_options(policy: str) -> None:
    scaling = AutoscalingConfig.model_validate(options(policy))
    assert (scaling.max_replicas, scaling.downscale_delay_s) == (policies.MOST, 10)
    assert (scaling.policy.policy_function == "serve_app.autoscaling:by_capacity") == (policy == OURS)


@pytest.mark.parametrize("router", routers.ROUTERS)
def test_serve_takes_a_routers_options(router: str) -> None:
    DeploymentSchema.model_validate({"name": "GodelModel"} | routers.ROUTERS[router])


async def test_replicas_are_counted_while_the_trace_is_on_the_service(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(policies, "_LOOK_S", 0.02)
    async with service() as url:
        measured = await asyncio.wait_for(measure(url, OURS, steady(20, 0.5)), 20)
    assert len(measured.outcomes) >= 3
    assert (measured.refused, measured.cut) == (0, 0)
    assert len(measured.replicas) >= 5
    assert {(ready, wanted) for _, ready, wanted in measured.replicas} == {(1, 3)}


@asynccontextmanager
async def service() -> AsyncIterator[str]:
    async def chat(request: web.Request) -> web.Response:
        generation = (await request.json())["generation"]
        return web.json_response({"usage": {"completion_tokens": generation["max_length"]}, "replica_id": "r"})

    async def replicas(_: web.Request) -> web.Response:
        there: list[dict[str, Any]] = [{"state": state} for state in ("RUNNING", "STARTING", "DRAINING")]
        return web.json_response({"replicas": there, "target_replicas": 3})

    application = web.Application()
    application.add_routes([web.post("/chat", chat), web.get("/replicas", replicas)])
    runner = web.AppRunner(application)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    host, port = runner.addresses[0][:2]
    try:
        yield f"http://{host}:{port}"
    finally:
        await runner.cleanup()
