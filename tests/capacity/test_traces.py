"""Traces: as many arrivals as their rate says, when it says, and the same again."""

import random

import pytest

from capacity.traces import PROMPT, Trace, burst, diurnal, flash_crowd, slow_leak, steady


@pytest.mark.parametrize(
    "trace",
    [steady(20, 200), diurnal(2, 40, 200), burst(2, 40, 200), flash_crowd(2, 60, 200), slow_leak(2, 40, 200)],
    ids=lambda trace: trace.name,
)
def test_arrivals_follow_the_rate(trace: Trace) -> None:
    arrivals = list(trace.arrivals())
    for begin in range(0, 200, 40):
        expected = sum(trace.rate(begin + step / 10) / 10 for step in range(400))
        counted = sum(begin <= arrival.at_s < begin + 40 for arrival in arrivals)
        assert counted == pytest.approx(expected, abs=5 * expected**0.5)
    assert max(trace.rate(step / 10) for step in range(2000)) <= trace.peak
    assert [a.at_s for a in arrivals] == sorted(a.at_s for a in arrivals)


def test_a_seed_gives_the_same_trace_again() -> None:
    trace = steady(5, 50)
    assert list(trace.arrivals(1)) == list(trace.arrivals(1)) != list(trace.arrivals(2))


def test_lengths_are_clipped() -> None:
    chance = random.Random(0)
    lengths = sorted(PROMPT.draw(chance) for _ in range(2000))
    assert PROMPT.least <= lengths[0] and lengths[-1] == PROMPT.most
    assert lengths[1000] == pytest.approx(PROMPT.median, rel=0.1)
    assert sum(lengths) / 2000 == pytest.approx(PROMPT.mean, rel=0.1)
