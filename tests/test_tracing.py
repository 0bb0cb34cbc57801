"""Spans of the backend: what they tell, what they do not, and that no reply waits for them."""

import json
import logging
from collections.abc import Iterator
from pathlib import Path

import pytest
from ray._common.formatters import JSONFormatter

from serve_app import tracing
from serve_app.errors import ReplyImpossible
from tests.support.application import Application, words
from tests.support.collector import Collector

TRACE, ASKER = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"
TRACEPARENT = f"00-{TRACE}-{ASKER}-01"


@pytest.fixture
def chat_config(tmp_path: Path) -> Path:
    path = tmp_path / "chatbot.yaml"
    path.write_text("instruction: Answer.\nknowledge: A pod is small. A node is big.\n")
    return path


@pytest.fixture
def application(chat_config: Path) -> Application:
    return Application(words("the pod is small."), chat_config)


@pytest.fixture
def traced(collector: Collector) -> Iterator[Collector]:
    tracing.start("godel-ingress", "Ingress#1")
    yield collector
    tracing.stop()


def ask(application: Application, **headers: str) -> int:
    status: int = application.client.post("/chat", json={"dialog": ["zebra?"]}, headers=headers).status_code
    return status


def test_a_chat_is_a_part_of_its_askers_trace(traced: Collector, application: Application) -> None:
    assert ask(application, traceparent=TRACEPARENT) == 200
    tracing.stop()
    asked, plan = traced.one("POST /chat"), traced.one("plan")
    assert (asked.trace_id, asked.parent_id) == (TRACE, ASKER)
    assert (plan.trace_id, plan.parent_id) == (TRACE, asked.span_id)
    assert (asked.service, asked.instance) == ("godel-ingress", "Ingress#1")
    assert asked.began <= plan.began <= plan.ended <= asked.ended
    assert asked.attributes["http.response.status_code"] == 200
    assert asked.attributes["request_id"] == plan.attributes["request_id"] != ""


def test_a_chat_that_is_a_part_of_none_has_one_of_its_own(traced: Collector, application: Application) -> None:
    for malformed in ("", "zebra", f"00-{'0' * 32}-{ASKER}-01", "x" * 10_000):
        assert ask(application, traceparent=malformed) == 200
    tracing.stop()
    asked = [span for span in traced.spans if span.name == "POST /chat"]
    assert {span.parent_id for span in asked} == {""}
    assert len({span.trace_id for span in asked}) == 4


def test_its_asker_may_have_decided_that_it_is_not_sampled(traced: Collector, application: Application) -> None:
    assert ask(application, traceparent=TRACEPARENT.removesuffix("01") + "00") == 200
    tracing.stop()
    assert not traced.spans


def test_who_asks_how_things_are_makes_no_span(traced: Collector, application: Application) -> None:
    for path in ("/health", "/replicas", "/v1/models"):
        assert application.client.get(path).status_code == 200
    tracing.stop()
    assert not traced.spans


@pytest.mark.parametrize(
    ("asked", "status", "failed"),
    [
        ({"dialog": ["zebra?"], "zebra": "zebra"}, 422, {}),  # refused before it is a chat
        ({"dialog": ["zebra " * 1_000]}, 422, {"plan": "InvalidRequest"}),
    ],
)
def test_an_error_is_told_by_its_type(
    traced: Collector, application: Application, asked: dict[str, object], status: int, failed: dict[str, str]
) -> None:
    assert application.post(**asked).status_code == status
    tracing.stop()
    assert traced.one("POST /chat").attributes["http.response.status_code"] == status
    assert {span.name: span.attributes["error.type"] for span in traced.spans if span.has_failed} == failed
    assert b"zebra" not in b"".join(traced.bodies)


def test_an_error_of_the_service_is_one_of_the_span(traced: Collector, chat_config: Path) -> None:
    application = Application(lambda request: [ReplyImpossible("no zebra")], chat_config)
    assert ask(application) == 500
    tracing.stop()
    assert traced.one("POST /chat").has_failed
    assert b"zebra" not in b"".join(traced.bodies)


def test_nothing_that_users_type_or_are_told_is_in_a_span(traced: Collector, application: Application) -> None:
    application.post(dialog=["is the pod zebra?"], instruction="be a giraffe", knowledge="A pod is small, says okapi.")
    application.client.post("/zebra?q=giraffe", json={"dialog": ["okapi"]})
    tracing.stop()
    assert len([span for span in traced.spans if span.name.startswith("POST")]) == 2
    assert not [word for word in (b"zebra", b"giraffe", b"okapi", b"small") if word in b"".join(traced.bodies)]


def test_a_line_of_the_log_says_which_trace_it_belongs_to(
    traced: Collector, application: Application, caplog: pytest.LogCaptureFixture
) -> None:
    """As Serve writes it."""
    with caplog.at_level(logging.INFO, "ray.serve.godel"):
        ask(application, traceparent=TRACEPARENT)
    (line,) = [json.loads(JSONFormatter().format(each)) for each in caplog.records if "first token" in each.message]
    assert line["trace_id"] == TRACE


def test_no_reply_waits_for_a_collector_that_does_not_answer(
    traced: Collector, application: Application, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tracing, "_LAST_SPANS_S", 0.01)
    traced.answers.clear()
    assert ask(application) == 200
    tracing.stop()  # the export is on its way, and stays there
    assert traced.arrived.wait(10) and not traced.spans
    assert ask(application) == 200


@pytest.mark.usefixtures("no_collector")
def test_a_collector_that_is_away_breaks_nothing(monkeypatch: pytest.MonkeyPatch, application: Application) -> None:
    tracing.start("godel-ingress", "Ingress#1")
    assert [ask(application) for _ in range(3)] == [200] * 3
    monkeypatch.setattr(tracing, "_LAST_SPANS_S", 0.01)
    tracing.stop()
    assert not tracing.is_on()


def test_nothing_is_traced_where_no_collector_is_named(
    monkeypatch: pytest.MonkeyPatch, application: Application, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.delenv("OTEL_EXPORTER_OTLP_ENDPOINT", raising=False)
    tracing.start("godel-ingress", "Ingress#1")
    with caplog.at_level(logging.INFO, "ray.serve.godel"):
        assert ask(application, traceparent=TRACEPARENT) == 200
    assert not tracing.is_on()
    assert not [record for record in caplog.records if hasattr(record, "trace_id")]
    with tracing.span("plan") as span:
        assert not span.is_recording()
        assert tracing.carried() == {}


def test_a_wrong_variable_is_told_at_the_start(collector: Collector, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OTEL_BSP_MAX_QUEUE_SIZE", "0")
    with pytest.raises(ValueError, match="max_queue_size"):
        tracing.start("godel-ingress", "Ingress#1")
    assert not tracing.is_on()
