"""Serve's choice among the model replicas, around those that this process takes for stalled.

Serve itself keeps sending to a replica that hangs: it remembers how long a replica's queue was, and asks again only
when that is old.
"""

import random

# Serve's default router, which has no public path.
from ray.serve._private.request_router.pow_2_router import PowerOfTwoChoicesRequestRouter
from ray.serve.request_router import PendingRequest, RunningReplica

# Replica ids. The router lives in the ingress's process, but Serve makes it: this is how the two meet.
AVOIDED: set[str] = set()


class AroundStalled(PowerOfTwoChoicesRequestRouter):
    """The less busy of two, drawn from the replicas that are not avoided; from all where all are."""

    async def choose_replicas(
        self, candidate_replicas: list[RunningReplica], pending_request: PendingRequest | None = None
    ) -> list[list[RunningReplica]]:
        moving = [replica for replica in candidate_replicas if replica.replica_id.unique_id not in AVOIDED]
        if not moving or len(moving) == len(candidate_replicas):
            return await super().choose_replicas(candidate_replicas, pending_request)
        return [random.sample(moving, min(2, len(moving)))]
