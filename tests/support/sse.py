"""Reads server-sent events off a response."""

import json
from collections.abc import Iterator
from typing import Any

import requests

from frontend.sse import SseParser
from serve_app.event_reader import EventReader


def events(response: requests.Response) -> Iterator[tuple[str, dict[str, Any]]]:
    """(event name, data) of each event, as it arrives."""
    reader = EventReader()
    for line in response.iter_lines(chunk_size=1):
        if event := reader.read(line):
            yield event


def all_events(content: bytes) -> list[tuple[str, dict[str, Any]]]:
    """(event name, data) of each event of a whole response."""
    return [(event.event, json.loads(event.data)) for event in SseParser(1_000_000).feed(content)]
