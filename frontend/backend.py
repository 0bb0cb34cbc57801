"""The backend's HTTP client: `requests`, blocking, one connection a reply.

Its whole knowledge is the backend's contract: POST /chat answers with server-sent events (or one JSON object), GET
/health says how it is. Every failure leaves as one of `errors.BackendError`'s kinds. No text of a dialogue is logged.
"""

import json
import socket
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, NoReturn

import requests
from pydantic import BaseModel, ConfigDict, ValidationError
from requests.adapters import HTTPAdapter
from urllib3.connection import HTTPConnection
from urllib3.exceptions import HTTPError

from frontend.errors import BackendError, Busy, Interrupted, Refused, Unavailable
from frontend.settings import Settings
from frontend.sse import ServerSentEvent, SseParser
from frontend.text import clean

EVENT_OVERHEAD_CHARS = 1_000_000  # besides the reply, a `done` event carries passages of knowledge
AWAY = "It cannot be reached at the moment. Your message is kept."
BROKE_OFF = "It broke off before it was complete."


class Token(BaseModel):
    """A piece of the reply's text, to be appended."""

    model_config = ConfigDict(frozen=True)
    text: str


class Done(BaseModel):
    """The complete reply. `response` is the authoritative text; the rest tells where it came from."""

    model_config = ConfigDict(frozen=True, extra="allow")
    response: str


class Model(BaseModel):
    """Which model the backend uses, and why if it is not the one asked for."""

    name: str = ""
    requested: str = ""
    fallback: bool = False
    reason: str | None = None


class Health(BaseModel):
    """What GET /health says. `status` is `ok`, or `unavailable` (also when nothing answered)."""

    status: str
    model: Model = Model()
    config_version: str | None = None
    config_error: str | None = None
    ready_replicas: int = 0


class Line:
    """The connection of one reply, so that another thread can hang up at any moment.

    A thread that waits in `recv` does not notice a closed response; it wakes up when the socket is shut down. The
    backend sees the connection end and frees the slot, also while the request still waits in its queue.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._socket: socket.socket | None = None
        self._hung_up = False

    @property
    def hung_up(self) -> bool:
        """Whether `hang_up` was called."""
        return self._hung_up

    def hold(self, sock: socket.socket) -> None:
        """Remember the connection's socket; end it at once if the caller has hung up meanwhile."""
        with self._lock:
            self._socket = sock
            if self._hung_up:
                _shut_down(sock)

    def hang_up(self) -> None:
        """End the connection, now or as soon as there is one. Never blocks, never raises."""
        with self._lock:
            self._hung_up = True
            if self._socket is not None:
                _shut_down(self._socket)


def _shut_down(sock: socket.socket) -> None:
    try:
        sock.shutdown(socket.SHUT_RDWR)
    except OSError:  # closed already: nothing is left to end
        return


class _LineAdapter(HTTPAdapter):
    """Gives the sockets that it opens to a `Line`."""

    def __init__(self, line: Line) -> None:
        super().__init__()
        self._line = line

    def get_connection_with_tls_context(self, *args: Any, **kwargs: Any) -> Any:
        pool = super().get_connection_with_tls_context(*args, **kwargs)
        pool.ConnectionCls = _held_by(self._line, pool.ConnectionCls)  # type: ignore[attr-defined]  # stubs lack it
        return pool


def _held_by(line: Line, base: Any) -> type[HTTPConnection]:
    class HeldConnection(base):  # type: ignore[misc]  # HTTP or HTTPS, as the pool has it
        def connect(self) -> None:
            super().connect()
            line.hold(self.sock)

    return HeldConnection


