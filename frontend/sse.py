"""Server-sent events, both ways. Knows nothing of chats, HTTP or sockets.

The format is the one of the HTML standard, section 9.2: fields of `name: value` lines, an empty line ends an event.
"""

import codecs
import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

# CR, LF or CR LF; a CR at the end of what has arrived may be half of a CR LF, so it waits for the next byte.
_LINE_END = re.compile(r"\r\n|\n|\r(?!\Z)")


@dataclass(frozen=True)
class ServerSentEvent:
    """One event: its name and its data lines joined by newlines."""

    event: str
    data: str


@dataclass
class SseParser:
    """Turns chunks of bytes, cut anywhere, into events. Raises ValueError past `max_event_chars` without an event."""

    max_event_chars: int
    _decoder: codecs.IncrementalDecoder = field(
        default_factory=lambda: codecs.getincrementaldecoder("utf-8")("replace")
    )
    _text: str = ""
    _event: str = ""
    _data: list[str] = field(default_factory=list)
    _held: int = 0

    def feed(self, chunk: bytes) -> Iterator[ServerSentEvent]:
        """Yield the events that `chunk` completes."""
        *lines, self._text = _LINE_END.split(self._text + self._decoder.decode(chunk))
        for line in lines:
            if line:
                self._field(line)
            elif (event := self._finish()) is not None:
                yield event
        if self._held + len(self._text) > self.max_event_chars:
            raise ValueError(f"an event of more than {self.max_event_chars} characters")

    def _field(self, line: str) -> None:
        name, _, value = line.partition(":")
        value = value.removeprefix(" ")
        if name == "event":
            self._event = value
        elif name == "data":
            self._data.append(value)
        self._held += len(line) if name else 0  # a comment (": ping") is dropped at once

    def _finish(self) -> ServerSentEvent | None:
        event = ServerSentEvent(self._event or "message", "\n".join(self._data)) if self._data else None
        self._event, self._data, self._held = "", [], 0
        return event


PING = b": ping\n\n"  # a comment: keeps proxies from closing a silent connection, and browsers ignore it


def encode(event: str, data: Mapping[str, object]) -> bytes:
    """One event with a JSON object as data; ASCII, so no character of a reply can end a line."""
    return f"event: {event}\ndata: {json.dumps(data)}\n\n".encode("ascii")
