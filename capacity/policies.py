"""Two autoscaling policies on the same traces: Serve's own, which counts requests, and `serve_app.autoscaling`'s."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ray.serve.config import AutoscalingConfig

from capacity.service_times import ServiceTimes
from capacity.simulation import Run, Simulation
from capacity.traces import Trace, burst, diurnal, flash_crowd, slow_leak
from serve_app.settings import AppArgs

SERVE = "Serve's own, target 8"
OURS = "slots and tokens/s"
SECONDS = 900.0
TRACES = (
    burst(5, 45, SECONDS),
    flash_crowd(5, 60, SECONDS),
    diurnal(3, 45, SECONDS),
    slow_leak(3, 45, SECONDS),
)
_SHARED: dict[str, Any] = {
    "min_replicas": 1,
    "max_replicas": 8,
    "upscale_delay_s": 1,
    "downscale_delay_s": 60,
    "look_back_period_s": 5,
    "metrics_interval_s": 1,
}
POLICIES = {
    SERVE: AutoscalingConfig.model_validate(_SHARED | {"target_ongoing_requests": 8}),
    "Serve's own, target 3": AutoscalingConfig.model_validate(_SHARED | {"target_ongoing_requests": 3}),
    OURS: AutoscalingConfig.model_validate(
        _SHARED | {"policy": {"policy_function": "serve_app.autoscaling:by_capacity"}}
    ),
}


@dataclass(frozen=True)
class Result:
    trace: str
    policy: str
    run: Run

    @property
    def p95_s(self) -> float:
        return self.run.latency_s(0.95)

    @property
    def changes(self) -> int:
        """How often the number of replicas that are wanted changed."""
        wanted = [target for _, _, target in self.run.replicas]
        return sum(before != after for before, after in zip(wanted, wanted[1:], strict=False))


def compare(times: ServiceTimes, traces: tuple[Trace, ...] = TRACES) -> Iterator[Result]:
    """Each policy on each trace."""
    args = AppArgs(model="simulated")
    for trace in traces:
        for name, config in POLICIES.items():
            yield Result(trace.name, name, Simulation(args, times, autoscaling=config).run(trace.arrivals()))


def table(results: list[Result]) -> Iterator[str]:
    """As Markdown."""
    yield "| trace | policy | requests | refused | p95 | replica-hours | changes of the target |"
    yield "|---|---|---|---|---|---|---|"
    for result in results:
        run = result.run
        yield (
            f"| {result.trace} | {result.policy} | {len(run.outcomes)} | {run.refused} | {result.p95_s:.2f} s "
            f"| {run.replica_seconds / 3600:.2f} | {result.changes} |"
        )


def plot(results: list[Result], traces: tuple[Trace, ...], target: Path) -> None:
    """Replicas over time of each policy, a panel a trace, with the rate of requests behind them."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(10, 2.2 * len(traces)), layout="constrained")
    panels = figure.subplots(len(traces), 1, squeeze=False)[:, 0]
    for panel, trace in zip(panels, traces, strict=True):
        seconds = range(0, int(trace.seconds), 5)
        rates = panel.twinx()
        rates.fill_between(seconds, [trace.rate(second) for second in seconds], color="0.9")
        rates.set_ylabel("requests/s")
        rates.set_ylim(0, trace.peak * 1.1)
        panel.set_zorder(rates.get_zorder() + 1)
        panel.patch.set_visible(False)
        for result in results:
            if result.trace == trace.name:
                label = f"{result.policy}: p95 {result.p95_s:.1f} s, {result.run.refused} refused"
                panel.step(*zip(*((at_s, ready) for at_s, ready, _ in result.run.replicas), strict=True), label=label)
        panel.set_title(trace.name, loc="left", fontsize=10)
        panel.set_ylabel("replicas")
        panel.set_ylim(0, None)
        panel.legend(fontsize=8, loc="upper left")
    panels[-1].set_xlabel("seconds")
    figure.savefig(target, dpi=80)
