"""Goodput under overload: clients in a closed loop, from as many as fit to far more; `python -m bench.overload`.

    python -m bench.overload --url http://127.0.0.1:8000     # a backend that runs, `make run`'s for one

Each client asks again as soon as it has its answer, or 0.2 s after a refusal, as careless clients do; `--patient` ones
wait as long as the refusal says (Retry-After). A reply counts as good when it is complete within the deadline. Beside
it: how soon refusals go out, to these clients and to newcomers, who ask from a process of their own; how soon after the
load the first line's rate is back; and the cores that each part took. The load's own are cores that the backend lacks,
where both are on one machine, as are those that a virtual machine's host gave to others: "a core" is the goodput for
each core that both leave, as a share of its peak.

Then fairness: what five clients with one request at a time get beside one with very many.
"""

import argparse
import asyncio
import os
import sys
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import psutil

from bench.newcomers import newcomers
from serve_app.load import Load
from serve_app.load_report import quantile

CLIENTS = (8, 16, 32, 80, 320, 960)
SECONDS = 20.0
DEADLINE_S = 10.0
PAUSE_S = 0.2
LENGTHS = (20, 60, 100)  # tokens of replies
GREEDY = (150, 500)  # requests at once of the client that the others are beside
OTHERS = 5

_WINDOW_S = 1.0  # at least: what recovery is judged by
_RECOVERY_S = 15.0  # it is looked for so long
_RECOVERED = 0.9  # of the first line's rate
# How the service's processes are called: `ray::ServeReplica:godel:Ingress`.
_LACKING = ("load", "stolen")
_PARTS = {"ingress": ":Ingress", "replicas": ":GodelModel", "haproxy": "haproxy", "proxy": "ProxyActor"}


class Point:
    """What became of the requests of a load."""

    def __init__(self, load: Load) -> None:
        good = [outcome for outcome in load.outcomes if outcome.ending == "good"]
        in_time = [outcome for outcome in good if outcome.total_s <= DEADLINE_S]
        refused = [outcome for outcome in load.outcomes if outcome.problem == "status 429"]
        self.sent = len(load.outcomes)
        self.late = len(good) - len(in_time)
        self.good_at = [outcome.ended_s for outcome in in_time]
        self.latencies_s = [outcome.total_s for outcome in in_time]
        self.refusals_s = [outcome.total_s for outcome in refused]
        self.failed = Counter(outcome.problem for outcome in load.outcomes if outcome.problem) - Counter(
            {"status 429": len(refused)}
        )


@dataclass(frozen=True)
class Parts:
    """What the parts of the service on this machine have taken so far: processor seconds each, and bytes in all."""

    processor_s: dict[str, float]
    memory: int

    @classmethod
    def now(cls) -> "Parts":
        taken = dict.fromkeys((*_PARTS, *_LACKING), 0.0)
        taken["load"] = time.process_time()
        taken["stolen"] = getattr(psutil.cpu_times(), "steal", 0.0)  # Linux alone knows
        memory = 0
        for process in psutil.process_iter():
            try:
                command = " ".join(process.cmdline())
                part = next((part for part, name in _PARTS.items() if name in command), None)
                if part:
                    times = process.cpu_times()
                    taken[part] += times.user + times.system
                    memory += process.memory_info().rss
            except (psutil.NoSuchProcess, psutil.AccessDenied):
                continue
        return cls(taken, memory)

    def cores_since(self, before: "Parts", seconds: float) -> dict[str, float]:
        return {part: (taken - before.processor_s[part]) / seconds for part, taken in self.processor_s.items()}


def load(
    url: str,
    clients: int,
    seconds: float,
    *,
    session: Callable[[int], str] = "client-{}".format,
    patient: bool = False,
) -> Load:
    """Clients of a backend, each with one request at a time."""
    bodies = [
        {
            "dialog": ["What is Ray Serve?"],
            "generation": {"quote": False, "min_length": length, "max_length": length},
            "timeout_s": DEADLINE_S,
            "stream": False,
        }
        for length in LENGTHS
    ]
    return Load(url, bodies, seconds, clients=clients, pause_s=None if patient else PAUSE_S, session=session)


