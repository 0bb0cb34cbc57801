"""What is read off the controller's details, and that it is asked rarely and never waited for in vain."""

from typing import Any

import pytest

from serve_app import controller
from serve_app.controller import Controller, read
from serve_app.messages import DeployedReplica


def details(*states: str) -> dict[str, Any]:
    """As Serve's controller gives them, for one deployment."""
    replicas = [
        {"replica_id": f"r{n}", "actor_id": f"a{n}", "node_id": "n1", "state": state}
        for n, state in enumerate(states, 1)
    ]
    return {"target_num_replicas": 3, "replicas": replicas}


@pytest.mark.parametrize(
    ("state", "stage"),
    [
        ("STARTING", "STARTING"),
        ("UPDATING", "STARTING"),
        ("RECOVERING", "STARTING"),
        ("RUNNING", "RUNNING"),
        ("STOPPING", "DRAINING"),
        ("PENDING_MIGRATION", "DRAINING"),
    ],
)
def test_serves_states_are_three_stages_here(state: str, stage: Any) -> None:
    assert read(details(state)).replicas == (DeployedReplica("r1", "a1", "n1", stage),)


def test_a_replica_that_is_not_placed_has_no_node_and_one_that_has_stopped_is_none() -> None:
    told = details("STARTING", "STOPPED")
    told["replicas"][0]["node_id"] = None
    assert read(told).replicas == (DeployedReplica("r1", "a1", "", "STARTING"),)
    assert read(told).target == 3


class FakeClient:
    """Serve's client; counts the questions, and fails where it has nothing to say."""

    def __init__(self, said: dict[str, Any] | None) -> None:
        self._said = said
        self.asked = 0
        self._controller = self.get_serve_instance_details = self

    async def remote(self) -> dict[str, Any]:
        self.asked += 1
        if self._said is None:
            raise RuntimeError("the controller is restarting")
        return {"applications": {"godel": {"deployments": {"GodelModel": self._said}}}}


@pytest.mark.parametrize("said", [details("RUNNING"), None])
async def test_it_is_asked_once_a_second_whether_it_answers_or_not(
    monkeypatch: pytest.MonkeyPatch, said: dict[str, Any] | None
) -> None:
    client = FakeClient(said)
    monkeypatch.setattr(controller, "_get_global_client", lambda: client)
    asking = Controller("godel", "GodelModel")
    answers = [await asking.deployed() for _ in range(3)]
    assert client.asked == 1
    assert answers == [read(said) if said else None] * 3
