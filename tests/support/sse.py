"""Reads server-sent events off a streamed response."""

import json
from collections.abc import Iterator
from typing import Any

import requests


def events(response: requests.Response) -> Iterator[tuple[str, dict[str, Any]]]:
    """(event name, data) of each event, as it arrives."""
    name = ""
    for line in response.iter_lines(chunk_size=1, decode_unicode=True):
        if line.startswith("event: "):
            name = line.removeprefix("event: ")
        elif line.startswith("data: "):
            yield name, json.loads(line.removeprefix("data: "))
