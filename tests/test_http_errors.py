"""The limits of bodies, as the ASGI application sees them: no socket, no clock but the event loop's."""

import asyncio
import time
from collections.abc import Callable

import pytest
from starlette.exceptions import HTTPException
from starlette.types import Message, Receive, Scope, Send

from serve_app.http_errors import BodyLimits

SECONDS = 0.2


def read(scope: Scope, receive: Receive, until: Callable[[Message], bool]) -> list[Message]:
    """What an application behind the limits receives."""
    received: list[Message] = []

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        while not received or not until(received[-1]):
            received.append(await receive())

    async def send(message: Message) -> None:
        raise NotImplementedError

    limits = BodyLimits(app, max_bytes=100, seconds=SECONDS)
    asyncio.run(limits({"type": "http", "headers": [], **scope}, receive, send))
    return received


def sending(parts: list[bytes], pause_s: float, *, ends: bool = True) -> Receive:
    """A client that sends the next part after a pause, and then leaves; or, where it does not end, sends nothing."""
    left = list(parts)

    async def receive() -> Message:
        if left:
            await asyncio.sleep(pause_s)
            return {"type": "http.request", "body": left.pop(0), "more_body": bool(left) or not ends}
        await asyncio.sleep(2 * SECONDS if ends else 3600)
        return {"type": "http.disconnect"}

    return receive


def is_last(message: Message) -> bool:
    return not message.get("more_body", False)


def has_left(message: Message) -> bool:
    return bool(message["type"] == "http.disconnect")


@pytest.mark.parametrize(
    "receive",
    [sending([b"x"] * 99, SECONDS / 5), sending([b"x"], 0, ends=False), sending([b""] * 99, SECONDS / 5)],
    ids=["by the byte", "then nothing", "by no byte"],
)
def test_a_body_that_takes_too_long_is_408_at_that_time(receive: Receive) -> None:
    """It counts from the first look on, whatever comes meanwhile: a client that dawdles held room for ever."""
    began = time.monotonic()
    with pytest.raises(HTTPException) as refused:
        read({}, receive, is_last)
    assert refused.value.status_code == 408
    assert (refused.value.headers or {})["Connection"] == "close"
    assert SECONDS * 0.9 <= time.monotonic() - began < 10 * SECONDS


def test_once_the_body_is_complete_there_is_no_hurry() -> None:
    """A stream waits for its client's leaving for as long as it is written."""
    received = read({}, sending([b"one", b"two"], 0), has_left)
    assert [message.get("body") for message in received] == [b"one", b"two", None]


@pytest.mark.parametrize(
    ("headers", "parts"),
    [([(b"content-length", b"101")], [b"x"]), ([], [b"x" * 50, b"x" * 51])],
    ids=["declared", "found out"],
)
def test_a_body_that_is_too_large_is_413(headers: list[tuple[bytes, bytes]], parts: list[bytes]) -> None:
    with pytest.raises(HTTPException) as refused:
        read({"headers": headers}, sending(parts, 0), is_last)
    assert refused.value.status_code == 413
