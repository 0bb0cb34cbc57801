"""What a service does at one rate (`Point`), and the search for the highest rate that it stands (`climb`)."""

import math
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass

from bench.load import Ask, Latency, Request, open_loop
from serve_app.load_report import quantile

LIMIT_S = 3.0  # of the 95th percentile of latencies
FACTOR = 1.4  # from one rate to the next
LOWEST_RATE = 0.05  # requests a second; a service that breaks below it is given up


@dataclass(frozen=True)
class Point:
    """A service under one load. Latencies are of the answered requests, in seconds; None where there are none."""

    rate: float  # requests a second, offered
    requests: int
    failures: int
    answered_per_s: float  # until the last answer
    latency_p50_s: float | None
    latency_p95_s: float | None
    first_token_p50_s: float | None
    first_token_p95_s: float | None

    @property
    def holds(self) -> bool:
        """Whether the service stands this rate: no failure, and the 95th percentile within the limit."""
        return self.failures == 0 and self.latency_p95_s is not None and self.latency_p95_s <= LIMIT_S


async def measured(ask: Ask, rate: float, requests: Sequence[Request]) -> Point:
    """Put the load on the service, and wait until it is idle again."""
    started = time.perf_counter()
    outcomes = await open_loop(ask, requests)
    seconds = time.perf_counter() - started
    answered = [outcome for outcome in outcomes if isinstance(outcome, Latency)]
    totals = [latency.total_s for latency in answered]
    first_tokens = [latency.first_token_s for latency in answered]
    return Point(
        rate,
        len(requests),
        len(requests) - len(answered),
        round(len(answered) / seconds, 3),
        percentile(totals, 0.5),
        percentile(totals, 0.95),
        percentile(first_tokens, 0.5),
        percentile(first_tokens, 0.95),
    )


def percentile(values: Sequence[float], share: float) -> float | None:
    """The nearest-rank percentile: the least value that `share` of all values do not exceed; milliseconds are kept."""
    value = quantile(values, share)
    return None if value is None else round(value, 3)


async def climb(measure: Callable[[float], Awaitable[Point]], start_rate: float, refinements: int) -> list[Point]:
    """Points at rates that rise by FACTOR until one does not hold, or fall until one holds; then between the two.

    Each of the `refinements` takes the geometric mean of the highest rate that held and the lowest above it that did
    not.
    """
    points = [await measure(_rounded(start_rate))]
    rises = points[0].holds
    while points[-1].holds == rises and points[-1].rate > LOWEST_RATE:
        points.append(await measure(_rounded(points[-1].rate * (FACTOR if rises else 1 / FACTOR))))
    for _ in range(refinements):
        good = best(points)
        if good is None:
            break
        bad = min(point.rate for point in points if point.rate > good.rate)
        points.append(await measure(_rounded(math.sqrt(good.rate * bad))))
    return points


def best(points: Sequence[Point]) -> Point | None:
    """The point of the highest rate that held."""
    return max((point for point in points if point.holds), key=lambda point: point.rate, default=None)


def _rounded(rate: float) -> float:
    """To three digits: the rate is part of the load's seed, and of the table."""
    return float(f"{rate:.3g}")
