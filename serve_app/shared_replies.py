"""One reply for all who ask for it by the same name: who lost the connection asks again, and reads it from its start.

A reply is written while somebody reads it; when its last reader leaves, it is cancelled. Once complete it is kept for a
while, for a reader whose connection broke at the end.
"""

import asyncio
import time
from collections import OrderedDict
from collections.abc import AsyncGenerator, Callable, Hashable
from contextlib import aclosing
from typing import Generic, TypeVar

_KEEP_S = 30.0
_MOST = 512  # replies, complete or not

T = TypeVar("T")


class SharedReply(Generic[T]):
    """The pieces of one reply, as far as it is written."""

    def __init__(self, pieces: AsyncGenerator[T]) -> None:
        self._pieces: list[T] = []
        self._grown = asyncio.Event()
        self._readers = 0
        self._writing = asyncio.create_task(self._write(pieces))
        self._writing.add_done_callback(_look_at_error)
        self.completed_at: float | None = None

    @property
    def is_lost(self) -> bool:
        """It failed or was cancelled: the next caller needs a new one."""
        return self._writing.done() and self.completed_at is None or self._writing.cancelling() > 0

    async def read(self) -> AsyncGenerator[T]:
        """All pieces, from the first on. Raises what writing them raised."""
        self._readers += 1
        read = 0
        try:
            while True:
                grown = self._grown
                if read < len(self._pieces):
                    yield self._pieces[read]
                    read += 1
                elif self._writing.done():
                    self._writing.result()
                    return
                else:
                    await grown.wait()
        finally:
            self._readers -= 1
            if not self._readers:
                self._writing.cancel()

    async def _write(self, pieces: AsyncGenerator[T]) -> None:
        try:
            async with aclosing(pieces):
                async for piece in pieces:
                    self._pieces.append(piece)
                    self._wake()
            self.completed_at = time.monotonic()
        finally:
            # Once this task is done, so that readers find its result.
            asyncio.get_running_loop().call_soon(self._wake)

    def _wake(self) -> None:
        self._grown.set()
        self._grown = asyncio.Event()


class SharedReplies(Generic[T]):
    """Those that are being written, and those that were completed lately."""

    def __init__(self) -> None:
        self._replies: OrderedDict[Hashable, SharedReply[T]] = OrderedDict()

    def join(self, name: Hashable, write: Callable[[], AsyncGenerator[T]]) -> SharedReply[T]:
        """The reply of that name; written now if there is none."""
        self._forget_old()
        reply = self._replies.get(name)
        if reply is None or reply.is_lost:
            reply = self._replies[name] = SharedReply(write())
            self._replies.move_to_end(name)
        return reply

    def _forget_old(self) -> None:
        """From the oldest on, up to one that is still of use."""
        now = time.monotonic()
        while self._replies:
            name, reply = next(iter(self._replies.items()))
            is_old = reply.completed_at is not None and reply.completed_at < now - _KEEP_S
            if not (is_old or reply.is_lost or len(self._replies) > _MOST):
                return
            del self._replies[name]


def _look_at_error(task: asyncio.Task[None]) -> None:
    """Readers raise it; where none is left, it is dropped."""
    if not task.cancelled():
        task.exception()
