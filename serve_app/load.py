"""A load on a service over HTTP, and what became of each request: `python -m serve_app load`.

Closed loop: so many clients, each asks again as soon as it has its answer, or after the pause that a refusal names.
Open loop: requests arrive at given times, or as a Poisson process, whatever became of the earlier ones, and a latency
counts from the scheduled arrival, so that a service that falls behind cannot slow the load down and hide it (Tene's
"coordinated omission").
"""

import asyncio
import itertools
import random
import time
from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import aiohttp

from serve_app.event_reader import EventReader

_TIMEOUT = aiohttp.ClientTimeout(total=120, sock_connect=5)  # s; longer than any deadline that the service keeps
_LONGEST_PAUSE_S = 5.0  # after a refusal, whatever its Retry-After says
_MOST_IN_FLIGHT = 10_000  # of an open loop: beyond it the load itself would be measured

Ending = Literal["good", "refused", "failed"]
_Bodies = Iterator[dict[str, Any]]


@dataclass(frozen=True)
class Outcome:
    """What became of one request. Times are in seconds; `at_s` and `ended_s` count from the load's beginning."""

    at_s: float
    ended_s: float
    ending: Ending
    first_piece_s: float | None = None  # since at_s
    tokens: int = 0
    replica: str = ""
    problem: str = ""

    @property
    def total_s(self) -> float:
        return self.ended_s - self.at_s


@dataclass
class Load:
    """Sends `bodies` in turn to `url` for `seconds`. Exactly one of clients, rate and arrivals is given."""

    url: str
    bodies: Sequence[dict[str, Any]]  # as docs/api.md says; replies are streamed unless they say `stream: False`
    seconds: float
    clients: int | None = None
    rate: float | None = None  # requests/s
    arrivals: Iterable[float] | None = None  # when each request is sent, in their order; seconds from the beginning
    key: str | None = None
    pause_s: float | None = None  # of a client that was refused; None: as long as it was asked to wait
    session: Callable[[int], str] = "load-{}".format  # x-session-id of the n-th: each session has a share of the room
    outcomes: list[Outcome] = field(default_factory=list)
    in_flight: int = 0
    _began: float = 0.0

    @property
    def elapsed_s(self) -> float:
        return time.perf_counter() - self._began

    async def run(self) -> None:
        """Return when the last request has ended; `outcomes` and `in_flight` can be read meanwhile."""
        headers = {"Authorization": f"Bearer {self.key}"} if self.key else {}
        self._began = time.perf_counter()
        connector = aiohttp.TCPConnector(limit=0)
        async with aiohttp.ClientSession(connector=connector, timeout=_TIMEOUT, headers=headers) as session:
            bodies = itertools.cycle(self.bodies)
            if self.clients is not None:
                await asyncio.gather(*(self._client(session, bodies, number) for number in range(self.clients)))
            else:
                await self._open_loop(session, bodies, _poisson(self.rate) if self.rate else self.arrivals or ())

    def end(self) -> None:
        """Send nothing more: `run` returns once the requests that are in flight have ended."""
        self.seconds = min(self.seconds, self.elapsed_s)

    async def _client(self, session: aiohttp.ClientSession, bodies: _Bodies, number: int) -> None:
        while self.elapsed_s < self.seconds:
            outcome, pause_s = await self._ask(session, next(bodies), number, self.elapsed_s)
            if outcome.ending != "good":
                await asyncio.sleep(min(pause_s, _LONGEST_PAUSE_S) if self.pause_s is None else self.pause_s)

    async def _open_loop(self, session: aiohttp.ClientSession, bodies: _Bodies, arrivals: Iterable[float]) -> None:
        async with asyncio.TaskGroup() as requests:
            for number, at_s in enumerate(arrivals):
                if at_s > self.seconds:
                    return
                await asyncio.sleep(at_s - self.elapsed_s)
                if self.in_flight < _MOST_IN_FLIGHT:
                    requests.create_task(self._ask(session, next(bodies), number, at_s))
                else:
                    self.outcomes.append(Outcome(at_s, at_s, "failed", problem="too many in flight to send more"))

    async def _ask(
        self, session: aiohttp.ClientSession, body: dict[str, Any], number: int, at_s: float
    ) -> tuple[Outcome, float]:
        """The outcome, which is kept too, and how many seconds to wait before the next request."""
        body, headers = {"stream": True} | body, {"x-session-id": self.session(number)}
        first_piece_s: float | None = None
        ending: Ending = "failed"
        tokens, replica, problem, pause_s = 0, "", "the stream ended early", 1.0
        self.in_flight += 1
        try:
            async with session.post(f"{self.url}/chat", json=body, headers=headers) as response:
                if response.status != 200:
                    ending = "refused" if response.status in (429, 503) else "failed"
                    problem, pause_s = f"status {response.status}", _retry_after_s(response)
                else:
                    async for name, data in events(response):
                        if name == "token":
                            first_piece_s = first_piece_s or self.elapsed_s - at_s
                        elif name == "error":
                            problem = data["error"]["type"]
                        elif name == "done":
                            ending, problem = "good", ""
                            tokens, replica = data["usage"]["completion_tokens"], data["replica_id"]
        except (aiohttp.ClientError, TimeoutError, ValueError, KeyError) as error:
            problem = type(error).__name__
        finally:
            self.in_flight -= 1
        outcome = Outcome(at_s, self.elapsed_s, ending, first_piece_s, tokens, replica, problem)
        self.outcomes.append(outcome)
        return outcome, pause_s


def _poisson(rate: float) -> Iterator[float]:
    chance = random.Random(0)
    at_s = 0.0
    while True:
        at_s += chance.expovariate(rate)
        yield at_s


def _retry_after_s(response: aiohttp.ClientResponse) -> float:
    try:
        return float(response.headers.get("Retry-After", 1))
    except ValueError:  # a date, which this service does not send
        return 1.0


async def events(response: aiohttp.ClientResponse) -> AsyncIterator[tuple[str, Any]]:
    """Those of a stream; of a whole reply, the one that would be a stream's last."""
    if response.content_type == "application/json":
        yield "done", await response.json()
        return
    reader = EventReader()
    async for line in response.content:
        if event := reader.read(line):
            yield event
