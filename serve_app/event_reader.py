"""Reads server-sent events as this service writes them: a name, then one line of JSON, for each."""

import json
from typing import Any


class EventReader:
    """Is given a stream's lines in turn, however they arrive."""

    def __init__(self) -> None:
        self._name = ""

    def read(self, line: bytes) -> tuple[str, Any] | None:
        """The event's name and data, where this line completes one. Raises ValueError where its data is not JSON."""
        field, _, value = line.rstrip(b"\r\n").partition(b": ")
        if field == b"event":
            self._name = value.decode()
        return (self._name, json.loads(value)) if field == b"data" else None
