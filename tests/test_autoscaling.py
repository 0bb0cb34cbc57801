"""The autoscaling policy by itself, and through Serve's own delays and bounds."""

from typing import Any

import pytest
from ray.serve.config import AutoscalingConfig

from capacity.autoscaler import Autoscaler
from serve_app.autoscaling import by_slots

POLICY = {"policy_function": "serve_app.autoscaling:by_slots"}


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
    for replica, (active, waiting) in enumerate(loads):
        scaler.observe(replica, 0.0, slots=16, active=active, waiting=waiting)
    return scaler.decide(0.0, target=target or len(loads) or 1, running=list(range(len(loads))), queued=queued)


@pytest.mark.parametrize(
    ("loads", "replicas"),
    [
        ([(0, 0)], 1),
        ([(12, 0)], 1),
        ([(13, 0)], 2),  # more than three quarters of the slots
        ([(16, 32)], 4),  # 48 requests, 12 a replica
        ([(16, 0), (0, 0)], 2),  # between half and three quarters: it stays
        ([(7, 0), (7, 0)], 2),
        ([(4, 0), (4, 0)], 1),
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


def test_a_burst_is_seen_at_once_and_its_end_after_the_look_back_period() -> None:
    scaler = Autoscaler(config())
    for second in range(4):
        scaler.observe(0, second, slots=16, active=2, waiting=0)
    scaler.observe(0, 4, slots=16, active=16, waiting=32)
    assert scaler.decide(4, target=1, running=[0]) == 4
    scaler.observe(0, 5, slots=16, active=0, waiting=0)
    assert scaler.decide(5, target=4, running=[0]) in (2, 3)  # the mean still remembers it
    for second in range(6, 12):
        scaler.observe(0, second, slots=16, active=0, waiting=0)
    assert scaler.decide(11, target=4, running=[0]) == 1


def test_serves_delays_hold() -> None:
    scaler = Autoscaler(config(upscale_delay_s=3))
    scaler.observe(0, 0, slots=16, active=16, waiting=8)
    assert [scaler.decide(now, target=1, running=[0]) for now in (0.0, 2.0, 3.0)] == [1, 1, 2]


def test_serve_can_send_it_by_value() -> None:
    """The controller need not be able to import this project."""
    policy = config().policy
    assert policy.get_serialized_policy_def()
    assert policy.get_policy().__name__ == by_slots.__name__
