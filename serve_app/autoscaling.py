"""How many model replicas: up by their free slots and by who waits, down by what they can write. A policy of Serve's.

Serve's own policy counts requests, averaged over `look_back_period_s`, against a target for each replica. For an engine
that batches this has two faults. A burst has to last before it shows. And once replicas have come, each holds few
requests, since a small batch is quick: the count falls by more than the load did, replicas go, and the next burst
of refusals brings them back. (docs/scaling.md shows both.) So this policy asks the engines what they hold now; and
lets replicas go only if the rest can write as many tokens a second as are written now, by what a full one has shown.

`autoscaling_config.policy` in serve_config.yaml names it. Serve sends the function to its controller by value, so it
needs nothing of this project; and applies `min_replicas`, `max_replicas` and the delays to what it returns.
"""

from typing import Any

from ray.serve.config import AutoscalingContext

BUSY = 0.75  # share of the slots, and of the tokens/s, that may be used before there are more replicas
IDLE = 0.5  # of the slots: if more are taken over the look-back period, no replica goes


def by_capacity(context: AutoscalingContext) -> tuple[float, dict[str, Any]]:
    """How many replicas the work at hand needs, waiting requests included.

    The state holds `capacity`: the most tokens/s that a replica with a queue has written. Until one had a queue,
    replicas go one at a time.
    """
    raw, means = context.raw_metrics or {}, context.aggregated_metrics or {}
    newest = {
        name: {replica: series[-1].value for replica, series in of_replicas.items() if series}
        for name, of_replicas in raw.items()
    }
    lately = {name: sum(of_replicas.values()) for name, of_replicas in means.items()}
    target, state = context.target_num_replicas, {"capacity": context.policy_state.get("capacity", 0.0)}
    if not newest.get("slots"):
        # Those that start have not reported yet; of none at all, the first request has one started.
        return max(target, min(context.total_queued_requests, 1)), state
    for replica, waiting in newest["waiting"].items():
        if waiting:
            state["capacity"] = max(state["capacity"], newest["tokens_per_second"].get(replica, 0.0))
    slots = sum(newest["slots"].values()) / len(newest["slots"])
    held = sum(newest["active"].values()) + sum(newest["waiting"].values()) + context.total_queued_requests
    needed = held / (BUSY * slots)
    if needed > target or lately["active"] + lately["waiting"] > IDLE * slots * target:
        return max(needed, target), state
    writing = lately["tokens_per_second"] / (BUSY * state["capacity"]) if state["capacity"] else target - 1
    return min(target, max(needed, writing)), state
