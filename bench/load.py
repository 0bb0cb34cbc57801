"""The load: what is asked, when, and how long each answer took.

Open loop: requests arrive as a Poisson process and are sent at their time, whatever became of the earlier ones. A
latency counts from the scheduled arrival, so a service that falls behind cannot slow the load down and hide it
(Tene's "coordinated omission"). Closed loop: so many clients, each asks again as soon as it has its answer.

Prompt and reply lengths are lognormal, clipped (`PROMPT`, `REPLY`). A prompt is one turn of distinct random words, so
that what a service remembers of one prompt helps it with no other. The same seed and rate give the same load.
"""

import asyncio
import random
import time
from collections.abc import Awaitable, Callable, Iterator, Sequence
from dataclasses import dataclass

from bench.systems import VOCABULARY
from capacity.traces import PROMPT, REPLY, Trace
from serve_app.prompt import render

TIMEOUT_S = 120.0  # far past any latency of interest: every service has refused or answered by then
INSTRUCTION = "w3"
_FORM_TOKENS = 2  # the instruction, and " [CONTEXT] ", which make_checkpoint's tokenizer reads as one unknown piece


@dataclass(frozen=True)
class Request:
    at_s: float  # after the load's beginning
    turn: str
    prompt_tokens: int
    reply_tokens: int

    @property
    def length(self) -> int:
        """What the engine counts as the reply's: with the decoder's start token."""
        return self.reply_tokens + 1

    @property
    def prompt(self) -> str:
        """What the model reads: this project makes it of the turn, the peers are given it."""
        return render(INSTRUCTION, [self.turn], [])


@dataclass(frozen=True)
class Answer:
    """A service's answer to one request."""

    prompt_tokens: int
    reply_tokens: int
    first_token_at: float | None = None  # on time.perf_counter; None: the reply came all at once


class RequestFailed(Exception):
    """The service refused the request or broke off its reply; the text says how."""


Ask = Callable[[Request], Awaitable[Answer]]  # raises RequestFailed


@dataclass(frozen=True)
class Latency:
    """Of an answered request: seconds since its scheduled arrival, until the first token and until the last."""

    first_token_s: float
    total_s: float


Outcome = Latency | RequestFailed


def arrivals(rate: float, seconds: float, fewest: int, seed: int) -> list[Request]:
    """A Poisson process of `rate` requests a second: over `seconds`, or longer until `fewest` have come."""
    chance = random.Random(f"{seed} {rate}")
    requests: list[Request] = []
    at_s = chance.expovariate(rate)
    while at_s < seconds or len(requests) < fewest:
        requests.append(_request(at_s, chance))
        at_s += chance.expovariate(rate)
    return requests


def burst(count: int, seed: int) -> list[Request]:
    """Requests without arrival times, for a closed loop."""
    chance = random.Random(f"{seed} burst")
    return [_request(0, chance) for _ in range(count)]


def of_trace(trace: Trace) -> list[Request]:
    """The arrivals that the simulation is given, in words."""
    chance = random.Random(trace.name)
    return [
        Request(arrival.at_s, _turn(arrival.prompt_tokens, chance), arrival.prompt_tokens, arrival.reply_tokens)
        for arrival in trace.arrivals()
    ]


def _request(at_s: float, chance: random.Random) -> Request:
    prompt_tokens = PROMPT.draw(chance)
    return Request(at_s, _turn(prompt_tokens, chance), prompt_tokens, REPLY.draw(chance))


def _turn(prompt_tokens: int, chance: random.Random) -> str:
    words = chance.sample(range(4, VOCABULARY), prompt_tokens - _FORM_TOKENS)
    return "".join(f"w{word}" for word in words)  # without spaces between: each would be a token too, and the same one


WARM_UP = burst(8, seed=-1)  # loads that are measured have seeds from 0


async def answered(ask: Ask, request: Request) -> Answer:
    """Raises RequestFailed, and RuntimeError where the service read or wrote another number of tokens than the rest."""
    try:
        async with asyncio.timeout(TIMEOUT_S):
            answer = await ask(request)
    except TimeoutError:
        raise RequestFailed(f"no answer within {TIMEOUT_S:.0f} s") from None
    wanted, counted = (request.prompt_tokens, request.reply_tokens), (answer.prompt_tokens, answer.reply_tokens)
    if counted != wanted:
        raise RuntimeError(f"asked for (prompt, reply) tokens {wanted}, got {counted}: not comparable")
    return answer


async def open_loop(ask: Ask, requests: Sequence[Request]) -> list[Outcome]:
    """Send each request at its time, and wait for the last answer."""
    started = time.perf_counter()
    return list(await asyncio.gather(*(_sent_at(started + request.at_s, ask, request) for request in requests)))


async def _sent_at(due: float, ask: Ask, request: Request) -> Outcome:
    await asyncio.sleep(due - time.perf_counter())
    try:
        answer = await answered(ask, request)
    except RequestFailed as failure:
        return failure
    total_s = time.perf_counter() - due
    return Latency(answer.first_token_at - due if answer.first_token_at else total_s, total_s)


async def closed_loop(ask: Ask, requests: Sequence[Request], clients: int) -> float:
    """Seconds that `clients` take to have all requests answered. Raises RequestFailed."""
    left = iter(requests)
    started = time.perf_counter()
    await asyncio.gather(*(_ask_on(ask, left) for _ in range(clients)))
    return time.perf_counter() - started


async def _ask_on(ask: Ask, left: Iterator[Request]) -> None:
    for request in left:
        await answered(ask, request)
