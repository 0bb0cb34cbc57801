"""Spans of the page: from a form to the backend, which goes on with them."""

import json
import logging
from collections.abc import Callable, Iterator

import pytest
from starlette.testclient import TestClient

from frontend import tracing
from frontend.logs import JsonFormatter
from tests.frontend.test_routes import post, stream
from tests.support.collector import Collector
from tests.support.stub_backend import Answer, StubBackend

TRACE, PROXY = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"
FROM_PROXY = {"traceparent": f"00-{TRACE}-{PROXY}-01"}


@pytest.fixture
def traced(collector: Collector, client: TestClient) -> Iterator[Collector]:
    client.get("/")
    tracing.start()
    yield collector
    tracing.stop()


def test_a_message_is_followed_to_the_backend(traced: Collector, client: TestClient, stub: StubBackend) -> None:
    stream(client, "zebra?")
    tracing.stop()
    form, reply, asked = traced.one("POST /messages"), traced.one("reply"), traced.one("POST /chat")
    assert (form.parent_id, reply.parent_id, asked.parent_id) == ("", form.span_id, reply.span_id)
    assert form.trace_id == reply.trace_id == asked.trace_id
    (carried,) = stub.traceparents
    assert asked.is_carried_by(carried)
    assert reply.attributes == {"request_id": stub.request_ids[0], "ending": "done"}
    assert {span.service for span in traced.spans} == {"godel-frontend"}
    assert b"zebra" not in b"".join(traced.bodies)


def test_a_question_that_is_put_again_is_told_twice(traced: Collector, client: TestClient, stub: StubBackend) -> None:
    stub.plan(Answer(dies_after=1), Answer())
    stream(client, "zebra?")
    tracing.stop()
    asked = sorted((span for span in traced.spans if span.name == "POST /chat"), key=lambda span: span.began)
    assert [span.has_failed for span in asked] == [True, False]
    assert {span.parent_id for span in asked} == {traced.one("reply").span_id}
    assert asked[0].attributes["error.type"] == "Interrupted"


def test_the_proxys_trace_is_continued_and_a_visitors_is_not(
    traced: Collector, client: TestClient, make_client: Callable[..., TestClient]
) -> None:
    behind_proxy = make_client(trusted_proxies=["10.0.0.0/8"])
    for page in (client, behind_proxy):
        page.get("/")
        post(page, "hello", **FROM_PROXY)
    tracing.stop()
    first, second = sorted(
        (span for span in traced.spans if span.name == "POST /messages"), key=lambda span: span.began
    )
    assert first.trace_id != TRACE and first.parent_id == ""
    assert (second.trace_id, second.parent_id) == (TRACE, PROXY)


def test_reading_makes_no_span(traced: Collector, client: TestClient) -> None:
    for path in ("/", "/conversation", "/health", "/search?q=zebra"):
        client.get(path)
    tracing.stop()
    assert not traced.spans


def test_a_line_of_the_log_says_which_trace_it_belongs_to(
    traced: Collector, client: TestClient, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.handler.setFormatter(JsonFormatter())
    with caplog.at_level(logging.INFO, "frontend.writer"):
        stream(client, "hello")
    tracing.stop()
    (line,) = [json.loads(line) for line in caplog.text.splitlines() if "reply stored" in line]
    assert line["trace_id"] == traced.one("reply").trace_id


def test_no_reply_waits_for_a_collector_that_does_not_answer(
    traced: Collector, client: TestClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tracing, "LAST_SPANS_SECONDS", 0.01)
    traced.answers.clear()
    assert stream(client, "hello")[-1][0] == "done"
    tracing.stop()  # the export is on its way, and stays there
    assert traced.arrived.wait(10) and not traced.spans


@pytest.mark.usefixtures("no_collector")
def test_a_collector_that_is_away_breaks_nothing(monkeypatch: pytest.MonkeyPatch, client: TestClient) -> None:
    monkeypatch.setattr(tracing, "LAST_SPANS_SECONDS", 0.01)
    client.get("/")
    tracing.start()
    assert stream(client, "hello")[-1][0] == "done"
    tracing.stop()
    assert not tracing.is_on()


def test_nothing_is_traced_where_no_collector_is_named(
    monkeypatch: pytest.MonkeyPatch, client: TestClient, stub: StubBackend
) -> None:
    monkeypatch.delenv("OTEL_EXPORTER_OTLP_ENDPOINT", raising=False)
    client.get("/")
    tracing.start()
    assert not tracing.is_on()
    assert stream(client, "hello")[-1][0] == "done"
    assert stub.traceparents == [None]
