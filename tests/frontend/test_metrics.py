"""What the frontend tells Prometheus, and where."""

from collections.abc import Callable

import pytest
import requests
from sqlalchemy.exc import OperationalError
from starlette.testclient import TestClient

from frontend.metrics import REGISTRY, served
from launcher.preflight import free_port
from tests.support.stub_backend import Answer, StubBackend

PAGE = {"Accept": "text/html"}


def value(name: str, **labels: str) -> float:
    return REGISTRY.get_sample_value(name, labels) or 0.0


def send(client: TestClient) -> None:
    shown = client.get("/conversation").json()["id"]
    client.post("/messages", data={"text": "zebra crossing?", "conversation": shown}, headers=PAGE)


def test_requests_are_timed_by_the_template_of_their_route(client: TestClient) -> None:
    def count(method: str, route: str, status: str) -> float:
        return value("frontend_request_seconds_count", method=method, route=route, status=status)

    before = count("GET", "/", "200"), count("GET", "none", "404"), count("POST", "/messages/{position}/retry", "409")
    client.get("/")
    client.get("/?q=zebra")
    client.get("/zebra/crossing")
    client.post("/messages/7/retry", data={"conversation": ""})
    client.request("ZEBRA", "/")
    after = count("GET", "/", "200"), count("GET", "none", "404"), count("POST", "/messages/{position}/retry", "409")
    assert [now - then for now, then in zip(after, before, strict=True)] == [2, 1, 1]


@pytest.mark.parametrize("status", [200, 422])
def test_replies_are_counted_by_ending(client: TestClient, stub: StubBackend, status: int) -> None:
    ending = "done" if status == 200 else "refused"
    if status != 200:
        stub.plan(Answer(status=status))
    before = value("frontend_replies_total", ending=ending)
    client.get("/")
    send(client)
    assert value("frontend_replies_total", ending=ending) == before + 1
    assert value("frontend_replies_in_progress") == value("frontend_open_streams") == 0


def test_a_database_that_is_away_is_counted(client: TestClient, monkeypatch: pytest.MonkeyPatch) -> None:
    def away(*_: object, **__: object) -> None:
        raise OperationalError("SELECT 1", {}, Exception("away"))

    before = value("frontend_store_errors_total")
    monkeypatch.setattr("sqlalchemy.orm.Session.execute", away)
    assert client.get("/readyz").status_code == 503
    assert value("frontend_store_errors_total") > before  # what tidies up may have asked meanwhile, too


def test_metrics_have_a_port_of_their_own(client: TestClient) -> None:
    port = free_port()
    send(client)
    with served("127.0.0.1", port):
        text = requests.get(f"http://127.0.0.1:{port}/metrics", timeout=10).text
    assert "frontend_replies_total" in text
    assert "process_resident_memory_bytes" in text
    assert "zebra" not in text.lower()  # no word of a user's, nor an address that one made up
    assert client.get("/metrics").status_code == 404


def test_without_a_port_they_are_nowhere(make_client: Callable[..., TestClient]) -> None:
    with served("127.0.0.1", None):
        assert make_client().get("/metrics").status_code == 404
