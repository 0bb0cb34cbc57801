"""What the peers on Ray Serve share."""

import os
from typing import Any

from ray import serve
from ray.serve import Application, Deployment


def application(peer: type, args: dict[str, Any]) -> Application:
    """One replica, which gets all cores, and with them as many threads."""
    deployment: Deployment = serve.deployment(
        max_ongoing_requests=64,  # more than a batch holds: the next one fills while one runs
        ray_actor_options={"num_cpus": os.cpu_count()},
    )(peer)
    return deployment.bind(**args)
