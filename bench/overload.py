"""Goodput under overload: clients in a closed loop, from as many as fit to far more; `python -m bench.overload`.

    python -m bench.overload --url http://127.0.0.1:8000     # a backend that runs, `make run`'s for one

Each client asks again as soon as it has its answer, or 0.2 s after a refusal, as careless clients do. A reply counts as
good when it is complete within the deadline. Beside it: how soon after the load the first line's rate is back; and the
cores that each part took. The load's own are cores that the backend lacks, where both are on one machine.

Then fairness: what five clients with one request at a time get beside one with very many.
"""

import argparse
import asyncio
import itertools
import os
import statistics
import sys
import time
from collections import Counter
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import aiohttp
import psutil

CLIENTS = (8, 16, 32, 80, 320, 960)
SECONDS = 10.0
DEADLINE_S = 10.0
PAUSE_S = 0.2
LENGTHS = (20, 60, 100)  # tokens of replies
GREEDY = (150, 500)  # requests at once of the client that the others are beside
OTHERS = 5

_PROBE_S = 4.0  # recovery is looked for so long, and then again,
_RECOVERY_S = 15.0  # until so much has passed
_RECOVERED = 0.9  # of the first line's rate
# How the service's processes are called: `ray::ServeReplica:godel:Ingress`.
_PARTS = {"ingress": ":Ingress", "replicas": ":GodelModel", "haproxy": "haproxy", "proxy": "ProxyActor"}


@dataclass
class Point:
    """What became of the requests of a load."""

    good: int = 0
    late: int = 0
    refused: int = 0
    failed: Counter[str] = field(default_factory=Counter)
    latencies_s: list[float] = field(default_factory=list)
    refusals_s: list[float] = field(default_factory=list)
    good_at: list[float] = field(default_factory=list)

    @property
    def sent(self) -> int:
        return self.good + self.late + self.refused + self.failed.total()


@dataclass(frozen=True)
class Parts:
    """What the parts of the service on this machine have taken so far: processor seconds each, and bytes in all."""

    processor_s: dict[str, float]
    memory: int

    @classmethod
    def now(cls) -> "Parts":
        taken = dict.fromkeys((*_PARTS, "load"), 0.0)
        taken["load"] = time.process_time()
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


class Load:
    """Clients of a backend."""

    def __init__(self, url: str, session: aiohttp.ClientSession) -> None:
        self._url = url
        self._session = session

    async def ask_until(self, until: float, clients: int, point: Point) -> None:
        """As many clients, each with one request at a time."""
        await asyncio.gather(*(self._client(f"client-{number}", number, until, point) for number in range(clients)))

    async def many_of_one(self, until: float, requests: int, point: Point) -> None:
        """One client with as many requests at a time."""
        await asyncio.gather(*(self._client("greedy", number, until, point) for number in range(requests)))

    async def _client(self, name: str, number: int, until: float, point: Point) -> None:
        for length in itertools.islice(itertools.cycle(LENGTHS), number % len(LENGTHS), None):
            if time.monotonic() >= until:
                return
            if not await self._ask(name, length, point):
                await asyncio.sleep(PAUSE_S)

    async def _ask(self, name: str, length: int, point: Point) -> bool:
        """Whether there was a reply."""
        body = {
            "dialog": ["What is Ray Serve?"],
            "generation": {"quote": False, "min_length": length, "max_length": length},
            "timeout_s": DEADLINE_S,
        }
        began = time.monotonic()
        try:
            async with self._session.post(f"{self._url}/chat", json=body, headers={"x-session-id": name}) as response:
                await response.read()
        except (aiohttp.ClientError, TimeoutError) as error:
            point.failed[type(error).__name__] += 1
            return False
        taken_s = time.monotonic() - began
        if response.status == 200 and taken_s <= DEADLINE_S:
            point.good += 1
            point.good_at.append(time.monotonic())
            point.latencies_s.append(taken_s)
        elif response.status == 200:
            point.late += 1
        elif response.status == 429:
            point.refused += 1
            point.refusals_s.append(taken_s)
        else:
            point.failed[str(response.status)] += 1
        return response.status == 200


