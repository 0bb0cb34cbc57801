"""A discrete-event simulation of the service: admission, routing, replicas, autoscaling; in seconds of simulated time.

Who is admitted, who runs and who leaves is decided by the service's own `Admission` and `Scheduler`, how many replicas
there are by Serve's autoscaling code. Only times are modelled (`ServiceTimes`), and Serve's router, which asks two
replicas and takes the less loaded one.
"""

import heapq
import itertools
import math
import random
from collections import deque
from collections.abc import Callable, Iterable
from contextlib import AbstractContextManager
from dataclasses import dataclass, field

from ray.serve.config import AutoscalingConfig

from capacity.autoscaler import Autoscaler
from capacity.service_times import ServiceTimes
from capacity.traces import Arrival
from serve_app.admission import Admission
from serve_app.engine.request import Request
from serve_app.engine.scheduler import Scheduler
from serve_app.engine.token_stream import TokenStream
from serve_app.errors import Overloaded
from serve_app.load_report import quantile
from serve_app.messages import Sampling
from serve_app.settings import AppArgs

_NO_TOKEN = -1  # no reply ends by itself: each is as long as its arrival says
_THROUGHPUT_S = 5.0  # over which an engine counts its tokens/s
_METRICS_S = 1.0  # between two reports of a replica, and two decisions


@dataclass(frozen=True)
class Outcome:
    """What became of a request; times since its arrival. Both None: it was refused. No total: its deadline passed."""

    at_s: float
    first_token_s: float | None = None
    total_s: float | None = None


@dataclass
class Run:
    """What a simulation saw. replicas: (time, ready, wanted) at every decision."""

    outcomes: list[Outcome] = field(default_factory=list)
    replicas: list[tuple[float, int, int]] = field(default_factory=list)
    replica_seconds: float = 0.0

    @property
    def latencies_s(self) -> list[float]:
        return sorted(outcome.total_s for outcome in self.outcomes if outcome.total_s is not None)

    def latency_s(self, share: float) -> float:
        """What that share of the complete replies did not exceed; infinite without any."""
        latency = quantile(self.latencies_s, share)
        return math.inf if latency is None else latency

    @property
    def refused(self) -> int:
        return sum(outcome.first_token_s is None and outcome.total_s is None for outcome in self.outcomes)


class _Unread(TokenStream):
    """A stream without a reader, which needs no event loop."""

    def __init__(self) -> None:
        self.cancelled = False


class _Replica:
    """An engine whose steps take modelled times instead of computing."""

    def __init__(self, simulation: "Simulation", name: int) -> None:
        self.name = name
        self.draining = False
        self._simulation = simulation
        self._times = simulation.times
        self._prompt_tokens: dict[tuple[int, ...], int] = {}
        args = simulation.args
        self.scheduler = Scheduler(
            slots=args.slots,
            max_waiting=args.max_waiting,
            prefill_tokens=args.prefill_tokens,
            cost=self._prompt_tokens.__getitem__,
        )
        self._callbacks: dict[Request, tuple[Callable[[], None], Callable[[bool], None]]] = {}
        self._stepping = False
        self._steps: deque[tuple[float, int]] = deque()  # (time, tokens) of the last few seconds

    @property
    def tokens_per_second(self) -> float:
        """Over the last seconds, as the engine counts them."""
        while self._steps and self._steps[0][0] < self._simulation.now - _THROUGHPUT_S:
            self._steps.popleft()
        return sum(tokens for _, tokens in self._steps) / _THROUGHPUT_S

    @property
    def load(self) -> int:
        return len(self.scheduler.waiting) + len(self.scheduler.running)

    def submit(
        self, arrival: Arrival, budget_s: float, on_first: Callable[[], None], on_end: Callable[[bool], None]
    ) -> bool:
        """Take a request; returns False where the queue is full. on_end is told whether the reply is complete."""
        if self.scheduler.full:
            return False
        prompt = (next(self._simulation.numbers),)  # stands for its tokens; no two are alike
        self._prompt_tokens[prompt] = arrival.prompt_tokens
        request = Request(
            prompt=prompt,
            sampling=Sampling(max_length=arrival.reply_tokens + 1),  # with the start token
            start_token=0,
            deadline=self._simulation.now + budget_s,
            stream=_Unread(),
        )
        self._callbacks[request] = (on_first, on_end)
        self.scheduler.add(request)
        if not self._stepping:
            self._step()
        return True

    def _step(self) -> None:
        expired, _ = self.scheduler.drop_expired(self._simulation.now)
        for request in expired:
            self._end(request, complete=False)
        admitted = self.scheduler.admit()
        running = list(self.scheduler.running)
        self._stepping = bool(running)
        if not running:
            return
        prompts = [self._prompt_tokens[request.prompt] for request in admitted]
        duration_s = (self._times.encode(prompts) if prompts else 0.0) + self._times.step(len(running))
        self._simulation.after(duration_s, lambda: self._finish(running))

    def _finish(self, running: list[Request]) -> None:
        self._steps.append((self._simulation.now, len(running)))
        for request in running:
            request.advance(request.next_inputs(len(running)), [0])
            if len(request.tokens) == 2:
                self._callbacks[request][0]()
        complete = [request for request in running if request.ending(_NO_TOKEN)]
        self.scheduler.leave(complete)
        for request in complete:
            self._end(request, complete=True)
        self._step()

    def _end(self, request: Request, *, complete: bool) -> None:
        del self._prompt_tokens[request.prompt]
        self._callbacks.pop(request)[1](complete)