async def measure(url: str, all_clients: Sequence[int], *, patient: bool = False) -> None:
    """Print a line for each number of clients; the first is what recovery is measured with, and against."""
    _row("clients", "good/s", "of the peak", "a core", "p50", "p95", "refusals/s", "p95", "newcomers' p95", "late",
         "failed",
         "back after", *(f"{part}, cores" for part in (*_PARTS, *_LACKING)), "memory")  # fmt: skip
    _row(*["---"] * (13 + len(_PARTS) + len(_LACKING)))
    peak = peak_a_core = usual = 0.0
    for clients in all_clients:
        made, before = load(url, clients, SECONDS, patient=patient), Parts.now()
        async with newcomers(url, made.bodies[0]) as refusals_s:
            await made.run()
        seconds, after, point = made.elapsed_s, Parts.now(), Point(made)
        rate = len(point.good_at) / seconds
        cores = after.cores_since(before, seconds)
        a_core = rate / max((os.cpu_count() or 1) - sum(map(cores.__getitem__, _LACKING)), 0.1)
        usual, peak, peak_a_core = usual or rate, max(peak, rate), max(peak_a_core, a_core)
        recovery_s = await _recovery_s(url, usual, all_clients[0])
        failed = ", ".join(f"{count} x {what}" for what, count in point.failed.items()) or "0"
        _row(clients, f"{rate:.1f}", f"{rate / peak:.2f}", f"{a_core / peak_a_core:.2f}",
             *_percentiles(point.latencies_s), f"{len(point.refusals_s) / seconds:.1f}",
             _percentiles(point.refusals_s)[1], _percentiles(refusals_s)[1], point.late, failed, recovery_s,
             *(f"{each:.2f}" for each in cores.values()), f"{after.memory / 2**20:.0f} MiB")  # fmt: skip


async def _recovery_s(url: str, usual: float, clients: int) -> str:
    """How long it takes, after a load, until `clients` get `usual` good replies a second, or nearly so, again."""
    window_s = max(_WINDOW_S, 20 / usual)  # of a few replies no rate can be told
    probe = load(url, clients, _RECOVERY_S + window_s)
    running = asyncio.create_task(probe.run())
    found: float | None = None
    while found is None and not running.done():
        await asyncio.wait([running], timeout=window_s)
        good_at = Point(probe).good_at
        for start in (0.0, *good_at):
            if sum(start <= at < start + window_s for at in good_at) >= _RECOVERED * usual * window_s:
                found = start
                break
    probe.end()
    await running
    return f"> {_RECOVERY_S:.0f} s" if found is None else f"{found:.1f} s"


async def measure_fairness(url: str, all_greedy: Sequence[int]) -> None:
    """Print, for each number of requests that one client has at once, what it and the others get."""
    _row("of one at once", "its replies/s", "others' requests", "answered", "p50", "p95")
    _row(*["---"] * 6)
    for requests in (0, *all_greedy):
        greedy, others = load(url, requests, SECONDS, session=lambda _: "greedy"), load(url, OTHERS, SECONDS)
        await asyncio.gather(others.run(), greedy.run())
        its, theirs = Point(greedy), Point(others)
        _row(requests, f"{len(its.good_at) / others.elapsed_s:.1f}", theirs.sent,
             f"{len(theirs.good_at) / theirs.sent:.3f}", *_percentiles(theirs.latencies_s))  # fmt: skip


def _percentiles(values: Sequence[float]) -> tuple[str, str]:
    """p50 and p95."""
    half, most = quantile(values, 0.5), quantile(values, 0.95)
    return ("-", "-") if half is None or most is None else (f"{1000 * half:.0f} ms", f"{1000 * most:.0f} ms")


def _row(*cells: object) -> None:
    sys.stdout.write(f"| {' | '.join(map(str, cells))} |\n")
    sys.stdout.flush()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--url", default="http://127.0.0.1:8000", help="of a backend that runs")
    parser.add_argument("--clients", type=int, nargs="*", default=CLIENTS)
    parser.add_argument("--patient", action="store_true", help="clients that are refused wait as long as they are told")
    parser.add_argument("--greedy", type=int, nargs="*", default=GREEDY)
    arguments = parser.parse_args()
    sys.stdout.write(f"{os.cpu_count()} cores, {SECONDS:.0f} s each, deadline {DEADLINE_S:.0f} s\n\n")
    if arguments.clients:
        asyncio.run(measure(arguments.url, arguments.clients, patient=arguments.patient))
        sys.stdout.write("\n")
    if arguments.greedy:
        asyncio.run(measure_fairness(arguments.url, arguments.greedy))


if __name__ == "__main__":
    main()
