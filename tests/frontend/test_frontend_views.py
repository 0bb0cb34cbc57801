"""What the page shows for what is stored."""

from datetime import UTC, datetime
from typing import Any

import pytest

from frontend.backend import Health, Model
from frontend.models import Exchange
from frontend.store import Snapshot
from frontend.views import backend_view, conversation_view
from tests.frontend.stub_backend import Answer

AT = datetime(2030, 1, 2, 3, 4, 5, tzinfo=UTC)


def exchange(position: int, reply: str | None = None, **fields: Any) -> Exchange:
    return Exchange(
        conversation_id="c", position=position, message="m", sent_at=AT, reply=reply, replied_at=AT, **fields
    )


def shown(*exchanges: Exchange, writing: bool = False) -> Any:
    return conversation_view(Snapshot("c", exchanges, removed=0, writing=writing)).exchanges


def test_a_reply_says_where_it_came_from() -> None:
    (view,) = shown(exchange(1, "text", origin=Answer().reply()))
    reply = view.reply
    assert (reply.replica, reply.replica_short) == ("GodelModel#replica-7f3c9a1e", "7f3c9a1e")
    assert (reply.node, reply.model, reply.model_short) == ("node-a", "models/mini", "models/mini")
    assert (reply.seconds, reply.at_label) == ("1.2 s", "03:04 UTC")
    details = {detail.label: detail.value for detail in reply.details}
    assert details["Request"] == "req-1"
    assert details["Configuration"] == "c0ffee12"
    assert details["Tokens"] == "120 in the prompt, 11 in the reply"
    assert details["Timing"] == "total 1234 ms, queue 1.5 ms"
    assert [(p.label, p.text) for p in reply.passages] == [("p17 · score 4.25", "A pod is the smallest unit.")]


def test_what_was_left_out_is_said() -> None:
    grounding = {"passages": [], "dropped_turns": 3, "dropped_passages": 1, "truncated_tokens": 0}
    (view,) = shown(exchange(1, "text", origin={"left_off": 2, "grounding": grounding}))
    details = {detail.label: detail.value for detail in view.reply.details}
    assert details["Earlier turns left out"] == "2 by this page's limit, 3 by the model's window"
    assert details["Passages left out"] == "1"
    assert "Tokens cut off" not in details


@pytest.mark.parametrize(
    "origin", [None, {}, {"usage": None, "grounding": {"passages": None}}, {"grounding": [], "timing_ms": "soon"}]
)
def test_an_origin_with_nothing_known_is_no_error(origin: Any) -> None:
    (view,) = shown(exchange(1, "text", origin=origin))
    assert view.reply.text == "text"
    assert view.reply.passages == ()


def test_only_the_last_unanswered_message_can_be_retried() -> None:
    first, second = shown(exchange(1), exchange(2, failure_type="busy", failure_message="Full."))
    assert (first.retryable, second.retryable) == (False, True)
    assert second.trouble.title == "The chat service is busy"
    assert second.trouble.text == "Full."
    assert first.trouble.title == "No reply was written"


def test_a_reply_being_written_is_neither_trouble_nor_retryable() -> None:
    (view,) = shown(exchange(1), writing=True)
    assert (view.writing, view.retryable, view.trouble) == (True, False, None)


def test_backend_states() -> None:
    model = Model(name="mini", requested="big", fallback=True, reason="no network")
    assert backend_view(None).state == "unknown"
    assert backend_view(Health(status="ok", model=Model(name="mini"))).notices == ()
    fallback = backend_view(Health(status="ok", model=model))
    assert fallback.state == "fallback"
    assert fallback.notices == ("The fallback model mini answers in place of big: no network",)
    away = backend_view(Health(status="unavailable", config_error="generation.top_p: 2"))
    assert away.state == "unavailable"
    assert "away" in away.notices[0]
    assert "generation.top_p: 2" in away.notices[1]