async def measure(url: str, all_clients: Sequence[int]) -> None:
    """Print a line for each number of clients; the first is what recovery is measured with, and against."""
    _row("clients", "good/s", "of the peak", "p50", "p95", "refusals/s", "p95", "late", "failed", "back after",
         *(f"{part}, cores" for part in (*_PARTS, "load")), "memory")  # fmt: skip
    _row(*["---"] * (12 + len(_PARTS)))
    peak = usual = 0.0
    async with _load(url) as load:
        for clients in all_clients:
            point, before, began = Point(), Parts.now(), time.monotonic()
            await load.ask_until(began + SECONDS, clients, point)
            seconds = time.monotonic() - began
            after = Parts.now()
            rate = point.good / seconds
            usual, peak = usual or rate, max(peak, rate)
            recovery_s = await _recovery_s(load, usual, all_clients[0])
            failed = ", ".join(f"{count} x {what}" for what, count in point.failed.items()) or "0"
            cores = after.cores_since(before, seconds).values()
            _row(clients, f"{rate:.1f}", f"{rate / peak:.2f}", *_percentiles(point.latencies_s),
                 f"{point.refused / seconds:.1f}", _percentiles(point.refusals_s)[1], point.late, failed, recovery_s,
                 *(f"{each:.2f}" for each in cores), f"{after.memory / 2**20:.0f} MiB")  # fmt: skip


async def _recovery_s(load: Load, usual: float, clients: int) -> str:
    """How long it takes, after a load, until `clients` get `usual` good replies a second, or nearly so, again."""
    window_s = max(_PROBE_S / 4, 20 / usual)  # of a few replies no rate can be told
    point, began = Point(), time.monotonic()
    await load.ask_until(began + max(window_s, _PROBE_S), clients, point)
    while True:
        for start in [began, *point.good_at]:
            if sum(start <= at < start + window_s for at in point.good_at) >= _RECOVERED * usual * window_s:
                return f"{start - began:.1f} s"
        if time.monotonic() > began + _RECOVERY_S:
            return f"> {_RECOVERY_S:.0f} s"
        await load.ask_until(time.monotonic() + window_s, clients, point)


async def measure_fairness(url: str, all_greedy: Sequence[int]) -> None:
    """Print, for each number of requests that one client has at once, what it and the others get."""
    _row("of one at once", "its replies/s", "others' requests", "answered", "p50", "p95")
    _row(*["---"] * 6)
    async with _load(url) as load:
        for requests in (0, *all_greedy):
            greedy, others, began = Point(), Point(), time.monotonic()
            until = began + SECONDS
            await asyncio.gather(load.ask_until(until, OTHERS, others), load.many_of_one(until, requests, greedy))
            rate = greedy.good / (time.monotonic() - began)
            _row(requests, f"{rate:.1f}", others.sent, f"{others.good / others.sent:.3f}",
                 *_percentiles(others.latencies_s))  # fmt: skip


@asynccontextmanager
async def _load(url: str) -> AsyncIterator[Load]:
    connector = aiohttp.TCPConnector(limit=0)
    async with aiohttp.ClientSession(connector=connector, timeout=aiohttp.ClientTimeout(total=60)) as session:
        yield Load(url, session)


def _percentiles(values: Sequence[float]) -> tuple[str, str]:
    """p50 and p95."""
    if len(values) < 2:
        return "-", "-"
    cuts = statistics.quantiles(values, n=100)
    return f"{1000 * cuts[49]:.0f} ms", f"{1000 * cuts[94]:.0f} ms"


def _row(*cells: object) -> None:
    sys.stdout.write(f"| {' | '.join(map(str, cells))} |\n")
    sys.stdout.flush()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--url", default="http://127.0.0.1:8000", help="of a backend that runs")
    parser.add_argument("--clients", type=int, nargs="*", default=CLIENTS)
    parser.add_argument("--greedy", type=int, nargs="*", default=GREEDY)
    arguments = parser.parse_args()
    sys.stdout.write(f"{os.cpu_count()} cores, {SECONDS:.0f} s each, deadline {DEADLINE_S:.0f} s\n\n")
    if arguments.clients:
        asyncio.run(measure(arguments.url, arguments.clients))
        sys.stdout.write("\n")
    if arguments.greedy:
        asyncio.run(measure_fairness(arguments.url, arguments.greedy))


if __name__ == "__main__":
    main()
