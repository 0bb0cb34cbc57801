"""What is known of the cluster, over several answers of the backend."""

from typing import Any

import pytest

from frontend.cluster import INGRESS_SECONDS, LOST_SECONDS, SAMPLES, Cluster, ClusterMemory, Told, sparkline
from frontend.errors import Unavailable
from tests.support.stub_backend import cluster, replica


def told(*replicas: dict[str, Any], **values: Any) -> Told:
    return Told.model_validate(cluster(*replicas, **values))


def states(known: Cluster) -> dict[str, str]:
    return {each.replica.replica_id: each.replica.state for each in known.replicas}


def changes(known: Cluster) -> list[tuple[str, str]]:
    """Oldest first."""
    return [(each.replica_id, each.state) for each in reversed(known.changes)]


@pytest.fixture
def memory() -> ClusterMemory:
    return ClusterMemory()


def test_who_is_there_at_first_is_no_change_and_who_comes_is_one(memory: ClusterMemory) -> None:
    assert changes(memory.hear(told(replica("r1")), 0)) == []
    known = memory.hear(told(replica("r1"), replica("r2", "STARTING"), target=2), 1)
    assert states(known) == {"r1": "RUNNING", "r2": "STARTING"}
    assert known.target == 2
    known = memory.hear(told(replica("r1"), replica("r2")), 2)
    assert changes(known) == [("r2", "STARTING"), ("r2", "RUNNING")]


def test_a_replica_that_drained_is_gone_and_one_that_vanished_is_lost_for_a_while(memory: ClusterMemory) -> None:
    memory.hear(told(replica("r1"), replica("r2"), replica("r3")), 0)
    memory.hear(told(replica("r1", "DRAINING"), replica("r2"), replica("r3")), 1)
    known = memory.hear(told(replica("r3")), 2)
    assert states(known) == {"r2": "LOST", "r3": "RUNNING"}
    assert changes(known) == [("r1", "DRAINING"), ("r1", "GONE"), ("r2", "LOST")]
    assert states(memory.hear(told(replica("r3")), 1 + LOST_SECONDS)) == {"r2": "LOST", "r3": "RUNNING"}
    assert states(memory.hear(told(replica("r3")), 2 + LOST_SECONDS)) == {"r3": "RUNNING"}


def test_a_death_that_one_ingress_has_seen_is_not_taken_back_by_another(memory: ClusterMemory) -> None:
    memory.hear(told(replica("r1")), 0)
    memory.hear(told(replica("r1", "LOST")), 1)
    known = memory.hear(told(replica("r1", "DRAINING")), 2)
    assert states(known) == {"r1": "LOST"}
    known = memory.hear(told(), 3)
    assert changes(known) == [("r1", "LOST")]


def test_a_replica_that_drains_keeps_the_pod_that_it_named_before(memory: ClusterMemory) -> None:
    memory.hear(told(replica("r1")), 0)
    (known,) = memory.hear(told(replica("r1", "DRAINING")), 1).replicas
    assert (known.replica.pod_name, known.replica.node_name, known.replica.slots) == ("godel-worker-0", "node-a", None)


def test_the_last_minutes_speeds_are_kept(memory: ClusterMemory) -> None:
    for second in range(SAMPLES + 5):
        known = memory.hear(told(replica("r1", tokens_per_second=float(second))), second)
    assert known.replicas[0].speeds == tuple(float(second) for second in range(5, SAMPLES + 5))


def test_each_ingress_is_known_by_its_last_answer_until_it_is_silent_for_long(memory: ClusterMemory) -> None:
    memory.hear(told(ingress="i1", version="old"), 0)
    memory.hear(told(ingress="i2", version="new"), 1)
    known = memory.hear(told(ingress="i2", version="new"), 2)
    assert [(each.replica_id, each.config_version) for each in known.ingresses] == [("i1", "old"), ("i2", "new")]
    known = memory.hear(told(ingress="i2", version="new"), INGRESS_SECONDS)
    assert [each.replica_id for each in known.ingresses] == ["i2"]


def test_a_replica_that_has_run_never_starts_again(memory: ClusterMemory) -> None:
    """On a real Ray, one that was killed was for a moment neither heard nor known to be dead: it seemed to start."""
    memory.hear(told(replica("r1")), 0)
    memory.hear(told(replica("r1", "STARTING")), 1)
    known = memory.hear(told(replica("r1", "LOST")), 2)
    assert (states(known), changes(known)) == ({"r1": "LOST"}, [("r1", "LOST")])
    assert states(memory.hear(told(replica("r1", "STARTING")), 3)) == {"r1": "LOST"}


def test_without_an_answer_all_is_as_it_was_and_the_trouble_is_told(memory: ClusterMemory) -> None:
    memory.hear(told(replica("r1")), 0)
    away = Unavailable("It is away.")
    known = memory.fail(away)
    assert (states(known), known.trouble) == ({"r1": "RUNNING"}, away)
    assert memory.hear(told(replica("r1")), 2).trouble is None


@pytest.mark.parametrize("odd", [{"replicas": 3}, {"replicas": [None, 3, {"slots": "many"}]}, {}])
def test_what_is_odd_in_an_answer_is_as_good_as_not_said(odd: dict[str, Any]) -> None:
    try:
        known = ClusterMemory().hear(Told.model_validate(odd), 0)
    except ValueError:
        assert odd == {"replicas": 3}  # no list at all is no answer
    else:
        assert all(each.replica.slots is None for each in known.replicas)


def test_a_sparkline_ends_at_the_right_edge() -> None:
    assert sparkline([0, 5, 10], most=10, width=59, height=20) == "57.0,20.0 58.0,10.0 59.0,0.0"
    assert sparkline([0], most=0, width=59, height=20) == "59.0,20.0"
