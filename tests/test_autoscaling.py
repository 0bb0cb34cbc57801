"""The autoscaling policy by itself, and through Serve's own delays and bounds."""

from typing import Any

import pytest
from ray.serve.config import AutoscalingConfig

from capacity.autoscaler import Autoscaler
from serve_app.autoscaling import by_capacity

POLICY = {"policy_function": "serve_app.autoscaling:by_capacity"}


def config(**changed: Any) -> AutoscalingConfig:
    plain = {
        "min_replicas": 1,
        "max_replicas": 8,
        "upscale_delay_s": 0,
        "downscale_delay_s": 0,
        "look_back_period_s": 5,
        "metrics_interval_s": 1,
    }
    return AutoscalingConfig(**plain | {"policy": POLICY} | changed)


def decided(*loads: tuple[int, int], target: int | None = None, queued: int = 0, **changed: Any) -> int:
    """loads: of each replica of 16 slots, how many are active and how many wait."""
    scaler = Autoscaler(config(**changed))
    observe(scaler, 0.0, *loads)
    return scaler.decide(0.0, target=target or len(loads) or 1, running=list(range(len(loads))), queued=queued)


def observe(scaler: Autoscaler, now: float, *loads: tuple[int, int], tokens_per_second: float = 0.0) -> None:
    for replica, (active, waiting) in enumerate(loads):
        scaler.observe(replica, now, slots=16, active=active, waiting=waiting, tokens_per_second=tokens_per_second)


@pytest.mark.parametrize(
    ("loads", "replicas"),
    [
        ([(0, 0)], 1),
        ([(12, 0)], 1),
        ([(13, 0)], 2),  # more than three quarters of the slots
        ([(16, 32)], 4),  # 48 requests, 12 a replica
        ([(9, 0), (9, 0)], 2),  # more than half: none goes
        ([(4, 0)] * 4, 3),  # it is not known what one can write: one at a time
        ([(16, 64)] * 4, 8),  # no more than max_replicas
    ],
)
def test_as_many_as_the_work_needs(loads: list[tuple[int, int]], replicas: int) -> None:
    assert decided(*loads) == replicas


def test_replicas_that_start_are_waited_for() -> None:
    assert decided((16, 8), target=2) == 2
    assert decided(target=3) == 3  # none has reported yet


def test_requests_that_no_replica_holds_count() -> None:
    assert decided((12, 0), queued=20) == 3


def test_to_zero_and_back() -> None:
    """The last replica goes when nothing is written any more, and the first request brings one."""
    scaler = Autoscaler(config(min_replicas=0))
    observe(scaler, 0, (1, 0), tokens_per_second=50)
    assert scaler.decide(0, target=1, running=[0]) == 1
    observe(scaler, 10, (0, 0))
    assert scaler.decide(10, target=1, running=[0]) == 0
    assert scaler.decide(20, target=0, running=[]) == 0
    assert scaler.decide(30, target=0, running=[], queued=5) == 1
    assert scaler.decide(31, target=1, running=[], queued=9) == 1  # it has not reported yet


@pytest.mark.parametrize(("written", "replicas"), [(80, 4), (60, 4), (50, 3), (20, 2), (1, 1)])
def test_replicas_go_only_if_the_others_can_write_what_is_written_now(written: float, replicas: int) -> None:
    """Small batches are quick: four replicas that hold little may still be needed."""
    scaler = Autoscaler(config())
    observe(scaler, 0, (16, 4), tokens_per_second=100)  # what a full one writes
    assert scaler.decide(0, target=1, running=[0]) == 2
    observe(scaler, 10, *[(2, 0)] * 4, tokens_per_second=written)
    assert scaler.decide(10, target=4, running=[0, 1, 2, 3]) == replicas


def test_a_burst_is_seen_at_once_and_its_end_after_the_look_back_period() -> None:
    scaler = Autoscaler(config())
    for second in range(4):
        observe(scaler, second, (2, 0), tokens_per_second=20)
    observe(scaler, 4, (16, 32), tokens_per_second=100)
    assert scaler.decide(4, target=1, running=[0]) == 4
    for second in range(6, 12):
        observe(scaler, second, (0, 0))
    assert scaler.decide(11, target=4, running=[0]) == 1


def test_serves_delays_hold() -> None:
    scaler = Autoscaler(config(upscale_delay_s=3))
    observe(scaler, 0, (16, 8))
    assert [scaler.decide(now, target=1, running=[0]) for now in (0.0, 2.0, 3.0)] == [1, 1, 2]


def test_serve_can_send_it_by_value() -> None:
    """The controller need not be able to import this project."""
    policy = config().policy
    assert policy.get_serialized_policy_def()
    assert policy.get_policy().__name__ == by_capacity.__name__
