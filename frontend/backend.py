"""The backend's HTTP client: `requests`, blocking, one connection a reply.

Its whole knowledge is the backend's contract: POST /chat answers with server-sent events (or one JSON object), GET
/health says how it is. Every failure leaves as one of `errors.BackendError`'s kinds; whether to ask again is decided in
`asking.py`. No text of a dialogue is logged.
"""

import json
import socket
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
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
CHUNK_BYTES = 65_536  # read at most so much at once, whatever size a chunk says it has
MAX_ERROR_BYTES = 65_536
# What a proxy says by itself while nobody stands behind it; the backend's own errors have the contract's shape.
PROXY_FAILURES = (404, 500, 502, 503)
REPLY_INTERRUPTED = "reply_interrupted"  # the backend's name for: whoever was writing has died
AWAY = "It cannot be reached at the moment. Your message is kept."
BROKE_OFF = "It broke off before it was complete."


@dataclass(frozen=True)
class Question:
    """What is asked. Asked again with the same `request_id` and `seed`, it has the same reply."""

    dialog: Sequence[str]
    request_id: str
    asker: str = ""  # for whom: the backend, when it is busy, gives each its share
    seed: int | None = None  # None: the backend draws one, and says it in `Start`

    @property
    def body(self) -> bytes:
        """The request's JSON: UTF-8, since escapes write an emoji as twelve bytes and the backend limits its bodies."""
        generation = {} if self.seed is None else {"generation": {"seed": self.seed}}
        return json.dumps({"dialog": self.dialog, "stream": True} | generation, ensure_ascii=False).encode()


