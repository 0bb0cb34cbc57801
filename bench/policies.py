"""Two autoscaling policies on one burst, on a real Ray: `python -m bench.policies`, some ten minutes.

The service is deployed anew under each policy, with up to four replicas that take modelled times (bench/modelled.py),
and the same requests arrive. Meanwhile GET /replicas is asked how many there are. Table and plot go to docs/scaling.md;
dashed in the plot is what the simulation of capacity/ makes of the same requests.
"""

import argparse
import asyncio
import logging
import math
import os
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiohttp
from matplotlib.figure import Figure
from ray.serve.config import AutoscalingConfig

from bench.engine import environment
from bench.load import of_trace
from bench.modelled import make_tiny, modelled
from bench.services import chat_body, running
from capacity.__main__ import PAGE, PICTURES, fill
from capacity.policies import OURS, POLICIES, SERVE
from capacity.service_times import ServiceTimes, load
from capacity.simulation import Run, Simulation
from capacity.traces import PROMPT, REPLY, Trace, burst
from launcher import haproxy
from serve_app.load import Load, Outcome
from serve_app.load_report import quantile
from serve_app.settings import AppArgs

MOST = 4  # replicas
LOW, HIGH = 3.0, 30.0  # requests/s
SECONDS = 200.0
_CHANGED = {"max_replicas": MOST, "downscale_delay_s": 10.0}  # so soon that replicas go within the trace
_LOOK_S = 0.5
_WINDOW_S = 5.0  # of the plot
_ARGS = AppArgs(model="modelled")
log = logging.getLogger("bench")


@dataclass(frozen=True)
class Measured:
    """A policy on the trace."""

    policy: str
    outcomes: list[Outcome]
    replicas: list[tuple[float, int, int]]  # (seconds, ready, wanted)

    @property
    def refused(self) -> int:
        return sum(outcome.ending == "refused" for outcome in self.outcomes)

    @property
    def cut(self) -> int:
        """Replies that were let in, and not written to their end."""
        return sum(outcome.ending == "failed" for outcome in self.outcomes)

    @property
    def first_tokens_s(self) -> list[float]:
        return [each.first_piece_s for each in self.outcomes if each.first_piece_s is not None]

    @property
    def replica_seconds(self) -> float:
        pairs = zip(self.replicas, self.replicas[1:], strict=False)
        return sum((later - at_s) * ready for (at_s, ready, _), (later, _, _) in pairs)

    def ready_after_s(self, began_s: float, enough: int) -> float | None:
        """From `began_s` until there are enough replicas; None: there never were."""
        return next((at_s - began_s for at_s, ready, _ in self.replicas if at_s >= began_s and ready >= enough), None)


def enough(rate: float, times: ServiceTimes) -> int:
    """Replicas whose slots are all taken that write as much as `rate` requests/s ask for."""
    slots = _ARGS.slots
    a_request_s = times.encode([PROMPT.mean]) + REPLY.mean * times.step(slots) / slots
    return math.ceil(rate * a_request_s)


async def measure(url: str, policy: str, trace: Trace) -> Measured:
    """Put the trace on the service."""
    requests = of_trace(trace)
    load = Load(url, [chat_body(each) for each in requests], trace.seconds, arrivals=[each.at_s for each in requests])
    replicas: list[tuple[float, int, int]] = []
    async with aiohttp.ClientSession(url) as session:
        running = asyncio.create_task(load.run())
        while not running.done():
            async with session.get("/replicas") as response:
                there = await response.json()
            ready = sum(replica["state"] in ("RUNNING", "LATE") for replica in there["replicas"])
            replicas.append((load.elapsed_s, ready, there["target_replicas"]))
            await asyncio.wait([running], timeout=_LOOK_S)
        await running
    return Measured(policy, load.outcomes, replicas)


def measure_all(policies: Sequence[str], trace: Trace) -> Iterator[Measured]:
    """Each policy on a service of its own."""
    room = haproxy.Limits(slots=MOST * _ARGS.slots)
    with tempfile.TemporaryDirectory() as folder:
        make_tiny(Path(folder))
        for policy in policies:
            with running(policy, modelled({"autoscaling_config": options(policy)}), Path(folder), room) as url:
                yield asyncio.run(measure(url, policy, trace))


def options(policy: str) -> dict[str, Any]:
    """Of a policy, as a Serve config has them."""
    return _config(policy).model_dump(mode="json", exclude_unset=True)


def _config(policy: str) -> AutoscalingConfig:
    return POLICIES[policy].model_copy(update=_CHANGED)


