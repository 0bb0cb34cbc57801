"""Server-sent events, both ways. Knows nothing of chats, HTTP or sockets.

The format is the one of the HTML standard, section 9.2: fields of `name: value` lines, an empty line ends an event.
"""

import codecs
import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

_LINE_END = re.compile(r"\r\n|\n|\r")


@dataclass(frozen=True)
class ServerSentEvent:
    """One event: its name and its data lines joined by newlines."""

    event: str
    data: str


@dataclass
class SseParser:
    """Turns chunks of bytes, cut anywhere, into events. Raises ValueError past `max_event_chars` without an event.

    Every character is looked at once, however small the chunks are, and at most `max_event_chars` and a chunk are held.
    """

    max_event_chars: int
    _decoder: codecs.IncrementalDecoder = field(
        default_factory=lambda: codecs.getincrementaldecoder("utf-8")("replace")
    )
    _after_cr: bool = False  # a line has ended with CR; LF, if it comes next, is the second half of that line end
    _line: list[str] = field(default_factory=list)  # pieces of the line that has not ended yet
    _line_chars: int = 0
    _event: str = ""
    _data: list[str] = field(default_factory=list)
    _event_chars: int = 0

    def feed(self, chunk: bytes) -> Iterator[ServerSentEvent]:
        """Yield the events that `chunk` completes."""
        text = self._decoder.decode(chunk)
        if not text:
            return
        *ended, rest = _LINE_END.split(text.removeprefix("\n") if self._after_cr else text)
        self._after_cr = text.endswith("\r")
        for piece in ended:
            self._hold(piece)
            if (event := self._end_line()) is not None:
                yield event
        self._hold(rest)
        if self._event_chars + self._line_chars > self.max_event_chars:
            raise ValueError(f"an event of more than {self.max_event_chars} characters")

    def _hold(self, piece: str) -> None:
        self._line.append(piece)
        self._line_chars += len(piece)

    def _end_line(self) -> ServerSentEvent | None:
        line = "".join(self._line)
        self._line, self._line_chars = [], 0
        if not line:
            return self._end_event()
        self._field(line)
        return None

    def _field(self, line: str) -> None:
        name, _, value = line.partition(":")
        value = value.removeprefix(" ")
        if name == "event":
            self._event = value
        elif name == "data":
            self._data.append(value)
        self._event_chars += len(line) if name else 0  # a comment (": ping") is dropped at once

    def _end_event(self) -> ServerSentEvent | None:
        event = ServerSentEvent(self._event or "message", "\n".join(self._data)) if self._data else None
        self._event, self._data, self._event_chars = "", [], 0
        return event


PING = b": ping\n\n"  # a comment: keeps proxies from closing a silent connection, and browsers ignore it


def encode(event: str, data: Mapping[str, object], event_id: object = None) -> bytes:
    """One event with a JSON object as data; ASCII, so no character of a reply can end a line.

    `event_id` is what a reader that comes back sends as Last-Event-ID.
    """
    line = "" if event_id is None else f"id: {event_id}\n"
    return f"{line}event: {event}\ndata: {json.dumps(data)}\n\n".encode("ascii")
