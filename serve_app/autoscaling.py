"""How many model replicas: by their free slots and by who waits for one. A policy of Ray Serve's autoscaler.

Serve's own policy sees requests, averaged over `look_back_period_s`, and knows no slots: a burst has to last before it
shows, and a replica's capacity is a guess, `target_ongoing_requests`. This one asks the engines what they hold now.

`autoscaling_config.policy` in serve_config.yaml names it. Serve sends the function to its controller by value, so it
needs nothing of this project; and applies `min_replicas`, `max_replicas` and the delays to what it returns.
"""

from typing import Any

from ray.serve.config import AutoscalingContext

BUSY = 0.75  # share of the slots that may be taken before there are more replicas
IDLE = 0.5  # share that must be taken, over the look-back period, for there to be no fewer


def by_slots(context: AutoscalingContext) -> tuple[float, dict[str, Any]]:
    """The replicas that the work at hand needs, waiting requests included; the policy's state is empty.

    Between IDLE and BUSY nothing changes, so that a load that stays does not make replicas come and go.
    """
    target = context.target_num_replicas
    raw, means = context.raw_metrics or {}, context.aggregated_metrics or {}
    slots = [series[-1].value for series in raw.get("slots", {}).values() if series]
    if not slots:
        return target, {}  # those that start have not reported yet
    of_one = sum(slots) / len(slots)
    now = sum(series[-1].value for name in ("active", "waiting") for series in raw.get(name, {}).values() if series)
    lately = sum(mean for name in ("active", "waiting") for mean in means.get(name, {}).values())
    needed = (now + context.total_queued_requests) / (BUSY * of_one)
    if needed > target:
        return needed, {}
    return max(needed, min(target, lately / (IDLE * of_one))), {}
