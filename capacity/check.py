"""Predicted beside real: the loads that `make bench` sent, simulated, and what it measured."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from capacity.calibrate import SERVED
from capacity.service_times import ServiceTimes
from capacity.simulation import Run, Simulation
from capacity.traces import Arrival
from serve_app.settings import AppArgs

ALLOWED = 0.2  # relative error of a prediction that still counts as right


@dataclass(frozen=True)
class Comparison:
    """One measured rate. Latencies in seconds."""

    rate: float
    requests: int
    holds: bool  # p95 was within the benchmark's limit: the service kept up
    measured: dict[str, float]
    predicted: dict[str, float]

    @property
    def errors(self) -> dict[str, float]:
        """Relative, by quantity; of the refused requests as a share of all."""
        shares = {"refused": (self.predicted["refused"] - self.measured["refused"]) / self.requests}
        latencies = (name for name in self.measured if name != "refused")
        return {name: self.predicted[name] / self.measured[name] - 1 for name in latencies} | shares


def compare(served: dict[str, Any], times: ServiceTimes) -> Iterator[Comparison]:
    """For each rate that was sent to this project's service, on one machine with it."""
    from bench.load import arrivals  # brings torch along

    load = served["load"]
    for row in served["rows"]:
        if row["system"] != SERVED:
            continue
        sent = arrivals(row["rate"], load["seconds"], load["requests"], row["round"])
        assert len(sent) == row["requests"], "this is not the load that was measured"
        simulation = Simulation(AppArgs(model="simulated"), times.beside_others())
        run = simulation.run(Arrival(each.at_s, each.prompt_tokens, each.reply_tokens) for each in sent)
        measured = {"p50": row["latency_p50_s"], "p95": row["latency_p95_s"], "refused": row["failures"]}
        yield Comparison(row["rate"], row["requests"], row["holds"], measured, _summary(run))


def _summary(run: Run) -> dict[str, float]:
    refused = len(run.outcomes) - len(run.latencies_s)
    return {"p50": run.latency_s(0.5), "p95": run.latency_s(0.95), "refused": refused}


def table(comparisons: list[Comparison]) -> Iterator[str]:
    """As Markdown."""
    yield "| requests/s | p50 measured | predicted | p95 measured | predicted | refused measured | predicted |"
    yield "|---|---|---|---|---|---|---|"
    for each in comparisons:
        cells = [f"{values[name]:.2f} s" for name in ("p50", "p95") for values in (each.measured, each.predicted)] + [
            f"{values['refused']:.0f}" for values in (each.measured, each.predicted)
        ]
        rate = f"{each.rate:g}" + ("" if each.holds else " (more than it serves)")
        yield f"| {rate} | " + " | ".join(cells) + " |"


def plot(comparisons: list[Comparison], target: Path) -> None:
    """Latency over the rate, measured and predicted."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7, 4), layout="constrained")
    axes = figure.subplots()
    rates = [each.rate for each in comparisons]
    for name, colour in (("p50", "tab:blue"), ("p95", "tab:red")):
        axes.plot(rates, [each.measured[name] for each in comparisons], "o-", color=colour, label=f"{name}, measured")
        predicted = [each.predicted[name] for each in comparisons]
        axes.plot(rates, predicted, "x--", color=colour, label=f"{name}, predicted")
    axes.set_yscale("log")
    axes.set_xlabel("requests/s")
    axes.set_ylabel("seconds to the last token")
    axes.legend()
    figure.savefig(target, dpi=80)
