"""Asks the backend how its cluster is while somebody looks: one question a second, however many look; else none."""

import asyncio
import time
from collections.abc import AsyncGenerator, Callable, Coroutine
from contextvars import Context

from frontend.cluster import Cluster, ClusterMemory, Told
from frontend.errors import BackendError

PAUSE_SECONDS = 1.0
FORGET_SECONDS = 15.0  # what became of the replicas while no page was open for so long is not known


class ClusterWatch:
    """What `ask` says, shared by all viewers. Belongs to one event loop."""

    def __init__(self, ask: Callable[[], Coroutine[object, object, Told]]) -> None:
        self._ask = ask
        self._loop = asyncio.get_running_loop()
        self._memory = ClusterMemory()
        self._cluster = Cluster()
        self._asked_at = float("-inf")
        self._asking = asyncio.Lock()
        self._changed = asyncio.Event()  # a new one for each answer
        self._viewers = 0
        self._watching: asyncio.Task[None] | None = None
        self._closed = False

    async def now(self) -> Cluster:
        """The cluster as it is, or was a moment ago."""
        async with self._asking:
            if time.monotonic() - self._asked_at >= PAUSE_SECONDS / 2:
                await self._look()
            return self._cluster

    async def follow(self) -> AsyncGenerator[Cluster]:
        """The cluster, now and after each question, until `drain`. Close it when its page is closed."""
        self._viewers += 1
        try:
            yield await self.now()
            self._watching = self._watching or asyncio.create_task(self._watch())
            while not self._closed:
                await self._changed.wait()
                yield self._cluster
        finally:
            self._viewers -= 1
            if self._viewers == 0 and self._watching is not None:
                self._watching.cancel()
                self._watching = None

    def drain(self) -> None:
        """End all streams: they would keep the process from ending. Safe in a signal handler."""
        self._loop.call_soon_threadsafe(self._end)

    def _end(self) -> None:
        self._closed = True
        self._wake()

    async def _watch(self) -> None:
        while True:
            await asyncio.sleep(PAUSE_SECONDS)
            await self.now()
            self._wake()

    async def _look(self) -> None:
        if time.monotonic() - self._asked_at > FORGET_SECONDS:
            self._memory = ClusterMemory()
        try:
            # In no viewer's language, since it goes to all of them.
            asked = asyncio.create_task(self._ask(), context=Context())
            self._cluster = self._memory.hear(await asked, time.time())
        except BackendError as error:
            self._cluster = self._memory.fail(error)
        self._asked_at = time.monotonic()

    def _wake(self) -> None:
        changed, self._changed = self._changed, asyncio.Event()
        changed.set()
