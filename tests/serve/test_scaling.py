"""To zero and back: without work the last replica goes, and who asks next has one started, and is told to wait."""

from collections.abc import Iterator
from typing import Any

import pytest
from starlette.testclient import TestClient

from tests.frontend.test_routes import stream
from tests.support.backend import Backend, model_deployment
from tests.support.waiting import eventually

# One backend is enough: its proxy has no part in this.
pytestmark = pytest.mark.parametrize("real_backend", ["haproxy"], indirect=True)


@pytest.fixture
def idle_backend(backend: Backend) -> Iterator[Backend]:
    """Its replica has gone. Autoscaling alone is changed, which starts nothing anew."""
    shipped: dict[str, Any] = {}

    def go_to_zero(application: dict[str, Any]) -> None:
        scaling = model_deployment(application)["autoscaling_config"]
        shipped.update(scaling)
        scaling |= {"min_replicas": 0, "downscale_delay_s": 1, "look_back_period_s": 1, "metrics_interval_s": 0.5}

    def go_back(application: dict[str, Any]) -> None:
        model_deployment(application)["autoscaling_config"] = shipped

    ingress = backend.ingress()
    backend.deploy(go_to_zero)
    try:
        eventually(lambda: (backend.health()["status"], backend.replicas()) == ("idle", []), 60, "the replica gone")
        assert backend.ingress() == ingress
        yield backend
    finally:
        backend.deploy(go_back)
        eventually(lambda: backend.health()["status"] == "ok", 60, "the replica back")


def test_a_cold_start_is_told_to_who_asks_and_a_page_waits_for_it(idle_backend: Backend, page: TestClient) -> None:
    refused = idle_backend.chat("What is a pod?")
    assert (refused.status_code, refused.json()["error"]["type"]) == (503, "starting")
    assert int(refused.headers["Retry-After"]) > 0
    assert idle_backend.health()["status"] == "starting"
    told = stream(page, "What is a pod?")
    assert [name for name, _ in told[:3]] == ["stored", "starting", "begun"]
    assert (told[-1][0], bool(told[-1][1]["reply"])) == ("done", True)
    assert len(idle_backend.replicas()) == 1
