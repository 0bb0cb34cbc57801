"""The page of the cluster and its events."""

import json
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import requests
from starlette.testclient import TestClient

from frontend.app import create_app
from frontend.sse import SseParser
from tests.frontend.conftest import MakeSettings, serving
from tests.support.stub_backend import NODE, REPLICA, StubBackend, cluster, replica

PAGE = {"Accept": "text/html"}


def test_the_page_is_a_table_without_a_script(client: TestClient, stub: StubBackend) -> None:
    stub.replicas = cluster(replica(), replica("r2", "STARTING"), target=2)
    page = client.get("/cluster", headers=PAGE).text
    for told in (
        REPLICA,
        "node-a",
        "godel-worker-0",
        "3 of 16",
        "starting",
        '<code data-field="version">c0ffee12</code>',
        "1 starting, 1 ready; autoscaling wants 2.",
        'content="5"',
    ):
        assert told in page
    assert NODE not in page
    assert stub.gets == ["/replicas"]


def test_the_fallbacks_reason_is_told(client: TestClient, stub: StubBackend) -> None:
    stub.replicas["model"] |= {"requested": "big", "fallback": True, "reason": "the hub is <away>"}
    page = client.get("/cluster").text
    assert "The fallback model models/mini answers in place of big." in page
    assert "the hub is &lt;away&gt;" in page


def test_names_are_escaped(client: TestClient, stub: StubBackend) -> None:
    stub.replicas = cluster(replica("<script>alert(1)</script>"))
    assert "<script>alert" not in client.get("/cluster").text


@pytest.mark.parametrize("answer", [[], {"replicas": 3}])
def test_a_backend_that_cannot_say_is_told_on_the_page(client: TestClient, stub: StubBackend, answer: object) -> None:
    stub.replicas = answer  # type: ignore[assignment]
    page = client.get("/cluster")
    assert page.status_code == 200
    assert "Nothing is known of the replicas." in page.text


def test_a_backend_that_is_away_is_told_on_the_page(make_client: Callable[..., TestClient], stub: StubBackend) -> None:
    client = make_client()
    stub.stop()
    assert "It cannot be reached at the moment." in client.get("/cluster").text


def test_each_viewer_is_told_the_trouble_in_a_language_of_its_own(client: TestClient, stub: StubBackend) -> None:
    """The question is put once for all of them."""
    stub.replicas_status = 503
    told = {code: client.get("/cluster", headers={"Accept-Language": code}).text for code in ("de", "en")}
    assert "It is not ready. no replica is ready" in told["en"]
    assert "Er ist nicht bereit. no replica is ready" in told["de"]


def test_every_page_links_to_it(client: TestClient) -> None:
    for path in ("/", "/conversations", "/data"):
        assert 'href="/cluster"' in client.get(path).text


def test_events_tell_changes_and_nothing_is_asked_when_the_viewer_has_left(
    stub: StubBackend, make_settings: MakeSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("frontend.cluster_watch.PAUSE_SECONDS", 0.02)
    app = create_app(make_settings(backend_url=stub.url))
    with serving(app) as url:
        assert stub.gets == []
        with requests.get(f"{url}/cluster/events", stream=True, timeout=30) as response:
            assert response.headers["Content-Type"].startswith("text/event-stream")
            views = told(response)
            assert [row["state"] for row in next(views)["replicas"]] == ["running"]
            stub.replicas = cluster(replica(), replica("r2", "STARTING"))
            while len((view := next(views))["replicas"]) == 1:
                pass
            assert view["changes"][0]["text"] == "is being started"
        while app.state.services.cluster._watching is not None:
            assert requests.get(f"{url}/healthz", timeout=5).ok  # time passes, and the server gets on
        asked = len(stub.gets)
        for _ in range(20):
            assert requests.get(f"{url}/healthz", timeout=5).ok
        assert len(stub.gets) <= asked + 1  # one question may have been under way


def told(response: requests.Response) -> Iterator[dict[str, Any]]:
    parser = SseParser(100_000)
    for chunk in response.iter_content(None):
        for event in parser.feed(chunk):
            yield json.loads(event.data)


def test_a_replica_can_be_ended_in_a_demo_alone(make_client: Callable[..., TestClient], stub: StubBackend) -> None:
    client, demo = make_client(), make_client(demo=True)
    assert "/cluster/end" not in client.get("/cluster").text
    assert client.post("/cluster/end", data={"replica": REPLICA}).status_code == 404
    assert f'name="replica" value="{REPLICA}"' in demo.get("/cluster").text
    forged = demo.post("/cluster/end", data={"replica": REPLICA}, headers={"Origin": "http://evil.example"})
    assert forged.status_code == 403
    assert stub.ended == []
    page = demo.post("/cluster/end", data={"replica": REPLICA}, headers=PAGE)
    assert (stub.ended, page.url.path) == ([REPLICA], "/cluster")
    refused = demo.post("/cluster/end", data={"replica": "another"}, headers=PAGE)
    assert (refused.status_code, "The replica was not ended. no such replica" in refused.text) == (409, True)