class Backend:
    """The backend at `settings.backend_url`. Safe to use from many threads: every call has a session of its own."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings

    def chat(self, dialog: Sequence[str], line: Line) -> Iterator[Token | Done]:
        """Ask for the next turn of `dialog` (the user's turn is last): tokens, then exactly one `Done`.

        Blocks between events for at most the read timeout. Raises BackendError; after `line.hang_up()` that is
        Interrupted, within moments.
        """
        timeout = (self._settings.connect_timeout_seconds, self._settings.read_timeout_seconds)
        with self._session(line) as session, _failures_mapped():
            response = session.post(
                f"{self._settings.backend_url}/chat",
                # UTF-8, not `json=`: that writes an emoji as twelve bytes, and the backend limits its bodies.
                data=json.dumps({"dialog": dialog, "stream": True}, ensure_ascii=False).encode(),
                headers={"Accept": "text/event-stream", "Content-Type": "application/json"},
                timeout=timeout,
                stream=True,
                allow_redirects=False,
            )
            if response.status_code != 200:
                _raise_for(response)
            yield from self._reply(response)

    def health(self) -> Health:
        """How the backend is; `unavailable` when nothing, or nothing sensible, answers. Never raises."""
        timeout = self._settings.health_timeout_seconds
        try:
            with self._session(Line()) as session:
                answer = session.get(f"{self._settings.backend_url}/health", timeout=timeout, allow_redirects=False)
                return Health.model_validate(answer.json())
        except (requests.RequestException, HTTPError, OSError, ValueError):
            return Health(status="unavailable")

    @contextmanager
    def _session(self, line: Line) -> Iterator[requests.Session]:
        with requests.Session() as session:
            # A proxy or a .netrc of the environment is for the outside world; messages go to the backend alone.
            session.trust_env = False
            adapter = _LineAdapter(line)
            session.mount("http://", adapter)
            session.mount("https://", adapter)
            yield session

    def _reply(self, response: requests.Response) -> Iterator[Token | Done]:
        if not response.headers.get("Content-Type", "").startswith("text/event-stream"):
            # A backend of the same contract that does not stream answers with the whole reply.
            yield _cleaned(Done.model_validate_json(response.content))
            return
        limit = self._settings.max_reply_chars
        received = 0
        for event in _events(response, limit + EVENT_OVERHEAD_CHARS):
            if event.event == "token":
                token = Token.model_validate_json(event.data)
                received += len(token.text)
                _check_length(received, limit)
                yield token
            elif event.event == "done":
                done = Done.model_validate_json(event.data)
                _check_length(len(done.response), limit)
                yield _cleaned(done)
                return
            elif event.event == "error":
                raise Interrupted(f"{BROKE_OFF} {_Problem.of(event.data).message}".strip())
        raise Interrupted(BROKE_OFF)


def _events(response: requests.Response, max_event_chars: int) -> Iterator[ServerSentEvent]:
    parser = SseParser(max_event_chars)
    # With chunked encoding `None` yields each chunk as it arrives; without it, `None` would wait for the very end.
    chunk_size = None if response.headers.get("Transfer-Encoding", "").lower() == "chunked" else 1
    for chunk in response.iter_content(chunk_size):
        yield from parser.feed(chunk)


def _check_length(received: int, limit: int) -> None:
    if received > limit:
        raise Interrupted(f"It was broken off: it is longer than {limit:,} characters.")


def _cleaned(done: Done) -> Done:
    update: dict[str, Any] = {"response": clean(done.response)}
    if len(update["response"]) != len(done.response):
        update["citations"] = []  # they count the characters of the text as it came
    return done.model_copy(update=update)


class _Problem(BaseModel):
    """The backend's error shape, `{"error": {"type", "message", "request_id"}}`, read leniently."""

    message: str = ""

    @classmethod
    def of(cls, body: str | bytes) -> "_Problem":
        try:
            return _Envelope.model_validate_json(body).error
        except ValidationError:
            return cls()


class _Envelope(BaseModel):
    error: _Problem


@contextmanager
def _failures_mapped() -> Iterator[None]:
    """Turn what `requests`, urllib3 and the parsers raise into BackendError."""
    try:
        yield
    except BackendError:
        raise
    except (requests.ConnectTimeout, requests.exceptions.SSLError, requests.exceptions.ProxyError) as error:
        raise Unavailable(AWAY) from error
    except requests.ReadTimeout as error:
        raise Interrupted("The chat service fell silent for too long.") from error
    except requests.exceptions.ChunkedEncodingError as error:
        raise Interrupted(BROKE_OFF) from error
    except requests.ConnectionError as error:
        # `requests` uses one type for "refused" and for "timed out between two chunks"; the latter wraps a timeout.
        raise _connection_error(error) from error
    except (requests.RequestException, HTTPError, OSError) as error:
        raise Unavailable(AWAY) from error
    except (ValidationError, ValueError) as error:
        raise Interrupted("The chat service answered something that is not a reply.") from error


def _connection_error(error: requests.ConnectionError) -> BackendError:
    if "Read timed out" in str(error):
        return Interrupted("The chat service fell silent for too long.")
    return Unavailable(AWAY)


def _raise_for(response: requests.Response) -> NoReturn:
    """Map a status code and the error it carries."""
    message = _Problem.of(response.content).message
    wait = _retry_after(response.headers)
    if response.status_code == 429:
        raise Busy("Its queues are full. Your message is kept.", wait)
    if response.status_code == 504:
        raise Interrupted("The chat service could not finish the reply in time.", wait)
    if 400 <= response.status_code < 500:
        raise Refused(message or f"The chat service answered with status {response.status_code}.", wait)
    if response.status_code == 503:
        raise Unavailable(f"It is not ready. {message}".strip(), wait)
    raise Unavailable(f"It failed with status {response.status_code}. {message}".strip(), wait)


def _retry_after(headers: Mapping[str, str]) -> float | None:
    """Seconds of a Retry-After header; its other form, a date, is of no use for a wait of seconds."""
    try:
        seconds = float(headers.get("Retry-After", ""))
    except ValueError:
        return None
    return seconds if 0 <= seconds <= 86_400 else None
