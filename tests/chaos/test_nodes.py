"""Nodes of a cluster are lost under load, and Ray's own state is away: no reply is lost, and none differs."""

import sys
from collections.abc import Iterator

import pytest

from tests.chaos.faults import break_under_load, pinger_of
from tests.chaos.nodes import NODE_FAULTS, NODE_FAULTS_IN_SHORT, Nodes, has_redis, nodes_to_break
from tests.chaos.pinger import Pinger

pytestmark = pytest.mark.skipif(not has_redis(), reason="needs redis-server")


@pytest.fixture(scope="module")
def nodes(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Nodes]:
    with nodes_to_break(tmp_path_factory.mktemp("nodes")) as running:
        yield running


@pytest.fixture(scope="module")
def pinger(nodes: Nodes) -> Pinger:
    return pinger_of(nodes)


@pytest.mark.parametrize("fault", NODE_FAULTS_IN_SHORT)
def test_nothing_is_lost_and_nothing_differs(nodes: Nodes, pinger: Pinger, fault: str) -> None:
    assert len({replica["node_id"] for replica in nodes.replicas()}) == 2
    record, recovered_s = break_under_load(nodes, pinger, fault, lambda: NODE_FAULTS[fault](nodes))
    sys.stdout.write(f"{fault}: {record.line} recovered after {recovered_s:.1f} s\n")
    assert not record.lost and not record.wrong
    assert record.identical == record.sent
    if "of a node" in fault:
        assert record.taken_over + record.asked_again, "the node wrote nothing when it broke: nothing was shown"
