"""Goodput under overload: clients in a closed loop, from as many as fit to far more; `python -m bench.overload`.

    python -m bench.overload --url http://127.0.0.1:8000     # a backend that runs, `make run`'s for one

Each client asks again as soon as it has its answer, or 0.2 s after a refusal, as careless clients do. A reply counts as
good when it is complete within the deadline. Beside it: refusals, what a refusal takes to arrive, and the load's own
share of the cores, which the backend lacks.
"""

import argparse
import asyncio
import itertools
import os
import statistics
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass, field

import aiohttp

CLIENTS = (8, 16, 32, 80, 320, 960)
SECONDS = 10.0
DEADLINE_S = 10.0
PAUSE_S = 0.2
LENGTHS = (20, 60, 100)  # tokens of replies


@dataclass
class Point:
    clients: int
    good: int = 0
    late: int = 0
    refused: int = 0
    failed: dict[str, int] = field(default_factory=dict)
    latencies_s: list[float] = field(default_factory=list)
    refusals_s: list[float] = field(default_factory=list)
    seconds: float = 0.0
    load_cores: float = 0.0

    def line(self) -> str:
        failed = ", ".join(f"{count} x {what}" for what, count in self.failed.items()) or "none"
        return (
            f"{self.clients:5d} clients: {self.good / self.seconds:6.1f} good replies/s "
            f"({_percentiles(self.latencies_s)}), {self.refused / self.seconds:6.1f} refusals/s "
            f"({_percentiles(self.refusals_s)}), {self.late} late, failed: {failed}; "
            f"the load took {self.load_cores:.2f} cores"
        )


async def measure(url: str, clients: int) -> Point:
    point = Point(clients)
    until = time.monotonic() + SECONDS
    began, processor_s = time.monotonic(), time.process_time()
    connector = aiohttp.TCPConnector(limit=0)
    async with aiohttp.ClientSession(connector=connector, timeout=aiohttp.ClientTimeout(total=60)) as session:
        await asyncio.gather(*(_client(session, url, number, until, point) for number in range(clients)))
    point.seconds = time.monotonic() - began
    point.load_cores = (time.process_time() - processor_s) / point.seconds
    return point


async def _client(session: aiohttp.ClientSession, url: str, number: int, until: float, point: Point) -> None:
    for length in itertools.islice(itertools.cycle(LENGTHS), number % len(LENGTHS), None):
        if time.monotonic() >= until:
            return
        body = {
            "dialog": ["What is Ray Serve?"],
            "generation": {"quote": False, "min_length": length, "max_length": length},
            "timeout_s": DEADLINE_S,
        }
        began = time.monotonic()
        try:
            async with session.post(f"{url}/chat", json=body, headers={"x-session-id": f"client-{number}"}) as response:
                await response.read()
                status = response.status
        except (aiohttp.ClientError, TimeoutError) as error:
            point.failed[type(error).__name__] = point.failed.get(type(error).__name__, 0) + 1
            await asyncio.sleep(PAUSE_S)
            continue
        taken_s = time.monotonic() - began
        if status == 200 and taken_s <= DEADLINE_S:
            point.good += 1
            point.latencies_s.append(taken_s)
        elif status == 200:
            point.late += 1
        elif status == 429:
            point.refused += 1
            point.refusals_s.append(taken_s)
            await asyncio.sleep(PAUSE_S)
        else:
            point.failed[str(status)] = point.failed.get(str(status), 0) + 1
            await asyncio.sleep(PAUSE_S)


def _percentiles(values: Sequence[float]) -> str:
    if len(values) < 2:
        return "-"
    cuts = statistics.quantiles(values, n=100)
    return f"p50 {1000 * cuts[49]:.0f} ms, p95 {1000 * cuts[94]:.0f} ms"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--url", default="http://127.0.0.1:8000", help="of a backend that runs")
    parser.add_argument("--clients", type=int, nargs="*", default=CLIENTS)
    arguments = parser.parse_args()
    sys.stdout.write(f"{os.cpu_count()} cores, {SECONDS:.0f} s each, deadline {DEADLINE_S:.0f} s\n")
    for clients in arguments.clients:
        sys.stdout.write(asyncio.run(measure(arguments.url, clients)).line() + "\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main()
