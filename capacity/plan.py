"""How many replicas, ingresses and nodes a rate of requests needs, what that costs, and what gives way first."""

import math
from collections.abc import Iterator
from dataclasses import dataclass

from capacity.service_times import ServiceTimes
from capacity.simulation import Run, Simulation
from capacity.traces import steady
from serve_app.model_pool import poll_s
from serve_app.settings import AppArgs

RATES = (10.0, 1_000.0, 100_000.0)
_CELL = 8  # replicas that are simulated together; more share a load no worse, so what holds for a cell holds for many
_SECONDS = 60.0
_WARM_UP_S = 10.0
_REFUSED = 0.001  # share of the requests that may be refused
_STEPS = 6  # of the bisection: the rate of a cell is found to within 1/64


@dataclass(frozen=True)
class Limits:
    """What one of each can carry. Where each comes from is said in docs/scaling.md."""

    p95_s: float = 3.0
    ingress_rate: float = 110.0  # requests/s of an ingress replica, which has one core: 6 ms each, two thirds busy
    replicas_per_node: int = 4
    node_price: float = 0.20  # an hour, for a node that holds `replicas_per_node` and its share of the ingresses


@dataclass(frozen=True)
class Plan:
    rate: float
    replica_rate: float  # requests/s of one replica
    replicas: int
    ingresses: int
    nodes: int
    price: float  # an hour
    p95_s: float
    polls: int  # status calls a second: each ingress asks every replica


def plan(rate: float, times: ServiceTimes, limits: Limits) -> Plan:
    """The least that carries `rate` requests/s with p95 within the limit."""
    replica_rate, run = replica_capacity(times, limits)
    replicas = max(2, math.ceil(rate / replica_rate))  # two, so that one may be lost
    ingresses = max(2, math.ceil(rate / limits.ingress_rate))
    nodes = max(2, math.ceil(replicas / limits.replicas_per_node))
    return Plan(
        rate=rate,
        replica_rate=replica_rate,
        replicas=replicas,
        ingresses=ingresses,
        nodes=nodes,
        price=nodes * limits.node_price,
        p95_s=run.latency_s(0.95),
        polls=round(replicas * ingresses / poll_s(replicas)),
    )


def replica_capacity(times: ServiceTimes, limits: Limits) -> tuple[float, Run]:
    """Requests/s that one replica of many carries within the limits, by bisection; and the run that shows it."""
    low, high = 0.0, _upper_bound(times)
    best = Run()
    for _ in range(_STEPS):
        middle = (low + high) / 2
        run = _cell(middle, times)
        if run.latency_s(0.95) <= limits.p95_s and run.refused <= _REFUSED * len(run.outcomes):
            low, best = middle, run
        else:
            high = middle
    return low, best


def _cell(replica_rate: float, times: ServiceTimes) -> Run:
    simulation = Simulation(AppArgs(model="simulated"), times, replicas=_CELL)
    run = simulation.run(steady(replica_rate * _CELL, _WARM_UP_S + _SECONDS).arrivals())
    warm = [outcome for outcome in run.outcomes if outcome.at_s >= _WARM_UP_S]
    return Run(warm, run.replicas, run.replica_seconds)


def _upper_bound(times: ServiceTimes) -> float:
    """Requests/s of a replica whose slots are always full and whose prompts cost nothing."""
    slots, reply_tokens = 16, 24
    return slots / (reply_tokens * times.step(slots))


def table(plans: list[Plan]) -> Iterator[str]:
    """As Markdown."""
    yield "| requests/s | model replicas | ingresses | nodes | p95 | an hour | status calls/s |"
    yield "|---|---|---|---|---|---|---|"
    for each in plans:
        yield (
            f"| {each.rate:,.0f} | {each.replicas:,} | {each.ingresses:,} | {each.nodes:,} | {each.p95_s:.1f} s "
            f"| {each.price:,.2f} | {each.polls:,} |"
        )
