"""`python -m bench.served`: this project beside its peers as services, over HTTP, at rising rates until each breaks.

All run a T5 of GODEL-base's shape with random weights (bench/systems.py), one system at a time on all cores, started
fresh and warmed up. An open-loop load (bench/load.py) of Poisson arrivals and lognormal lengths, the same for all
systems at a rate, is put on each for at least a minute a rate, from a start rate upwards by a factor of 1.4 and then
once between the last rate that held and the first that did not. A rate holds where every request is answered and the
95th percentile of latencies is at most 3 s. Peers that do not stream show their first token with the last.

The same closed loops of 16 clients on the service and on its engine alone say what HTTP and Serve cost.
The load's generator shares the cores with what it measures. Everything goes to bench/results/served.json, a table to
the terminal and a plot to bench/results/served.png.
"""

import argparse
import asyncio
import json
import logging
import signal
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import matplotlib.pyplot as plt

from bench.breaking_point import FACTOR, LIMIT_S, Point, best, climb, measured
from bench.engine import RESULTS, environment
from bench.http_overhead import WAYS, Overhead, engine_seconds, served_seconds
from bench.load import Request, arrivals, burst
from bench.services import SYSTEMS, asking, running
from bench.systems import GODEL_BASE, make_checkpoint
from capacity.traces import PROMPT, REPLY

log = logging.getLogger("bench")


@dataclass(frozen=True)
class Row:
    """One system at one rate in one round."""

    system: str
    dtype: str
    round: int
    point: Point

    def as_json(self) -> dict[str, Any]:
        row = {"system": self.system, "dtype": self.dtype, "round": self.round}
        return row | asdict(self.point) | {"holds": self.point.holds}


@dataclass(frozen=True)
class Plan:
    """What to measure, and for how long."""

    systems: list[str]
    rounds: int
    seconds: float  # at least, a rate
    requests: int  # at least, a rate
    refinements: int
    burst: int  # requests of each closed loop; 0: none


class Measurements:
    """Kept up with its file from system to system, so that what is measured survives an early end."""

    def __init__(self, plan: Plan) -> None:
        self.rows: list[Row] = []
        self.overheads: list[Overhead] = []
        self._plan = plan
        self._environment = environment()
        self._environment["versions"] |= {package: version(package) for package in ("flask", "aiohttp")}

    def add(self, found: Row | Overhead) -> None:
        log.info("%s", found)
        if isinstance(found, Row):
            self.rows.append(found)
        else:
            self.overheads.append(found)

    def save(self) -> None:
        load = {"prompt_tokens": asdict(PROMPT), "reply_tokens": asdict(REPLY), "arrivals": "Poisson", "factor": FACTOR}
        result = self._environment | {
            "load": load | asdict(self._plan) | {"latency_p95_limit_s": LIMIT_S},
            "rows": [row.as_json() for row in self.rows],
            "http_overhead": [asdict(overhead) for overhead in self.overheads],
        }
        RESULTS.mkdir(exist_ok=True)
        (RESULTS / "served.json").write_text(json.dumps(result, indent=1))
        plot(self.rows, RESULTS / "served.png")


def make_model(folder: Path, shape: Mapping[str, Any] = GODEL_BASE) -> None:
    """A checkpoint whose replies start with a word: random weights repeat it, and no text would show <pad>."""
    make_checkpoint(folder, shape)
    for path in (folder / "config.json", folder / "generation_config.json"):
        path.write_text(json.dumps(json.loads(path.read_text()) | {"decoder_start_token_id": 3}))


def measure(plan: Plan, model: Path, results: Measurements) -> None:
    for round_ in range(plan.rounds):
        for name in plan.systems:
            bursts = _bursts(plan, round_) if SYSTEMS[name].ours and plan.burst else {}
            alone = engine_seconds(model, SYSTEMS[name].dtype, list(bursts.values())) if bursts else []
            with running(name, SYSTEMS[name], model) as url:
                for (way, requests), engine_s in zip(bursts.items(), alone, strict=True):
                    served_s = asyncio.run(served_seconds(url, way, requests))
                    results.add(Overhead.of(name, way, round_, len(requests), engine_s, served_s))
                asyncio.run(_measure_service(plan, name, url, round_, results))
            results.save()


