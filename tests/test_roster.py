"""All replicas in one list: what each says, and what only Serve's controller knows."""

import pytest

from serve_app.messages import Deployed, DeployedReplica, ReplicaStatus, Stage, State
from serve_app.roster import roster
from tests.support.fakes import ORIGIN

STATUS = ReplicaStatus(ORIGIN, slots=4, active=1, waiting=2, tokens_per_second=3.5)


def listed(state: State, *stages: Stage) -> list[str]:
    """The states of r1, which was heard, and of as many others as there are further stages."""
    replicas = tuple(DeployedReplica(f"r{number}", f"a{number}", "n1", stage) for number, stage in enumerate(stages, 1))
    return [each.state for each in roster([(STATUS, state)], Deployed(1, replicas))]


@pytest.mark.parametrize(
    ("state", "stages", "shown"),
    [
        ("RUNNING", ("RUNNING",), ["RUNNING"]),
        ("STALLED", ("RUNNING",), ["STALLED"]),
        ("RUNNING", ("DRAINING",), ["DRAINING"]),
        ("RUNNING", ("LOST",), ["LOST"]),
        ("RUNNING", ("RUNNING", "STARTING", "DRAINING"), ["RUNNING", "STARTING", "DRAINING"]),
        ("RUNNING", ("RUNNING", "RUNNING"), ["RUNNING", "STARTING"]),  # the second has not been heard yet
        ("LATE", (), ["LATE"]),  # the controller knows nothing of it any more; it is heard until it is not
    ],
)
def test_a_replica_is_as_it_says_unless_it_is_to_go_or_has_not_spoken(
    state: State, stages: tuple[Stage, ...], shown: list[str]
) -> None:
    assert listed(state, *stages) == shown


def test_without_the_controller_those_that_were_heard_are_listed() -> None:
    (replica,) = roster([(STATUS, "RUNNING")], None)
    assert (replica.replica_id, replica.podName, replica.active) == ("r1", "pod-1", 1)