def simulated(policy: str, trace: Trace, times: ServiceTimes) -> Run:
    """The same requests in the simulation."""
    return Simulation(_ARGS, times, autoscaling=_config(policy)).run(trace.arrivals())


def table(results: Sequence[Measured], trace: Trace, times: ServiceTimes) -> Iterator[str]:
    """As Markdown."""
    needed = enough(trace.peak, times)
    yield (
        f"| policy | {needed} replicas ready after | requests | refused | replies cut | first token p50 | p95 "
        "| replica-seconds |"
    )
    yield "|---|---|---|---|---|---|---|---|"
    for result in results:
        after = [result.ready_after_s(began_s, needed) for began_s in begins_s(trace)]
        told = " and ".join("never" if each is None else f"{each:.0f} s" for each in after)
        p50, p95 = (quantile(result.first_tokens_s, share) or math.nan for share in (0.5, 0.95))
        yield (
            f"| {result.policy} | {told} | {len(result.outcomes)} | {result.refused} | {result.cut} "
            f"| {p50:.2f} s | {p95:.2f} s | {result.replica_seconds:.0f} |"
        )


def told_environment() -> Iterator[str]:
    """The machine and the versions, as a line."""
    here = environment()
    machine, versions = here["machine"], here["versions"]
    yield f"{machine['cores']} cores of {machine['processor']}, Ray {versions['ray']}, Python {versions['python']}."


def begins_s(trace: Trace) -> list[float]:
    """When the rate rises to its peak."""
    seconds = range(1, int(trace.seconds))
    return [float(at_s) for at_s in seconds if trace.rate(at_s - 1) < trace.rate(at_s) == trace.peak]


def plot(results: Sequence[Measured], runs: Sequence[Run], trace: Trace, target: Path) -> None:
    """Replicas over time, with the rate behind them; below it how long first tokens took."""
    figure = Figure(figsize=(10, 6), layout="constrained")
    above, below = figure.subplots(2, 1, sharex=True)
    seconds = range(int(trace.seconds))
    rates = above.twinx()
    rates.fill_between(seconds, [trace.rate(second) for second in seconds], color="0.9", step="post")
    rates.set(ylabel="requests/s", ylim=(0, trace.peak * 1.1))
    above.set_zorder(rates.get_zorder() + 1)
    above.patch.set_visible(False)
    for number, (result, run) in enumerate(zip(results, runs, strict=True)):
        color = f"C{number}"
        at_s, ready, _ = zip(*result.replicas, strict=True)
        above.step(at_s, ready, where="post", color=color, label=result.policy)
        expected = [(second, there) for second, there, _ in run.replicas if second <= trace.seconds]
        above.step(*zip(*expected, strict=True), where="post", color=color, linestyle="dashed", linewidth=1)
        below.plot(*zip(*_first_tokens(result), strict=True), color=color, label=result.policy)
    above.set(ylabel="replicas ready", ylim=(0, MOST + 0.5))
    above.set_title("solid: measured; dashed: simulated", loc="left", fontsize=10)
    above.legend(fontsize=8, loc="upper left")
    below.set(xlabel="seconds", ylabel=f"first token, p95 of {_WINDOW_S:.0f} s; seconds", ylim=(0, None))
    below.grid(alpha=0.3)
    figure.savefig(target, dpi=80)


def _first_tokens(result: Measured) -> Iterator[tuple[float, float]]:
    """Their p95 in each window of the trace, by when the requests came."""
    windows: dict[int, list[float]] = {}
    for outcome in result.outcomes:
        if outcome.first_piece_s is not None:
            windows.setdefault(int(outcome.at_s / _WINDOW_S), []).append(outcome.first_piece_s)
    for window, values in sorted(windows.items()):
        yield (window + 0.5) * _WINDOW_S, quantile(values, 0.95) or 0.0


def main() -> None:
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--policies", nargs="+", choices=POLICIES, default=[SERVE, OURS])
    parser.add_argument("--seconds", type=float, default=SECONDS, help="of the trace")
    arguments = parser.parse_args()
    trace, times = burst(LOW, HIGH, arguments.seconds), load()
    busy = f"{trace.seconds:.0f} s of requests; the machine's load average before was {os.getloadavg()[0]:.0f}."
    results = list(measure_all(arguments.policies, trace))
    lines = [*table(results, trace, times), "", *told_environment(), busy]
    log.info("\n%s", "\n".join(lines))
    plot(results, [simulated(result.policy, trace, times) for result in results], trace, PICTURES / "policies.png")
    PAGE.write_text(fill(PAGE.read_text(encoding="utf-8"), "measured policies", lines), encoding="utf-8")


if __name__ == "__main__":
    main()