class Start(BaseModel):
    """The backend has begun to answer, with this seed. Older backends do not say so."""

    model_config = ConfigDict(frozen=True)
    seed: int | None = None


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
    """The connections of one reply, one at a time, so that another thread can hang up at any moment.

    A thread that waits in `recv` does not notice a closed response; it wakes up when the socket is shut down. The
    backend sees the connection end and frees the slot, also while the request still waits in its queue.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._socket: socket.socket | None = None
        self._hung_up = threading.Event()

    def pause(self, seconds: float) -> bool:
        """Wait before the next connection. False, at once, when `hang_up` was called: there shall be none."""
        return not self._hung_up.wait(seconds)

    def hold(self, sock: socket.socket) -> None:
        """Remember the connection's socket; end it at once if the caller has hung up meanwhile."""
        with self._lock:
            self._socket = sock
            if self._hung_up.is_set():
                _shut_down(sock)

    def hang_up(self) -> None:
        """End the connection, now or as soon as there is one. Never blocks, never raises."""
        with self._lock:
            self._hung_up.set()
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

    def chat(self, question: Question, line: Line) -> Iterator[Start | Token | Done]:
        """Ask once for the next turn of a dialogue (the user's turn is last): tokens, then exactly one `Done`.

        Blocks between events for at most the read timeout. Raises BackendError; after `line.hang_up()` that is
        Interrupted, within moments.
        """
        timeout = (self._settings.connect_timeout_seconds, self._settings.read_timeout_seconds)
        with self._session(line) as session, _failures_mapped():
            response = session.post(
                f"{self._settings.backend_url}/chat",
                data=question.body,
                headers={
                    "Accept": "text/event-stream",
                    "Content-Type": "application/json",
                    "X-Request-Id": question.request_id,
                    "X-Session-Id": question.asker,
                },
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

    def _reply(self, response: requests.Response) -> Iterator[Start | Token | Done]:
        limit = self._settings.max_reply_chars
        if not response.headers.get("Content-Type", "").startswith("text/event-stream"):
            # A backend of the same contract that does not stream answers with the whole reply.
            yield _checked(Done.model_validate_json(_content(response, limit + EVENT_OVERHEAD_CHARS)), limit)
            return
        received = 0
        for event in _events(response, limit + EVENT_OVERHEAD_CHARS):
            if event.event == "token":
                token = Token.model_validate_json(event.data)
                received += len(token.text)
                _check_length(received, limit)
                yield token
            elif event.event == "done":
                yield _checked(Done.model_validate_json(event.data), limit)
                return
            elif event.event == "start":
                yield Start.model_validate_json(event.data)
            elif event.event == "error":
                problem = _Problem.of(event.data) or _Problem()
                raise Interrupted(f"{BROKE_OFF} {problem.message}".strip(), broken=problem.is_death)
        raise Interrupted(BROKE_OFF, broken=True)


def _events(response: requests.Response, max_event_chars: int) -> Iterator[ServerSentEvent]:
    parser = SseParser(max_event_chars)
    # With chunked encoding each chunk is there as it arrives; without it, whatever is asked for is waited for.
    chunk_size = CHUNK_BYTES if response.headers.get("Transfer-Encoding", "").lower() == "chunked" else 1
    for chunk in response.iter_content(chunk_size):
        yield from parser.feed(chunk)


def _content(response: requests.Response, limit: int) -> bytes:
    """The body of an answer that is no stream; what is cut off at about `limit` bytes cannot be parsed."""
    content = bytearray()
    for chunk in response.iter_content(CHUNK_BYTES):
        content += chunk
        if len(content) > limit:
            break
    return bytes(content)


def _check_length(received: int, limit: int) -> None:
    if received > limit:
        raise Interrupted(f"It was broken off: it is longer than {limit:,} characters.")


def _checked(done: Done, limit: int) -> Done:
    _check_length(len(done.response), limit)
    update: dict[str, Any] = {"response": clean(done.response)}
    if len(update["response"]) != len(done.response):
        update["citations"] = []  # they count the characters of the text as it came
    return done.model_copy(update=update)


class _Problem(BaseModel):
    """The backend's error shape, `{"error": {"type", "message", "request_id"}}`, read leniently."""

    type: str = ""
    message: str = ""

    @classmethod
    def of(cls, body: str | bytes) -> "_Problem | None":
        """None when it is not the backend that speaks."""
        try:
            return _Envelope.model_validate_json(body).error
        except ValidationError:
            return None

    @property
    def is_death(self) -> bool:
        """Whether those who wrote the reply have died, so that others may go on."""
        return self.type == REPLY_INTERRUPTED


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
        raise Unavailable(AWAY, broken=True) from error
    except requests.ReadTimeout as error:
        raise Interrupted("The chat service fell silent for too long.") from error
    except requests.exceptions.ChunkedEncodingError as error:
        raise Interrupted(BROKE_OFF, broken=True) from error
    except requests.ConnectionError as error:
        # `requests` uses one type for "refused" and for "timed out between two chunks"; the latter wraps a timeout.
        raise _connection_error(error) from error
    except (requests.RequestException, HTTPError, OSError) as error:
        raise Unavailable(AWAY, broken=True) from error
    except (ValidationError, ValueError) as error:
        raise Interrupted("The chat service answered something that is not a reply.") from error


def _connection_error(error: requests.ConnectionError) -> BackendError:
    if "Read timed out" in str(error):
        return Interrupted("The chat service fell silent for too long.")
    return Unavailable(AWAY, broken=True)


def _raise_for(response: requests.Response) -> NoReturn:
    """Map a status code and the error it carries."""
    problem = _Problem.of(_content(response, MAX_ERROR_BYTES))
    wait = _retry_after(response.headers)
    if problem is None and response.status_code in PROXY_FAILURES:
        raise Unavailable(f"Nobody stands behind its address: status {response.status_code}.", wait, broken=True)
    message, is_death = (problem.message, problem.is_death) if problem else ("", False)
    if response.status_code == 429:
        raise Busy("Its queues are full. Your message is kept.", wait)
    if response.status_code == 504:
        raise Interrupted("The chat service could not finish the reply in time.", wait)
    if 400 <= response.status_code < 500:
        raise Refused(message or f"The chat service answered with status {response.status_code}.", wait)
    if response.status_code == 503:
        raise Unavailable(f"It is not ready. {message}".strip(), wait, broken=is_death)
    raise Unavailable(f"It failed with status {response.status_code}. {message}".strip(), wait)


def _retry_after(headers: Mapping[str, str]) -> float | None:
    """Seconds of a Retry-After header; its other form, a date, is of no use for a wait of seconds."""
    try:
        seconds = float(headers.get("Retry-After", ""))
    except ValueError:
        return None
    return seconds if 0 <= seconds <= 86_400 else None
