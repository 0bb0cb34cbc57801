"""The simulated service: its times are the model's, its decisions the service's own."""

import pytest

from capacity.policies import OURS, POLICIES, SERVE
from capacity.service_times import ServiceTimes
from capacity.simulation import Run, Simulation
from capacity.traces import Arrival, burst, steady
from serve_app.settings import AppArgs

ARGS = AppArgs(model="simulated", slots=2, max_waiting=2, request_timeout_s=60)
TIMES = ServiceTimes(
    machine="none",
    model="none",
    commit="none",
    step_s=0.1,
    step_per_reply_s=0.0,
    encode_per_token_s=0.001,
    encode_s=0.0,
    start_s=5.0,
    ingress_s=0.5,
    shared_cores=2.0,
)


def simulated(*arrivals: Arrival, args: AppArgs = ARGS, times: ServiceTimes = TIMES, replicas: int = 1) -> Run:
    return Simulation(args, times, replicas=replicas).run(arrivals)


def test_one_request_takes_its_encoding_and_its_steps() -> None:
    (outcome,) = simulated(Arrival(3.0, 100, 4)).outcomes
    assert outcome.at_s == 3.0
    assert outcome.first_token_s == pytest.approx(0.1 + 0.1 + 0.5)
    assert outcome.total_s == pytest.approx(0.1 + 4 * 0.1 + 0.5)


def test_slots_are_shared_and_who_finds_none_waits() -> None:
    outcomes = simulated(*(Arrival(0.0, 0, 10) for _ in range(3))).outcomes
    assert [outcome.total_s for outcome in outcomes] == pytest.approx([1.5, 1.6, 2.5])  # steps do not wait


def test_beyond_slots_and_queue_requests_are_refused() -> None:
    run = simulated(*(Arrival(0.0, 0, 10) for _ in range(7)))
    assert (len(run.outcomes), run.refused) == (7, 3)


def test_a_deadline_ends_a_reply() -> None:
    args = ARGS.model_copy(update={"request_timeout_s": 1.0})
    run = simulated(Arrival(0.0, 0, 5), Arrival(0.0, 0, 20), args=args)
    assert [outcome.total_s is None for outcome in run.outcomes] == [False, True]
    assert run.refused == 0


def test_two_replicas_share_the_load() -> None:
    run = simulated(*(Arrival(0.0, 0, 10) for _ in range(4)), replicas=2)
    assert run.latencies_s == pytest.approx([1.5, 1.5, 1.6, 1.6])
    assert (run.latency_s(0.5), run.latency_s(0.95)) == pytest.approx((1.5, 1.6))


def test_a_replica_beside_others_is_slower() -> None:
    (outcome,) = simulated(Arrival(0.0, 100, 4), times=TIMES.beside_others()).outcomes
    assert outcome.total_s == pytest.approx(2 * (0.1 + 4 * 0.1) + 0.5)


def test_replicas_come_after_their_start_and_go_without_cutting_a_reply() -> None:
    config = POLICIES[OURS].model_copy(
        update={"max_replicas": 2, "upscale_delay_s": 0, "downscale_delay_s": 2, "look_back_period_s": 2}
    )
    arrivals = [Arrival(0.0, 0, 200), Arrival(0.1, 0, 200), Arrival(8.0, 0, 100), Arrival(30.0, 0, 100)]
    run = Simulation(ARGS, TIMES, autoscaling=config).run(arrivals)
    ready = {at_s: count for at_s, count, _ in run.replicas}
    assert (ready[1.0], ready[5.0], ready[7.0]) == (1, 1, 2)
    assert ready[max(ready)] == 1
    assert len(run.latencies_s) == 4  # all of them complete


def test_the_same_seed_gives_the_same_run() -> None:
    trace = steady(3.0, 20)
    first, second = (simulated(*trace.arrivals()).outcomes for _ in range(2))
    assert first == second


def test_what_a_replica_can_write_is_the_better_measure() -> None:
    """On a burst: no more refusals, a shorter p95, for no more replicas."""
    args, trace = AppArgs(model="simulated"), burst(5, 40, 200)
    times = TIMES.model_copy(update={"step_s": 0.004, "step_per_reply_s": 0.0005, "encode_per_token_s": 0.00026})
    runs = {
        name: Simulation(args, times, autoscaling=config).run(trace.arrivals()) for name, config in POLICIES.items()
    }
    assert runs[OURS].refused <= runs[SERVE].refused
    assert runs[OURS].replica_seconds <= runs[SERVE].replica_seconds
    assert runs[OURS].latency_s(0.95) < runs[SERVE].latency_s(0.95)
