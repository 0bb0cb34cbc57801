"""Which Serve replica this process is, and where it runs."""

import os
import socket

import ray
from ray import serve

from serve_app.messages import Origin


def here() -> Origin:
    """Pod and node as Kubernetes names them (downward API), else this host. Only in a Serve replica."""
    host = socket.gethostname()
    return Origin(
        replica_id=serve.get_replica_context().replica_id.unique_id,
        node_id=ray.get_runtime_context().get_node_id(),
        pod_name=os.environ.get("POD_NAME", host),
        node_name=os.environ.get("NODE_NAME", host),
    )