class Simulation:
    """One run: `run` it once."""

    def __init__(
        self,
        args: AppArgs,
        times: ServiceTimes,
        *,
        autoscaling: AutoscalingConfig | None = None,
        replicas: int = 1,
        ingresses: int = 1,
        seed: int = 0,
    ) -> None:
        """replicas: how many are ready at the beginning; they stay as many without `autoscaling`."""
        self.args = args
        self.times = times
        self.now = 0.0
        self.numbers = itertools.count()
        self._chance = random.Random(seed)
        self._events: list[tuple[float, int, Callable[[], None]]] = []
        self._replicas = [_Replica(self, number) for number in range(replicas)]
        self._names = itertools.count(replicas)
        self._target = replicas
        self._starting = 0
        self._autoscaler = Autoscaler(autoscaling) if autoscaling else None
        self._admissions = [Admission(self._slots, args.max_waiting, lambda: self.now) for _ in range(ingresses)]
        self._left = 0  # arrivals that have not ended
        self._result = Run()

    def run(self, arrivals: Iterable[Arrival]) -> Run:
        """Until the last request has ended."""
        pending = iter(arrivals)
        self._next_arrival(pending)
        if self._autoscaler:
            self.after(_METRICS_S, self._scale)
        while self._events and (self._left or len(self._events) > bool(self._autoscaler)):
            at_s, _, happen = heapq.heappop(self._events)
            self._result.replica_seconds += (at_s - self.now) * (len(self._replicas) + self._starting)
            self.now = at_s
            happen()
        return self._result

    def after(self, seconds: float, happen: Callable[[], None]) -> None:
        """Have it happen in so many seconds."""
        heapq.heappush(self._events, (self.now + seconds, next(self.numbers), happen))

    def _slots(self) -> int:
        return self.args.slots * sum(not replica.draining for replica in self._replicas)

    def _next_arrival(self, pending: "Iterable[Arrival]") -> None:
        arrival = next(iter(pending), None)
        if arrival is None:
            return
        self._left += 1

        def arrive() -> None:
            self._arrive(arrival)
            self._next_arrival(pending)

        self.after(max(0.0, arrival.at_s - self.now), arrive)

    def _arrive(self, arrival: Arrival) -> None:
        began = self.now
        budget_s = self.args.request_timeout_s
        place = self._chance.choice(self._admissions).enter(f"client {next(self.numbers)}", budget_s)
        try:
            place.__enter__()
        except Overloaded:
            self._ended(Outcome(began))
            return
        first_token_s: list[float] = []

        def on_end(complete: bool) -> None:
            self._leave(place)
            total_s = self.now - began + self.times.ingress_s if complete else None
            self._ended(Outcome(began, (first_token_s or [self.now - began])[0], total_s))

        def on_first() -> None:
            first_token_s.append(self.now - began + self.times.ingress_s)

        replica = self._route()
        if replica is None or not replica.submit(arrival, budget_s, on_first, on_end):
            self._leave(place)
            self._ended(Outcome(began))

    def _leave(self, place: AbstractContextManager[None]) -> None:
        place.__exit__(None, None, None)

    def _ended(self, outcome: Outcome) -> None:
        self._result.outcomes.append(outcome)
        self._left -= 1

    def _route(self) -> _Replica | None:
        """Of two by chance the less loaded one, as Serve's router chooses."""
        ready = [replica for replica in self._replicas if not replica.draining]
        if not ready:
            return None
        return min(self._chance.sample(ready, min(2, len(ready))), key=lambda replica: replica.load)

    def _scale(self) -> None:
        assert self._autoscaler
        ready = [replica for replica in self._replicas if not replica.draining]
        for replica in ready:
            scheduler = replica.scheduler
            self._autoscaler.observe(
                replica.name,
                self.now,
                slots=self.args.slots,
                active=len(scheduler.running),
                waiting=len(scheduler.waiting),
                tokens_per_second=replica.tokens_per_second,
            )
        running = [replica.name for replica in ready]
        self._target = self._autoscaler.decide(self.now, target=self._target, running=running)
        self._result.replicas.append((self.now, len(ready), self._target))
        for _ in range(self._target - len(ready) - self._starting):
            self._starting += 1
            self.after(self.times.start_s, self._add_replica)
        for replica in sorted(ready, key=lambda replica: replica.load)[: max(0, len(ready) - self._target)]:
            replica.draining = True  # it writes what it has, and goes
        self._replicas = [replica for replica in self._replicas if not replica.draining or replica.load]
        self.after(_METRICS_S, self._scale)

    def _add_replica(self) -> None:
        self._starting -= 1
        self._replicas.append(_Replica(self, next(self._names)))
