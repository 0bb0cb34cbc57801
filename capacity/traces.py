"""Loads: when requests arrive, and how long their prompts and replies are.

Arrivals are a Poisson process whose rate changes over time; lengths are lognormal, clipped. A seed gives the same
trace again.
"""

import math
import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass

Rate = Callable[[float], float]  # seconds since the trace's beginning -> requests/s


@dataclass(frozen=True)
class Lengths:
    """A lognormal distribution, rounded and clipped; in tokens."""

    median: int
    sigma: float  # of the logarithm
    least: int
    most: int

    @property
    def mean(self) -> int:
        """Of the distribution, not clipped."""
        return round(self.median * math.exp(self.sigma**2 / 2))

    def draw(self, chance: random.Random) -> int:
        length = round(chance.lognormvariate(math.log(self.median), self.sigma))
        return min(max(length, self.least), self.most)


PROMPT = Lengths(median=200, sigma=0.6, least=32, most=480)
REPLY = Lengths(median=24, sigma=0.5, least=8, most=64)


@dataclass(frozen=True)
class Arrival:
    at_s: float
    prompt_tokens: int
    reply_tokens: int


@dataclass(frozen=True)
class Trace:
    name: str
    rate: Rate
    seconds: float
    peak: float  # requests/s; the rate is never above it

    def arrivals(self, seed: int = 0, prompt: Lengths = PROMPT, reply: Lengths = REPLY) -> Iterator[Arrival]:
        """In their order, by thinning: of arrivals at the peak's rate, rate/peak are kept (Lewis, Shedler 1979)."""
        chance = random.Random(f"{self.name} {seed}")
        at_s = 0.0
        while True:
            at_s += chance.expovariate(self.peak)
            if at_s >= self.seconds:
                return
            if chance.random() * self.peak < self.rate(at_s):
                yield Arrival(at_s, prompt.draw(chance), reply.draw(chance))


def steady(rate: float, seconds: float) -> Trace:
    """The same rate throughout."""
    return Trace("steady", lambda _: rate, seconds, rate)


def diurnal(low: float, high: float, seconds: float) -> Trace:
    """A day in `seconds`: from the night's rate up to noon's and back."""
    middle, swing = (high + low) / 2, (high - low) / 2
    return Trace("diurnal", lambda at_s: middle - swing * math.cos(2 * math.pi * at_s / seconds), seconds, high)


def burst(low: float, high: float, seconds: float) -> Trace:
    """High in the second fifth of the time and in the fourth, low otherwise."""
    return Trace("burst", lambda at_s: high if int(5 * at_s / seconds) in (1, 3) else low, seconds, high)


def flash_crowd(low: float, high: float, seconds: float) -> Trace:
    """From low to high at a quarter of the time, then halving every eighth of it."""

    def rate(at_s: float) -> float:
        since = at_s - seconds / 4
        return low if since < 0 else low + (high - low) * 0.5 ** (since / (seconds / 8))

    return Trace("flash crowd", rate, seconds, high)


def slow_leak(low: float, high: float, seconds: float) -> Trace:
    """Grows by the same share in every minute, from low to high."""
    return Trace("slow leak", lambda at_s: low * (high / low) ** (at_s / seconds), seconds, high)
