"""The statistics of a point, and the search for the highest rate that holds."""

import asyncio

import pytest

from bench.breaking_point import FACTOR, LIMIT_S, LOWEST_RATE, Point, best, climb, measured, percentile
from bench.load import Answer, Request, RequestFailed


def point(rate: float, p95_s: float | None, failures: int = 0) -> Point:
    return Point(rate, 60, failures, rate, p95_s, p95_s, p95_s, p95_s)


class Service:
    """Holds every rate up to its capacity."""

    def __init__(self, capacity: float) -> None:
        self._capacity = capacity
        self.rates: list[float] = []

    async def measure(self, rate: float) -> Point:
        self.rates.append(rate)
        return point(rate, LIMIT_S if rate <= self._capacity else LIMIT_S + 0.001)


@pytest.mark.parametrize(
    ("share", "expected"), [(0.5, 10), (0.95, 19), (1, 20), (0.01, 1)], ids=["p50", "p95", "p100", "p1"]
)
def test_percentiles_are_nearest_ranks(share: float, expected: float) -> None:
    assert percentile([float(value) for value in range(20, 0, -1)], share) == expected


def test_nothing_has_no_percentile() -> None:
    assert percentile([], 0.95) is None


def test_a_rate_holds_within_the_limit_and_without_failures() -> None:
    assert point(1, LIMIT_S).holds
    assert not point(1, LIMIT_S + 0.001).holds
    assert not point(1, 0.1, failures=1).holds
    assert not point(1, None).holds


async def test_the_rate_rises_until_it_breaks_and_is_then_refined() -> None:
    service = Service(capacity=1.7)
    points = await climb(service.measure, start_rate=1, refinements=2)
    assert service.rates == [1, FACTOR, 1.96, 1.66, 1.8]  # 1.66 = sqrt(1.4 * 1.96), 1.8 = sqrt(1.66 * 1.96)
    assert best(points) == point(1.66, LIMIT_S)


async def test_a_start_rate_that_breaks_falls_until_it_holds() -> None:
    service = Service(capacity=0.6)
    points = await climb(service.measure, start_rate=1, refinements=0)
    assert service.rates == [1, 0.714, 0.51]
    assert best(points) == point(0.51, LIMIT_S)


async def test_a_service_that_holds_no_rate_is_given_up() -> None:
    service = Service(capacity=0)
    points = await climb(service.measure, start_rate=0.2, refinements=1)
    assert best(points) is None
    assert service.rates[-2] > LOWEST_RATE >= service.rates[-1]


async def test_a_point_counts_answers_and_failures() -> None:
    async def every_other(request: Request) -> Answer:
        if request.turn == "bad":
            raise RequestFailed("503")
        await asyncio.sleep(0.1)
        return Answer(request.prompt_tokens, request.reply_tokens)

    requests = [Request(0.1, turn, 4, 8) for turn in ("good", "bad", "good", "bad")]
    found = await measured(every_other, 7, requests)
    assert (found.rate, found.requests, found.failures) == (7, 4, 2)
    assert found.latency_p50_s == pytest.approx(0.1, abs=0.05)
    assert found.latency_p95_s == found.first_token_p95_s
    assert found.answered_per_s == pytest.approx(2 / 0.2, rel=0.3)
