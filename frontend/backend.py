"""The backend's client of replies: asynchronous, one connection a reply, which ends when its reader is cancelled.

Its whole knowledge is the backend's contract: POST /chat answers with server-sent events, or with one JSON object.
Every failure leaves as one of `errors.BackendError`'s kinds; whether to ask again is decided in `asking.py`. No text
of a dialogue is logged.
"""

import json
from collections.abc import AsyncGenerator, AsyncIterator, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace

import aiohttp
from opentelemetry.trace import SpanKind
from pydantic import BaseModel, ConfigDict

from frontend.errors import BackendError, Interrupted, Unavailable
from frontend.origin import Origin
from frontend.problems import AWAY, BROKE_OFF, MAX_ERROR_BYTES, Problem, refusal
from frontend.settings import Settings
from frontend.sse import ServerSentEvent, SseParser
from frontend.text import clean
from frontend.tracing import carried, span
from frontend.words import _

EVENT_OVERHEAD_CHARS = 1_000_000  # besides the reply, a `done` event carries passages of knowledge


@dataclass(frozen=True)
class Question:
    """What is asked. Asked again with the same `request_id` and `seed`, it has the same reply."""

    dialog: Sequence[str]
    request_id: str
    asker: str = ""  # for whom: the backend, when it is busy, gives each its share
    seed: int | None = None  # None: the backend draws one, and says it in `Start`
    knowledge: str | None = None  # None: as the backend is configured

    @property
    def body(self) -> bytes:
        """The request's JSON: UTF-8, since escapes write an emoji as twelve bytes and the backend limits its bodies."""
        optional = {
            "generation": None if self.seed is None else {"seed": self.seed},
            "knowledge": self.knowledge,
        }
        given = {name: value for name, value in optional.items() if value is not None}
        return json.dumps({"dialog": self.dialog, "stream": True} | given, ensure_ascii=False).encode()

    @property
    def headers(self) -> dict[str, str]:
        """The request's headers. Nothing compressed: what is received stays as large as it was on the way."""
        return {
            "Accept": "text/event-stream",
            "Accept-Encoding": "identity",
            "Content-Type": "application/json",
            "X-Request-Id": self.request_id,
            "X-Session-Id": self.asker,
        }


@dataclass(frozen=True)
class Start:
    """The backend has begun to answer: who, with what, and with which seed. Older backends say less, or nothing."""

    origin: Origin


class Token(BaseModel):
    """A piece of the reply's text, to be appended."""

    model_config = ConfigDict(frozen=True)
    text: str


@dataclass(frozen=True)
class Done:
    """The complete reply: `response` is the authoritative text."""

    response: str
    origin: Origin = field(default_factory=Origin)

    @classmethod
    def parse(cls, body: str | bytes) -> "Done":
        """The contract's reply object. Raises ValidationError where it has no text."""
        reply = _ReplyObject.model_validate_json(body)
        text, origin = clean(reply.response), Origin.model_validate(reply.model_extra)
        if len(text) != len(reply.response):
            # Citations count the characters of the text as it came.
            origin = origin.model_copy(update={"citations": ()})
        return cls(text, origin)

    def asked_again(self, times: int) -> "Done":
        """The same, with how often it was asked for."""
        return replace(self, origin=self.origin.model_copy(update={"asked_again": times}))


class _ReplyObject(BaseModel):
    model_config = ConfigDict(extra="allow")
    response: str


