"""Events out of lines."""

import pytest

from serve_app.event_reader import EventReader


@pytest.mark.parametrize("end", [b"\n", b"\r\n", b""], ids=["as it is sent", "CRLF", "without line ends"])
def test_an_event_is_complete_with_its_data(end: bytes) -> None:
    """Line and paragraph separators of Unicode are text, and end no line."""
    reader = EventReader()
    lines = ["event: token", 'data: {"text": "a: b\u2028c"}', "", ": ping", "event: done", "data: {}", ""]
    read = [reader.read(line.encode() + end) for line in lines]
    assert read == [None, ("token", {"text": "a: b\u2028c"}), None, None, None, ("done", {}), None]


def test_data_that_is_not_json() -> None:
    with pytest.raises(ValueError, match="Expecting value"):
        EventReader().read(b"data: not JSON\n")
