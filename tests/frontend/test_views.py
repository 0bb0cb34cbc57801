"""What the page shows for what is stored."""

from datetime import UTC, datetime
from typing import Any

import pytest

from frontend.health import Health, Model
from frontend.hues import hue
from frontend.models import Exchange
from frontend.store import Snapshot
from frontend.views import Passage, backend_view, conversation_view
from frontend.words import choose
from tests.support.stub_backend import Answer

AT = datetime(2030, 1, 2, 3, 4, 5, tzinfo=UTC)


def exchange(position: int, reply: str | None = None, **fields: Any) -> Exchange:
    return Exchange(
        conversation_id="c", position=position, message="m", sent_at=AT, reply=reply, replied_at=AT, **fields
    )


def shown(*exchanges: Exchange, writing: bool = False) -> Any:
    versions = {each.position: (each.position,) for each in exchanges}
    snapshot = Snapshot("c", "title", False, exchanges, versions, kept=len(exchanges), removed=0, writing=writing)
    return conversation_view(snapshot).exchanges


def tag(view: Any) -> dict[str, str]:
    return {fact.name: fact.text for fact in view.reply.tag}


def whole(passage: Passage) -> str:
    return "".join(piece.text for piece in passage.pieces)


def test_a_reply_says_where_it_came_from() -> None:
    (view,) = shown(exchange(1, "text", origin=Answer().reply()))
    reply = view.reply
    assert tag(view) == {
        "replica": "7f3c9a1e",
        "node": "node-a",
        "model": "models/mini",
        "configuration": "c0ffee12",
        "": "8.9 tokens/s",
        "grounded": "67 %",
        "in": "1.2 s",
    }
    assert (reply.tag[0].title, reply.at_label) == ("GodelModel#replica-7f3c9a1e", "03:04 UTC")
    assert (reply.window.used, reply.window.size) == (120, 512)
    details = {detail.label: detail.value for detail in reply.details}
    assert details["Request"] == "req-1"
    assert details["Configuration"] == "c0ffee12"
    assert details["Tokens"] == "120 in the prompt, 11 in the reply"
    assert details["Timing"] == "in all 1,234.5 ms, queue 1.5 ms"
    assert [(p.label, whole(p)) for p in reply.passages] == [("p17 · score 4.25", "A pod is the smallest unit.")]


@pytest.mark.parametrize(
    ("origins", "told"),
    [
        (None, None),
        ("all", None),
        ([], None),
        ([{"replica_id": "a", "nodeName": "x"}], None),
        ([{"replica_id": "a", "nodeName": "x"}, {"replica_id": "b"}], "begun by a on x, finished by b"),
        (
            [{"replica_id": name, "node_id": f"n{name}"} for name in "abcd"],
            "begun by a on na, continued by b on nb, continued by c on nc, finished by d on nd",
        ),
        ([None, {"replica_id": "a"}, 7], None),
    ],
)
def test_who_took_part(origins: Any, told: str | None) -> None:
    (view,) = shown(exchange(1, "text", origin={"origins": origins}))
    assert {detail.label: detail.value for detail in view.reply.details}.get("Written by") == told


def test_a_reply_that_was_taken_over_shows_every_replica_in_its_colour() -> None:
    origins = [{"replica_id": "first-one"}, {"replica_id": "second-one"}]
    (view,) = shown(exchange(1, "text", origin=origins[1] | {"origins": origins}))
    assert [(fact.name, fact.title, fact.hue) for fact in view.reply.tag] == [
        (name, each["replica_id"], hue(each["replica_id"]))
        for name, each in zip(("replica", "then"), origins, strict=True)
    ]


def test_a_pod_stands_for_a_node_without_a_name() -> None:
    (view,) = shown(exchange(1, "text", origin={"podName": "godel-0", "node_id": "a" * 56}))
    assert tag(view) == {"pod": "godel-0"}
    (view,) = shown(exchange(1, "text", origin={"node_id": "a" * 56}))
    assert tag(view) == {"node": "a" * 8}


