"""A reply on its way from the step loop's thread to the event loop of whoever reads it."""

import asyncio
import math
from collections import defaultdict
from collections.abc import AsyncIterator, Iterable
from copy import copy
from typing import Literal

from serve_app.engine.errors import EngineFailed, ReplyFailed
from serve_app.messages import FinishReason

Ending = FinishReason | Literal["deadline"]
Failure = ReplyFailed | EngineFailed
_Chunk = tuple[list[int], Ending | Failure | None]


class TokenStream:
    """The reader's end of one request: iterate over it for lists of new tokens, the end-of-sequence token left out.

    After the last list, `ending` says why the reply ended. Where it cannot be finished, raises what `failure` then is.
    """

    def __init__(self, join_s: float) -> None:
        """join_s: seconds in which tokens join to one list; the first travels alone, at once."""
        self.ending: Ending | None = None
        self.failure: Failure | None = None
        self.cancelled = False  # set by any thread, acted upon before the next step
        self._join_s = join_s
        self._unsent: _Chunk = ([], None)
        self._sent_in = -math.inf  # the last time, in units of join_s
        self._loop = asyncio.get_running_loop()
        self._arrived: asyncio.Queue[_Chunk] = asyncio.Queue()

    async def __aiter__(self) -> AsyncIterator[list[int]]:
        while self.ending is None and self.failure is None:
            tokens, ending = await self._arrived.get()
            if isinstance(ending, Exception):
                self.failure = ending
                raise copy(ending)  # others may have the same one, and each raise adds to its traceback
            self.ending = ending
            yield tokens

    def cancel(self) -> None:
        """Free the slot before the next decoding step. Harmless when the reply has ended."""
        self.cancelled = True

    def put(self, tokens: list[int], ending: Ending | Failure | None) -> None:
        """The next tokens, from the step loop's thread; `send` hands them out. Nothing may follow an ending."""
        self._unsent = ([*self._unsent[0], *tokens], ending)

    def _is_due(self, now: float) -> bool:
        """All replies become due at the multiples of their `join_s`, so that they can travel together."""
        return self._unsent[1] is not None or not self._join_s or now // self._join_s > self._sent_in

    def _take_unsent(self, now: float) -> _Chunk:
        chunk, self._unsent = self._unsent, ([], None)
        if self._join_s:
            self._sent_in = now // self._join_s
        return chunk


def send(replies: Iterable[TokenStream], now: float) -> None:
    """Hand out what is due, and wake each event loop once: a wake-up takes a core from the step loop's threads."""
    due: defaultdict[asyncio.AbstractEventLoop, list[TokenStream]] = defaultdict(list)
    for reply in replies:
        if reply._is_due(now):
            due[reply._loop].append(reply)
    for loop, ready in due.items():
        try:
            loop.call_soon_threadsafe(_arrive, [(reply, reply._take_unsent(now)) for reply in ready])
        except RuntimeError:  # the readers' event loop is closed: nobody is left to read
            for reply in ready:
                reply.cancel()


def _arrive(chunks: list[tuple[TokenStream, _Chunk]]) -> None:
    for reply, chunk in chunks:
        reply._arrived.put_nowait(chunk)
