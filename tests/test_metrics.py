"""What is handed to Ray, when, and under which labels."""

from collections.abc import Iterator
from typing import Any

import pytest

from serve_app.engine.measures import ReplyTimes, Totals
from serve_app.messages import ReplicaStatus
from serve_app.metrics import IngressMetrics, ReplicaMetrics, StateMetrics
from serve_app.outcomes import Outcome, asking_key
from tests.support.fakes import ORIGIN

STATUS = ReplicaStatus(ORIGIN, slots=4, active=3, waiting=2, tokens_per_second=0)
Reported = list[tuple[str, float, dict[str, str]]]


@pytest.fixture
def reported(monkeypatch: pytest.MonkeyPatch) -> Iterator[Reported]:
    """Name, value and labels of everything that Ray was given."""
    values: Reported = []

    def record(self: Any, value: float, tags: dict[str, str] | None = None) -> None:
        values.append((self.info["name"], value, tags or {}))

    monkeypatch.setattr("ray.util.metrics.Metric._record", record)
    yield values


def test_a_reply_is_counted_under_the_name_of_its_key(reported: Reported) -> None:
    outcome = Outcome(ending="done", first_token_s=0.2, total_s=1.5, prompt_tokens=70, reply_tokens=9, is_quoted=True)
    asking_key.set("batch")
    IngressMetrics().replied(outcome)
    assert reported == [
        ("godel_replies", 1.0, {"ending": "done", "key": "batch"}),
        ("godel_prompt_tokens", 70, {}),
        ("godel_reply_tokens", 9, {}),
        ("godel_first_token_seconds", 0.2, {}),
        ("godel_reply_seconds", 1.5, {}),
        ("godel_quoted_tokens", 9, {"key": "batch"}),
    ]


def test_a_reply_that_failed_at_once_has_no_times(reported: Reported) -> None:
    IngressMetrics().replied(Outcome(ending="failed"))
    assert reported == [("godel_replies", 1.0, {"ending": "failed", "key": ""}), ("godel_reply_tokens", 0, {})]


def test_steps_are_reported_once_a_second_and_each_once(reported: Reported, monkeypatch: pytest.MonkeyPatch) -> None:
    now = 100.0
    monkeypatch.setattr("serve_app.metrics.time.monotonic", lambda: now)
    totals, replica = Totals(steps=[0] * 5), ReplicaMetrics()
    replica.report(STATUS, totals)
    totals.steps[3] += 2
    totals.steps[4] += 1
    totals.busy_s, totals.encode_s = 2.0, 0.5
    totals.tokens, totals.guessed, totals.accepted, totals.encodings_made = 10, 5, 3, 1
    now += 0.5
    reported.clear()
    replica.report(STATUS, totals)  # another ingress asks
    assert reported == [("godel_slots", 4, {}), ("godel_active_requests", 3, {}), ("godel_waiting_requests", 2, {})]
    now += 0.5
    reported.clear()
    replica.report(STATUS, totals)
    work: list[tuple[str, float, dict[str, str]]] = [
        ("godel_step_requests", 3, {}),
        ("godel_step_requests", 3, {}),
        ("godel_step_requests", 4, {}),
        ("godel_encoder_share_ratio", 0.25, {}),
        ("godel_generated_tokens", 10, {}),
        ("godel_guessed_tokens", 5, {}),
        ("godel_accepted_tokens", 3, {}),
        ("godel_encoder_cache_misses", 1, {}),
    ]
    assert reported[3:] == work
    now += 1
    reported.clear()
    replica.report(STATUS, totals)
    assert reported[3:] == []


def test_a_reply_that_never_left_the_queue_has_no_times(reported: Reported) -> None:
    replica = ReplicaMetrics()
    replica.replied(ReplyTimes(submitted=5.0))
    assert reported == []
    times = ReplyTimes(submitted=5.0, began=5.5)
    for now in (6.0, 6.1, 6.4):
        times.wrote(now)
    replica.replied(times)
    assert [(name, round(value, 6)) for name, value, _ in reported] == [
        ("godel_queue_seconds", 0.5),
        ("godel_output_token_seconds", 0.2),
    ]


def test_one_configuration_version_is_in_use(reported: Reported) -> None:
    state = StateMetrics(is_fallback=True)
    state.report("v1", None, None)
    state.report("v2", "instruction: missing", None)
    assert [(value, labels["version"]) for name, value, labels in reported if name == "godel_config_info"] == [
        (1, "v1"),
        (0, "v1"),
        (1, "v2"),
    ]
    assert [value for name, value, _ in reported if name == "godel_config_error"] == [0, 1]
    assert [value for name, value, _ in reported if name == "godel_fallback_in_use"] == [1, 1]