def _bursts(plan: Plan, round_: int) -> dict[str, list[Request]]:
    """Other requests for each way of asking: what is cached of one must not help the next."""
    return {way: burst(plan.burst, len(WAYS) * round_ + number) for number, way in enumerate(WAYS)}


async def _measure_service(plan: Plan, name: str, url: str, round_: int, results: Measurements) -> None:
    async with asking(SYSTEMS[name].ask, url) as ask:

        async def at(rate: float) -> Point:
            point = await measured(ask, rate, arrivals(rate, plan.seconds, plan.requests, round_))
            results.add(Row(name, SYSTEMS[name].dtype, round_, point))
            return point

        await climb(at, SYSTEMS[name].start_rate, plan.refinements)


def breaking_points(rows: Sequence[Row]) -> dict[str, Point | None]:
    """For each system, the point of the highest rate that held, in its median round; None where none held."""
    found: dict[str, Point | None] = {}
    for system in dict.fromkeys(row.system for row in rows):
        rounds = {row.round for row in rows if row.system == system}
        bests = [best([row.point for row in rows if (row.system, row.round) == (system, one)]) for one in rounds]
        bests.sort(key=lambda point: point.rate if point else 0)
        found[system] = bests[(len(bests) - 1) // 2]
    return found


def table(rows: Sequence[Row]) -> str:
    """Markdown: each system at the highest rate that it held; seconds."""
    lines = [
        f"| system | requests/s at p95 <= {LIMIT_S:g} s | latency p50 | p95 | first token p50 | p95 |",
        "|---|---|---|---|---|---|",
    ]
    for system, point in breaking_points(rows).items():
        if point is None:
            lines.append(f"| {system} | none | | | | |")
        else:
            lines.append(
                f"| {system} | {point.rate:g} | {point.latency_p50_s:.2f} | {point.latency_p95_s:.2f} "
                f"| {point.first_token_p50_s:.2f} | {point.first_token_p95_s:.2f} |"
            )
    return "\n".join(lines)


def plot(rows: Sequence[Row], path: Path) -> None:
    """The 95th percentiles over the rate: of the whole reply, and of its first token."""
    figure, panels = plt.subplots(1, 2, figsize=(10, 4), sharex=True, sharey=True, layout="constrained")
    for system in dict.fromkeys(row.system for row in rows):
        points = sorted((row.point for row in rows if row.system == system), key=lambda point: point.rate)
        rates = [point.rate for point in points]
        panels[0].plot(rates, [point.latency_p95_s for point in points], marker="o", label=system)
        panels[1].plot(rates, [point.first_token_p95_s for point in points], marker="o")
    for panel, what in zip(panels, ("whole reply", "first token"), strict=True):
        panel.axhline(LIMIT_S, color="black", linestyle="dashed", linewidth=1)
        panel.set(title=f"{what}, 95th percentile", xlabel="requests a second", ylim=(0, 2.5 * LIMIT_S))
        panel.grid(alpha=0.3)
    panels[0].set_ylabel("seconds")
    panels[0].legend()
    figure.savefig(path, dpi=120)
    plt.close(figure)


def main() -> None:
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--systems", nargs="+", default=list(SYSTEMS), choices=SYSTEMS)
    parser.add_argument("--rounds", type=int, default=1, help="times that each system is started and measured")
    parser.add_argument("--seconds", type=float, default=60, help="of load at a rate, at least")
    parser.add_argument("--requests", type=int, default=20, help="of load at a rate, at least")
    parser.add_argument("--refinements", type=int, default=1, help="rates between the last good one and the first bad")
    parser.add_argument("--burst", type=int, default=128, help="requests of each closed loop; 0: leave them out")
    plan = Plan(**vars(parser.parse_args()))
    for number in (signal.SIGINT, signal.SIGTERM):  # ends the systems too; in the background SIGINT may be ignored
        signal.signal(number, signal.default_int_handler)
    results = Measurements(plan)
    try:
        with tempfile.TemporaryDirectory() as folder:
            make_model(Path(folder) / "model")
            measure(plan, Path(folder) / "model", results)
    except KeyboardInterrupt:
        log.info("interrupted; what was measured of whole systems is in %s", RESULTS)
    log.info("at the highest rate that held, seconds:\n%s", table(results.rows))


if __name__ == "__main__":
    main()
