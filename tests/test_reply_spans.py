"""The stages of a reply, of the times that the engine took down."""

import time
from collections.abc import Iterator

import pytest

from serve_app import tracing
from serve_app.engine.measures import ReplyTimes
from serve_app.reply_spans import stages, tell_reply
from tests.support.collector import Collector

WHOLE = ReplyTimes(submitted=1.0, began=2.0, encoded=3.0, first_token=4.0, last_token=9.0, tokens=6)


@pytest.fixture
def traced(collector: Collector) -> Iterator[Collector]:
    tracing.start("godel-model", "GodelModel#1")
    yield collector
    tracing.stop()


def test_each_stage_begins_where_the_one_before_it_ended() -> None:
    assert list(stages(WHOLE, now=10.0)) == [
        ("queue", 1.0, 2.0),
        ("encode", 2.0, 3.0),
        ("first token", 3.0, 4.0),
        ("decode", 4.0, 9.0),
    ]


@pytest.mark.parametrize(
    ("times", "last"),
    [
        (ReplyTimes(submitted=1.0), ("queue", 1.0, 10.0)),
        (ReplyTimes(submitted=1.0, began=2.0), ("encode", 2.0, 10.0)),
        (ReplyTimes(submitted=1.0, began=2.0, encoded=3.0), ("first token", 3.0, 10.0)),
    ],
)
def test_a_reply_that_is_cut_off_ends_the_stage_that_it_is_in(
    times: ReplyTimes, last: tuple[str, float, float]
) -> None:
    assert list(stages(times, now=10.0))[-1] == last


def test_a_reply_that_was_chosen_whole_is_not_decoded() -> None:
    times = ReplyTimes(submitted=1.0, began=2.0, encoded=3.0)
    times.wrote(4.0, tokens=12)
    assert [stage for stage, *_ in stages(times, now=4.0)] == ["queue", "encode", "first token"]


def test_they_are_told_as_parts_of_the_reply_at_the_time_of_day(traced: Collector) -> None:
    now, time_of_day = time.monotonic(), time.time()
    times = ReplyTimes(submitted=now - 5, began=now - 4, encoded=now - 3, first_token=now - 2, last_token=now - 1)
    with tracing.within({"traceparent": f"00-{'a' * 32}-{'b' * 16}-01"}):
        tell_reply(times, now, ending="stop")
    tracing.stop()
    reply = traced.one("generate")
    assert (reply.trace_id, reply.parent_id, reply.attributes) == ("a" * 32, "b" * 16, {"ending": "stop"})
    assert traced.parts(reply) == ["queue", "encode", "first token", "decode"]
    assert reply.began / 1e9 == pytest.approx(time_of_day - 5, abs=1)
    assert (reply.ended - reply.began) / 1e9 == pytest.approx(5, abs=0.001)
    decode = traced.one("decode")
    assert (decode.ended - decode.began) / 1e9 == pytest.approx(1, abs=0.001)