@pytest.mark.parametrize(
    ("times", "told"),
    [
        (0, None),
        (1, "once, after the connection to the chat service broke"),
        (3, "3 times, after the connection to the chat service broke"),
        ("often", None),
    ],
)
def test_how_often_a_reply_was_asked_for_again(times: Any, told: str | None) -> None:
    (view,) = shown(exchange(1, "text", origin={"asked_again": times}))
    assert {detail.label: detail.value for detail in view.reply.details}.get("Asked again") == told


def test_cited_words_lead_to_the_passage_where_they_are_marked() -> None:
    (view,) = shown(exchange(7, Answer().text, origin=Answer().reply()))
    quoted, rest = view.reply.pieces
    assert (quoted.text, quoted.title) == ("A pod is the smallest unit", "Stands in passage p17")
    assert (rest.text, rest.href) == (" that Kubernetes schedules.", "")
    (passage,) = view.reply.passages
    assert quoted.href == f"#{passage.anchor}"
    assert [(p.text, p.cited) for p in passage.pieces] == [("A pod is the smallest unit", True), (".", False)]
    assert tag(view)["grounded"] == "67 %"
    assert ("Grounded", "67 % of the words stand in the knowledge") in [(d.label, d.value) for d in view.reply.details]


def test_anchors_are_the_exchanges_own() -> None:
    first, second = shown(*(exchange(n, Answer().text, origin=Answer().reply()) for n in (1, 2)))
    assert first.reply.passages[0].anchor != second.reply.passages[0].anchor


def test_numbers_are_written_as_the_reader_writes_them() -> None:
    choose(["de"])
    try:
        (view,) = shown(exchange(1, "text", origin=Answer().reply()))
    finally:
        choose([])
    assert view.reply.passages[0].label == "p17 · Wert 4,25"
    assert "insgesamt 1.234,5 ms, queue 1,5 ms" in [detail.value for detail in view.reply.details]


def test_a_reply_stored_before_there_were_citations_is_shown_as_it_was() -> None:
    origin = {name: value for name, value in Answer().reply().items() if name not in ("citations", "grounded")}
    (view,) = shown(exchange(1, Answer().text, origin=origin))
    assert [(p.text, p.href) for p in view.reply.pieces] == [(Answer().text, "")]
    assert ("grounded" in tag(view), view.reply.filling) == (False, ())
    assert "Grounded" not in [detail.label for detail in view.reply.details]


def test_passages_that_filled_the_window_are_apart_unless_they_are_cited() -> None:
    passages = [
        {"id": "p1", "text": "A match.", "score": 0.5, "filling": False},
        {"id": "p2", "text": "It is cited here.", "score": -0.1, "filling": True},
        {"id": "p3", "text": "Not at all.", "score": -0.2, "filling": True},
    ]
    citation = {"start": 0, "end": 11, "passage": "p2", "passage_start": 0, "passage_end": 11}
    origin = {"grounding": {"passages": passages}, "citations": [citation]}
    (view,) = shown(exchange(1, "It is cited", origin=origin))
    assert [p.label for p in view.reply.passages] == ["p1 · score 0.50", "p2 · given because there was room"]
    assert [(p.label, whole(p)) for p in view.reply.filling] == [("p3", "Not at all.")]
    assert view.reply.filling_label == "Also given: 1 passage without a match"
    (view,) = shown(exchange(1, "x", origin={"grounding": {"passages": passages}}))
    assert view.reply.filling_label == "Also given: 2 passages without a match"


@pytest.mark.parametrize(
    ("grounded", "text"),
    [
        (0, "0 %"),
        (1, "100 %"),
        (1.0, "100 %"),
        (0.9996, "99 %"),
        (0.29, "29 %"),
        (1.1, ""),
        (-0.1, ""),
        (True, ""),
        ("1", ""),
        (None, ""),
        (float("nan"), ""),
    ],
)
def test_the_share_that_is_grounded(grounded: Any, text: str) -> None:
    (view,) = shown(exchange(1, "text", origin={"grounded": grounded}))
    assert tag(view).get("grounded", "") == text