class Backend:
    """The backend at `settings.backend_url`. Made in the event loop that it is used in; `close()` it in the end."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._session = open_session(settings)

    async def close(self) -> None:
        """End all connections."""
        await self._session.close()

    async def chat(self, question: Question) -> AsyncGenerator[Start | Token | Done]:
        """Ask once for the next turn of a dialogue (the user's turn is last): tokens, then exactly one `Done`.

        Takes at most the read timeout. Raises BackendError. Cancelled or closed, it ends the
        connection at once, and the backend frees the slot.
        """
        with span("POST /chat", SpanKind.CLIENT, request_id=question.request_id):
            with failures_mapped(Unavailable(_(AWAY), broken=True)):
                response = await self._session.post(
                    f"{self._settings.backend_url}/chat",
                    data=question.body,
                    headers=question.headers | carried(),
                    allow_redirects=False,
                )
            try:
                with failures_mapped(Interrupted(_(BROKE_OFF), broken=True)):
                    if response.status != 200:
                        raise refusal(response.status, response.headers, await content_of(response, MAX_ERROR_BYTES))
                    async for item in self._reply(response):
                        yield item
            finally:
                response.close()

    async def _reply(self, response: aiohttp.ClientResponse) -> AsyncIterator[Start | Token | Done]:
        limit = self._settings.max_reply_chars
        if not response.headers.get("Content-Type", "").startswith("text/event-stream"):
            # A backend of the same contract that does not stream answers with the whole reply.
            yield _checked(Done.parse(await content_of(response, limit + EVENT_OVERHEAD_CHARS)), limit)
            return
        received = 0
        async for event in _events(response, limit + EVENT_OVERHEAD_CHARS):
            if event.event == "token":
                token = Token.model_validate_json(event.data)
                received += len(token.text)
                _check_length(received, limit)
                yield token
            elif event.event == "done":
                yield _checked(Done.parse(event.data), limit)
                return
            elif event.event == "start":
                yield Start(Origin.model_validate_json(event.data))
            elif event.event == "error":
                problem = Problem.of(event.data) or Problem()
                raise Interrupted(f"{_(BROKE_OFF)} {problem.message}".strip(), broken=problem.is_death)
        raise Interrupted(_(BROKE_OFF), broken=True)


def open_session(settings: Settings) -> aiohttp.ClientSession:
    """Connections to the backend, with the page's key. Close it in the end."""
    key = settings.backend_key
    return aiohttp.ClientSession(
        headers={"Authorization": f"Bearer {key.get_secret_value()}"} if key else None,
        # How many replies there are is for `Replies` to say. A connection that was kept may be dead.
        connector=aiohttp.TCPConnector(limit=0, force_close=True),
        cookie_jar=aiohttp.DummyCookieJar(),
        auto_decompress=False,  # what is received stays as large as it was on the way
        timeout=aiohttp.ClientTimeout(
            total=settings.read_timeout_seconds, sock_connect=settings.connect_timeout_seconds
        ),
        # A proxy or a .netrc of the environment is for the outside world; messages go to the backend alone.
        trust_env=False,
    )


async def _events(response: aiohttp.ClientResponse, max_event_chars: int) -> AsyncIterator[ServerSentEvent]:
    parser = SseParser(max_event_chars)
    async for chunk in response.content.iter_any():  # as it arrives, whatever size a chunk says it has
        for event in parser.feed(chunk):
            yield event


async def content_of(response: aiohttp.ClientResponse, limit: int) -> bytes:
    """The body of an answer that is no stream; what is cut off at about `limit` bytes cannot be parsed."""
    content = bytearray()
    async for chunk in response.content.iter_any():
        content += chunk
        if len(content) > limit:
            break
    return bytes(content)


def _check_length(received: int, limit: int) -> None:
    if received > limit:
        raise Interrupted(_("It was broken off: it is longer than {limit} characters.", limit=limit))


def _checked(done: Done, limit: int) -> Done:
    _check_length(len(done.response), limit)
    return done


@contextmanager
def failures_mapped(lost: BackendError) -> Iterator[None]:
    """Turn what aiohttp and the parsers raise into BackendError; `lost`: what a connection that ends means here."""
    try:
        yield
    except aiohttp.ConnectionTimeoutError as error:
        raise lost from error
    except TimeoutError as error:
        raise Interrupted(_("The chat service could not finish the reply in time.")) from error
    except (aiohttp.ClientError, OSError) as error:
        raise lost from error
    except ValueError as error:  # of JSON, of pydantic and of the parser of events
        raise Interrupted(_("The chat service answered something that is not a reply.")) from error
