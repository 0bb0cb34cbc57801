"""Server-sent events: the same whatever the chunks, bounded, and one line whatever the text."""

import json
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from frontend.sse import ServerSentEvent, SseParser, encode

STREAM = (
    ": ping\r\n\r\n"
    'event: token\r\ndata: {"text": "héllo"}\r\n\r\n'
    "data: a\ndata: b\n\n"
    "event: done\rdata:x\r\r"
    "id: 7\nretry: 3\n\n"
    "event: lost\ndata: no empty line follows"
).encode()
EVENTS = [
    ServerSentEvent("token", '{"text": "héllo"}'),
    ServerSentEvent("message", "a\nb"),
    ServerSentEvent("done", "x"),
]


@pytest.mark.parametrize("size", [1, 2, 3, 5, 7, 1000])
def test_cutting_the_stream_anywhere_changes_nothing(size: int) -> None:
    """A naive reader takes a CR LF cut in two for two line ends, and loses the name of the event."""
    parser = SseParser(1000)
    chunks = [STREAM[start : start + size] for start in range(0, len(STREAM), size)]
    assert [event for chunk in chunks for event in parser.feed(chunk)] == EVENTS


@given(st.lists(st.sampled_from(["event: a", "data: b", "data", ": ping", "\n", "\r", "\r\n", "é", "🙂"])), st.data())
def test_any_stream_is_the_same_however_it_is_cut(pieces: list[str], data: st.DataObject) -> None:
    stream = "".join(pieces).encode()
    cuts = sorted(data.draw(st.sets(st.integers(0, len(stream)))) | {0, len(stream)})
    parser = SseParser(1_000_000)
    chunks = [stream[start:end] for start, end in zip(cuts, cuts[1:], strict=False)]
    assert [event for chunk in chunks for event in parser.feed(chunk)] == list(SseParser(1_000_000).feed(stream))


def test_an_event_in_many_pieces_costs_its_length_and_not_its_square() -> None:
    """Each chunk was joined with everything before it and searched anew: 100,000 single bytes took 22 s."""
    parser = SseParser(1_000_000)
    begun = time.thread_time()
    for _ in range(100_000):
        list(parser.feed(b"x"))
    assert time.thread_time() - begun < 3


@pytest.mark.parametrize("chunk", [b"data: " + b"x" * 200, b"data: xxxxxxxxxx\n" * 20])
def test_an_endless_event_is_refused(chunk: bytes) -> None:
    with pytest.raises(ValueError, match="100 characters"):
        list(SseParser(100).feed(chunk))


def test_an_endless_line_in_small_pieces_is_refused() -> None:
    parser = SseParser(100)
    assert [list(parser.feed(b"data: xxxx")) for _ in range(10)] == [[]] * 10
    with pytest.raises(ValueError, match="100 characters"):
        list(parser.feed(b"x"))


def test_pings_do_not_add_up() -> None:
    parser = SseParser(100)
    for _ in range(100):
        assert list(parser.feed(b": ping\n\n")) == []


def test_many_short_events_are_not_an_endless_one() -> None:
    parser = SseParser(100)
    assert len([event for _ in range(100) for event in parser.feed(b"data: 12345\n\n")]) == 100


@pytest.mark.parametrize("text", ["two\nlines", "carriage\rreturn", "\u2028", "\ud800", "سلام 🙂", "\0"])
def test_encoded_text_comes_back_whole(text: str) -> None:
    (event,) = SseParser(1000).feed(encode("token", {"text": text}))
    assert event.event == "token"
    assert json.loads(event.data) == {"text": text}
