"""A client of POST /chat, for the command line: a question in, pieces of text and the whole reply out.

Where the connection breaks, the same reply is asked for again by its id, and goes on after the characters that were
given already (docs/reliability.md). Knows nothing of terminals.
"""

import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any
from uuid import uuid4

import requests

from serve_app.errors import ServeAppError
from serve_app.event_reader import EventReader

_CONNECT_S = 5.0
_READ_S = 120.0  # longer than any deadline that the service itself keeps
PAUSES_S = (0.5, 1.0, 2.0, 4.0)  # before each further attempt


class ServiceError(ServeAppError):
    """The service is away, or has refused; the text says which, and what it said."""


class _Broken(Exception):
    """There is no connection, or it ended before the reply did."""


@dataclass(frozen=True)
class Finished:
    """The reply as `done` has it; `seconds` since the question was asked, and since then to the first piece."""

    reply: dict[str, Any]
    seconds: float
    first_piece_s: float


class ChatClient:
    def __init__(self, url: str, key: str | None = None) -> None:
        """url: where the service is, without /chat. key: an API key, where the service asks for one."""
        self._url = url.rstrip("/")
        self._http = requests.Session()
        if key:
            self._http.headers["Authorization"] = f"Bearer {key}"

    def ask(self, body: dict[str, Any]) -> Iterator[str | Finished]:
        """The reply's text, piece by piece, then `Finished`. body: as docs/api.md says. Raises ServiceError."""
        request_id = uuid4().hex
        asked_at = time.monotonic()
        first_piece_s: float | None = None
        begun, given = False, ""
        for pause in (*PAUSES_S, None):
            repeated = 0
            try:
                for event, data in self._stream(body, request_id):
                    begun = True
                    if event == "token":
                        first_piece_s = first_piece_s or time.monotonic() - asked_at
                        new = data["text"][max(0, len(given) - repeated) :]
                        repeated += len(data["text"])
                        given += new
                        yield new
                    elif event == "done":
                        seconds = time.monotonic() - asked_at
                        yield Finished(data, seconds, first_piece_s or seconds)
                        return
                    elif event == "error":
                        raise ServiceError(data["error"]["message"])
                raise _Broken("the connection broke before the reply was complete")
            except _Broken as error:
                if pause is None or not begun:
                    raise ServiceError(f"{self._url}: {error}; is the service running there?") from None
                time.sleep(pause)

    def _stream(self, body: dict[str, Any], request_id: str) -> Iterator[tuple[str, dict[str, Any]]]:
        try:
            with self._post(body, request_id) as response:
                if not response.ok:
                    raise ServiceError(_refusal(response))
                reader = EventReader()
                for line in response.iter_lines(chunk_size=None):
                    if event := reader.read(line):
                        yield event
        except requests.RequestException as error:
            raise _Broken(str(error).rsplit(": ", 1)[-1].rstrip("'\")")) from None

    def _post(self, body: dict[str, Any], request_id: str) -> requests.Response:
        return self._http.post(
            f"{self._url}/chat",
            json=body | {"stream": True},
            headers={"x-request-id": request_id},
            stream=True,
            timeout=(_CONNECT_S, _READ_S),
        )


def _refusal(response: requests.Response) -> str:
    try:
        message = str(response.json()["error"]["message"])
    except (ValueError, KeyError, TypeError):
        message = "this is not the service's own answer; is the address right?"
    wait = response.headers.get("Retry-After")
    return f"{response.status_code}: {message}" + (f" (try again in {wait} s)" if wait else "")
