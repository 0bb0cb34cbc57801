"""Asks the backend until a reply is whole: where the connection breaks, the same question is put again.

The request id and the seed make the backend write the same reply again, or find the one that it is still writing. So
the characters that are shown already are dropped, and the reply goes on where it broke off.
"""

import logging
import random
import time
from asyncio import sleep
from collections.abc import AsyncGenerator, Iterator
from contextlib import aclosing
from dataclasses import dataclass, replace

from frontend.backend import Backend, Done, Question, Start, Token
from frontend.errors import BackendError, Busy, Interrupted, Starting, Unavailable
from frontend.logs import about
from frontend.problems import BROKE_OFF
from frontend.words import _

log = logging.getLogger("frontend.asking")

# Before each further attempt: long enough, together, for a proxy or an ingress to be replaced.
PAUSES_SECONDS = (0.2, 0.5, 1.0, 2.0, 2.0, 2.0)
COLD_START_SECONDS = 3.0  # between questions while a replica starts, where the backend does not say
JITTER = 0.25  # replies that broke together do not all come back in the same moment


@dataclass(frozen=True)
class Restart:
    """The reply has become another one, say by a new configuration: what was shown of it is void."""


@dataclass(frozen=True)
class ColdStart:
    """The backend starts a replica first, and is asked again until it is there."""


async def whole_reply(
    backend: Backend, question: Question, seconds: float
) -> AsyncGenerator[ColdStart | Start | Token | Restart | Done]:
    """The reply to a question, across broken connections: tokens, then exactly one `Done`.

    A `Start` comes before the tokens of each attempt of which it is known who writes it. `ColdStart`s come before
    that, where a replica is started first.

    Nothing is asked anew later than `seconds` from now. Raises BackendError, the last attempt's.
    """
    ends_at = time.monotonic() + seconds
    shown = _Shown()
    for asked_again in range(len(PAUSES_SECONDS) + 1):
        try:
            async with aclosing(_once_started(backend, question, ends_at)) as items:
                async for item in items:
                    if isinstance(item, Done):
                        yield item.asked_again(asked_again)
                        return
                    if isinstance(item, ColdStart):
                        yield item
                    elif isinstance(item, Start):
                        question = replace(question, seed=item.origin.seed if question.seed is None else question.seed)
                        if item.origin.replica_id:
                            yield item
                    else:
                        for piece in shown.add(item.text):
                            yield piece
        except BackendError as error:
            pause = _pause(error, asked_again)
            if pause is None or time.monotonic() + pause > ends_at:
                raise shown.told(error) from error.__cause__
            log.warning(
                "request %s: asking again after %.1f s, it is %s",
                question.request_id,
                pause,
                error.type,
                extra=about(question.request_id),
            )
            shown.rewind()
            await sleep(pause)


async def _once_started(
    backend: Backend, question: Question, ends_at: float
) -> AsyncGenerator[ColdStart | Start | Token | Done]:
    """One attempt, put off for as long as the backend says that a replica is starting. Raises BackendError."""
    while True:
        try:
            async with aclosing(backend.chat(question)) as items:
                async for item in items:
                    yield item
            return
        except Starting as error:
            pause = (error.retry_after or COLD_START_SECONDS) * random.uniform(1, 1 + JITTER)
            if time.monotonic() + pause > ends_at:
                raise
        yield ColdStart()
        await sleep(pause)


def _pause(error: BackendError, asked_again: int) -> float | None:
    """How long to wait before asking once more; None: the error is the answer."""
    # A full queue is shown to the person, with when to come back; but a reply that had begun is waited for.
    waits = asked_again and error.retry_after is not None and isinstance(error, Busy | Unavailable)
    if asked_again == len(PAUSES_SECONDS) or not (error.broken or waits):
        return None
    pause = PAUSES_SECONDS[asked_again] * random.uniform(1 - JITTER, 1 + JITTER)
    return max(pause, error.retry_after or 0)


class _Shown:
    """The text that has been passed on, and how much of it the present attempt has repeated."""

    def __init__(self) -> None:
        self._text = ""
        self._repeated = 0

    def rewind(self) -> None:
        """The next attempt begins with the first character."""
        self._repeated = 0

    def told(self, error: BackendError) -> BackendError:
        """What to say of the last attempt's error: a reply whose beginning was shown is said to have broken off."""
        if self._text and isinstance(error, Busy | Unavailable):
            return Interrupted(f"{_(BROKE_OFF)} {error.message}", error.retry_after)
        return error

    def add(self, piece: str) -> Iterator[Token | Restart]:
        """What is new in the next piece of an attempt."""
        known = self._text[self._repeated : self._repeated + len(piece)]
        if piece.startswith(known):
            new = piece.removeprefix(known)
        else:
            new = self._text[: self._repeated] + piece
            self._text = ""
            yield Restart()
        self._text += new
        self._repeated += len(piece)
        if new:
            yield Token(text=new)