def test_what_was_left_out_is_said() -> None:
    grounding = {"passages": [], "dropped_turns": 3, "dropped_passages": 1, "truncated_tokens": 0}
    (view,) = shown(exchange(1, "text", origin={"left_off": 2, "grounding": grounding}))
    details = {detail.label: detail.value for detail in view.reply.details}
    assert details["Earlier turns left out"] == "2 by this page's limit, 3 by the model's window"
    assert details["Passages left out"] == "1"
    assert "Tokens cut off" not in details
    usage = {"prompt_tokens": 1_000, "max_prompt_tokens": 1_024}
    (view,) = shown(exchange(1, "text", origin={"left_off": 2, "usage": usage}))
    assert view.reply.window.label == "1,000 of 1,024 tokens read, earlier turns left out: 2 by this page's limit"
    (view,) = shown(exchange(1, "text", origin={"usage": usage}))
    assert view.reply.window.label.endswith("no earlier turn left out")


@pytest.mark.parametrize(
    "origin",
    [
        None,
        {},
        {"usage": None, "grounding": {"passages": None}, "citations": None},
        {"grounding": [], "timing_ms": "soon", "citations": "none", "grounded": "all"},
    ],
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


def test_a_stopped_reply_shows_its_text_and_that_it_was_stopped() -> None:
    first, second = shown(
        *(exchange(n, "half an", failure_type="stopped", failure_message="It ends here.") for n in (1, 2))
    )
    assert (second.reply.text, second.trouble.type, second.trouble.title) == (
        "half an",
        "stopped",
        "The reply was stopped",
    )
    assert (first.retryable, second.retryable, second.writing) == (False, True, False)


@pytest.mark.parametrize(
    ("total", "text"), [(1234.5, "1.2 s"), (1000, "1.0 s"), (999, "999 ms"), (49.6, "50 ms"), (0, "0 ms"), (None, "")]
)
def test_short_times_are_in_milliseconds(total: float | None, text: str) -> None:
    (view,) = shown(exchange(1, "text", origin={"timing_ms": {"total": total, "first_token": total}}))
    assert (tag(view).get("in", ""), tag(view).get("first token", "")) == (text, text)


@pytest.mark.parametrize(
    ("tokens", "total", "text"),
    [(40, 400, "100 tokens/s"), (1, 400, "2.5 tokens/s"), (0, 400, ""), (40, 0, ""), (None, 400, ""), (40, None, "")],
)
def test_how_fast_a_reply_was_written(tokens: int | None, total: float | None, text: str) -> None:
    origin = {"timing_ms": {"total": total}, "usage": {"completion_tokens": tokens}}
    (view,) = shown(exchange(1, "text", origin=origin))
    assert tag(view).get("", "") == text


def test_a_reply_being_written_is_neither_trouble_nor_retryable() -> None:
    (view,) = shown(exchange(1), writing=True)
    assert (view.writing, view.retryable, view.trouble) == (True, False, None)


def test_backend_states() -> None:
    model = Model(name="mini", requested="big", fallback=True, reason="no network")
    assert backend_view(None).state == "unknown"
    assert backend_view(Health(status="ok", model=Model(name="mini"))).notices == ()
    fallback = backend_view(Health(status="ok", model=model))
    assert fallback.state == "fallback"
    assert (fallback.fallback, fallback.fallback_reason, fallback.notices) == (
        "The fallback model mini answers in place of big.",
        "no network",
        (),
    )
    assert {backend_view(Health(status=status)).state for status in ("idle", "starting")} == {"ok"}
    away = backend_view(Health(status="unavailable", config_error="generation.top_p: 2"))
    assert away.state == "unavailable"
    assert "away" in away.notices[0]
    assert "generation.top_p: 2" in away.notices[1]
