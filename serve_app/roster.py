"""Pure: all model replicas, from what they say themselves and from what Serve's controller says of them."""

from collections.abc import Sequence
from dataclasses import asdict

from serve_app.messages import Deployed, DeployedReplica, Replica, ReplicaStatus, Stage, State


def roster(heard: Sequence[tuple[ReplicaStatus, State]], deployed: Deployed | None) -> list[Replica]:
    """Those that were heard, then those that only the controller knows. `deployed`: None where it does not answer."""
    known = {each.replica_id: each for each in deployed.replicas} if deployed else {}
    speaking = [_speaking(status, state, known.pop(status.origin.replica_id, None)) for status, state in heard]
    return speaking + [_silent(each) for each in known.values()]


def _speaking(status: ReplicaStatus, state: State, known: DeployedReplica | None) -> Replica:
    """That it goes, or has died since it spoke, is of more interest than that it was well."""
    shown: State | Stage = known.stage if known and known.stage in ("DRAINING", "LOST") else state
    return Replica.model_validate(asdict(status) | status.origin.names | {"state": shown})


def _silent(known: DeployedReplica) -> Replica:
    """One that runs and was never heard has only just begun to."""
    stage = "STARTING" if known.stage == "RUNNING" else known.stage
    return Replica(replica_id=known.replica_id, node_id=known.node_id, podName="", nodeName="", state=stage)
