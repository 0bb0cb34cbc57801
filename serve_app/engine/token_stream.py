"""The tokens of a reply, passed from the step loop's thread to its reader's event loop."""

import asyncio
import math
from collections import defaultdict
from collections.abc import AsyncIterator, Iterable
from copy import copy
from typing import Literal

from serve_app.engine.errors import EngineFailed, ReplyFailed
from serve_app.engine.measures import ReplyTimes
from serve_app.messages import FinishReason

Ending = FinishReason | Literal["deadline"]
Failure = ReplyFailed | EngineFailed
_Chunk = tuple[list[int], Ending | Failure | None]


class TokenStream:
    """Iterate over it for lists of new tokens, without the end-of-sequence token.

    After the last list `ending` says why the reply ended. If it cannot be finished, the iteration raises `failure`.
    """

    def __init__(self, join_s: float, submitted_at: float) -> None:
        """join_s: seconds for which tokens are held back, to be handed out as one list; the first token is not."""
        self.times = ReplyTimes(submitted_at)
        self.ending: Ending | None = None
        self.failure: Failure | None = None
        self.cancelled = False  # set by any thread, read before every step
        self._join_s = join_s
        self._unsent: _Chunk = ([], None)
        self._sent_in = -math.inf  # number of the interval of join_s in which tokens were last sent
        self._loop = asyncio.get_running_loop()
        self._arrived: asyncio.Queue[_Chunk] = asyncio.Queue()

    async def __aiter__(self) -> AsyncIterator[list[int]]:
        while self.ending is None and self.failure is None:
            tokens, ending = await self._arrived.get()
            if isinstance(ending, Exception):
                self.failure = ending
                raise copy(ending)  # streams share it, and each raise adds to an exception's traceback
            self.ending = ending
            yield tokens

    def cancel(self) -> None:
        """Free the slot before the next decoding step. Has no effect once the reply has ended."""
        self.cancelled = True

    def put(self, tokens: list[int], ending: Ending | Failure | None) -> None:
        """Add tokens, in the step loop's thread; `send` hands them out. Nothing may follow an ending."""
        self._unsent = ([*self._unsent[0], *tokens], ending)

    def _is_due(self, now: float) -> bool:
        """Streams become due at the multiples of their `join_s`, so that `send` can hand out many together."""
        return self._unsent[1] is not None or not self._join_s or now // self._join_s > self._sent_in

    def _take_unsent(self, now: float) -> _Chunk:
        chunk, self._unsent = self._unsent, ([], None)
        if self._join_s:
            self._sent_in = now // self._join_s
        return chunk


def send(streams: Iterable[TokenStream], now: float) -> None:
    """Hand out what is due. Each event loop is woken once, as a wake-up takes a core from the step loop's threads."""
    due: defaultdict[asyncio.AbstractEventLoop, list[TokenStream]] = defaultdict(list)
    for stream in streams:
        if stream._is_due(now):
            due[stream._loop].append(stream)
    for loop, ready in due.items():
        try:
            loop.call_soon_threadsafe(_arrive, [(stream, stream._take_unsent(now)) for stream in ready])
        except RuntimeError:  # the readers' event loop is closed
            for stream in ready:
                stream.cancel()


def _arrive(chunks: list[tuple[TokenStream, _Chunk]]) -> None:
    for stream, chunk in chunks:
        stream._arrived.put_nowait(chunk)
