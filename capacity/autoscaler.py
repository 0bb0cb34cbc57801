"""Serve's own autoscaling, its delays and bounds included, on simulated time."""

import math
from collections import deque
from collections.abc import Callable
from typing import Any
from unittest import mock

from ray.serve import autoscaling_policy
from ray.serve._private.common import DeploymentID, ReplicaID, TimeStampedValue
from ray.serve.config import AutoscalingConfig, AutoscalingContext

Policy = Callable[[AutoscalingContext], tuple[float, dict[str, Any]]]

_DEPLOYMENT = DeploymentID("GodelModel", "godel")


class Autoscaler:
    """One deployment's. `observe` each replica every metrics interval, then `decide`."""

    def __init__(self, config: AutoscalingConfig) -> None:
        self._config = config
        # As Serve's DeploymentAutoscalingState makes it of the configuration.
        self._policy = autoscaling_policy._apply_autoscaling_config(config.policy.get_policy())
        self._state: dict[str, Any] = {}
        self._series: dict[int, dict[str, deque[TimeStampedValue]]] = {}

    def observe(
        self, replica: int, now: float, *, slots: int, active: int, waiting: int, tokens_per_second: float
    ) -> None:
        """What `GodelModel.record_autoscaling_stats` and Serve's own count of ongoing requests say."""
        values = {
            "slots": slots,
            "active": active,
            "waiting": waiting,
            "tokens_per_second": tokens_per_second,
            "ongoing": active + waiting,
        }
        kept = self._series.setdefault(replica, {})
        for name, value in values.items():
            series = kept.setdefault(name, deque())
            series.append(TimeStampedValue(now, value))
            while series[0].timestamp < now - self._config.look_back_period_s:
                series.popleft()

    def decide(self, now: float, *, target: int, running: list[int], queued: int = 0) -> int:
        """How many replicas there should be. queued: requests that no replica holds."""
        self._series = {replica: series for replica, series in self._series.items() if replica in running}
        ids = {replica: ReplicaID(str(replica), _DEPLOYMENT) for replica in running}
        names = {name for series in self._series.values() for name in series}
        raw = {name: {ids[replica]: list(kept[name]) for replica, kept in self._series.items()} for name in names}
        means = {
            name: {replica: _mean(series) for replica, series in by_replica.items()} for name, by_replica in raw.items()
        }
        context = AutoscalingContext(
            deployment_id=_DEPLOYMENT,
            deployment_name=_DEPLOYMENT.name,
            app_name=_DEPLOYMENT.app_name,
            current_num_replicas=len(running),
            target_num_replicas=target,
            running_replicas=list(ids.values()),
            total_num_requests=sum(means.get("ongoing", {}).values()) + queued,
            total_queued_requests=queued,
            aggregated_metrics=means,
            raw_metrics=raw,
            capacity_adjusted_min_replicas=self._config.min_replicas,
            capacity_adjusted_max_replicas=self._config.max_replicas,
            policy_state=self._state.copy(),
            last_scale_up_time=None,
            last_scale_down_time=None,
            current_time=now,
            config=self._config,
        )
        with mock.patch("ray.serve.autoscaling_policy.time.time", lambda: now):  # by which Serve measures its delays
            decided, self._state = self._policy(context)
        return min(max(math.ceil(decided), self._config.min_replicas), self._config.max_replicas)


def _mean(series: list[TimeStampedValue]) -> float:
    return sum(point.value for point in series) / len(series)
