"""Writes replies: takes a claim, reads the backend in a thread, hands events to the page, stores what is complete.

Every reply that is opened ends in exactly one of: stored whole; a recorded failure; the reader's own leaving, which is
recorded too. In each case the backend's connection is closed and the claim is given back.
"""

import asyncio
import contextlib
import logging
import time
from collections.abc import AsyncIterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from uuid import uuid4

import anyio
from starlette.concurrency import run_in_threadpool

from frontend.asking import Restart, whole_reply
from frontend.backend import BROKE_OFF, Backend, Done, Line, Question, Token
from frontend.errors import BackendError, Busy, FrontendError, Interrupted, StoreError, StoreUnavailable
from frontend.health import HealthWatch
from frontend.models import Exchange
from frontend.settings import Settings
from frontend.store import ChatStore, Claim

log = logging.getLogger("frontend.replies")

TICK_SECONDS = 0.5  # how often a silent reply looks at the clock: for its claim, its ping and the shutdown
STORE_SECONDS = 15.0  # how long a complete reply waits for a database that is full or restarting; within its claim
STORE_PAUSE_SECONDS = 0.5  # between attempts
STOPPED = "What was written of it is not kept."


@dataclass(frozen=True)
class Finished:
    """The reply is complete and stored."""

    exchange: Exchange


@dataclass(frozen=True)
class Failed:
    """There is no reply, and why."""

    error: FrontendError


@dataclass(frozen=True)
class Silence:
    """Nothing has happened for a while; the connection to the browser should be kept alive."""


ReplyEvent = Token | Restart | Finished | Failed | Silence
_Read = Token | Restart | Done | BackendError  # what the thread hands over


class Replies:
    """The replies being written by this process; at most `max_replies` at once, each with a thread."""

    def __init__(self, backend: Backend, health: HealthWatch, store: ChatStore, settings: Settings) -> None:
        self.backend = backend
        self.health = health
        self.store = store
        self.settings = settings
        self.executor = ThreadPoolExecutor(settings.max_replies, thread_name_prefix="reply")
        self.ends_at = float("inf")
        self._open: set[Reply] = set()

    def check_room(self) -> None:
        """Raise Busy when no further reply can be written now. Asked before a message is stored."""
        if len(self._open) >= self.settings.max_replies:
            raise Busy("Too many replies are being written at the moment. Send the message again in a moment.", 2)

    def open(self, claim: Claim) -> "Reply":
        """Start on a claimed reply. The caller closes it."""
        reply = Reply(self, claim)
        self._open.add(reply)
        return reply

    def closed(self, reply: "Reply") -> None:
        """Forget a reply."""
        self._open.discard(reply)

    def drain(self) -> None:
        """Give the replies under way `shutdown_grace_seconds`, then end them. Safe in a signal handler."""
        self.ends_at = time.monotonic() + self.settings.shutdown_grace_seconds

    async def close(self) -> None:
        """Close what is still open and end the threads."""
        for reply in list(self._open):
            await reply.close()
        await asyncio.to_thread(self.executor.shutdown)


class Reply:
    """One reply being written. Iterate `events()` to its end or stop early; `close()` in either case."""

    def __init__(self, replies: Replies, claim: Claim) -> None:
        self._replies = replies
        self._claim = claim
        self._question = Question(claim.dialog, request_id=uuid4().hex, asker=claim.conversation_id)
        self._line = Line()
        self._arrived: asyncio.Queue[_Read] = asyncio.Queue()
        self._settled = False
        now = time.monotonic()
        self._ends_at = now + replies.settings.read_timeout_seconds
        self._renew_at = now + replies.settings.claim_seconds / 3
        self._ping_at = now + replies.settings.ping_seconds

    @property
    def position(self) -> int:
        """The exchange's number in its conversation."""
        return self._claim.position

    @property
    def conversation_id(self) -> str:
        """The conversation it belongs to."""
        return self._claim.conversation_id

    async def events(self) -> AsyncIterator[ReplyEvent]:
        """Tokens, restarts and silences, then exactly one Finished or Failed."""
        self._replies.executor.submit(self._listen, asyncio.get_running_loop())
        try:
            async for item in self._items():
                if isinstance(item, Done):
                    yield Finished(await self._finish(item))
                elif isinstance(item, BackendError):
                    raise item
                else:
                    yield item
        except BackendError as error:
            yield Failed(await self._fail(error))
        except StoreUnavailable as error:
            await self._settle(error.type, error.message)
            yield Failed(error)
        except StoreError as error:
            log.warning("reply given up: %s", error.type)
            yield Failed(error)

    async def close(self) -> None:
        """End the backend's connection and give the claim back, whatever happened before. Never raises."""
        self._line.hang_up()
        self._replies.closed(self)
        if self._settled:
            return
        # The reader has left: its task is being cancelled, and the claim must be given back all the same.
        with anyio.CancelScope(shield=True):
            await self._settle("stopped", STOPPED)

    async def _items(self) -> AsyncIterator[_Read | Silence]:
        """What the thread reads, until a Done or an error; silences in between, as needed."""
        last = False
        while not last:
            if time.monotonic() > self._replies.ends_at:
                raise Interrupted("The page's server is restarting.")
            if time.monotonic() > self._ends_at:
                raise Interrupted("The chat service could not finish the reply in time.")
            item = await self._next()
            await self._keep_claim()
            if item is not None:
                last = isinstance(item, Done | BackendError)
                self._ping_at = time.monotonic() + self._replies.settings.ping_seconds
                yield item
            elif time.monotonic() > self._ping_at:
                self._ping_at = time.monotonic() + self._replies.settings.ping_seconds
                yield Silence()

    async def _next(self) -> _Read | None:
        try:
            async with asyncio.timeout(TICK_SECONDS):
                return await self._arrived.get()
        except TimeoutError:
            return None

    async def _keep_claim(self) -> None:
        if time.monotonic() > self._renew_at:
            self._renew_at = time.monotonic() + self._replies.settings.claim_seconds / 3
            try:
                await run_in_threadpool(self._replies.store.renew, self._claim)
            except StoreUnavailable:  # the claim lasts for two more attempts; the database may be back by then
                log.warning("claim not renewed: the database does not answer")

    async def _finish(self, done: Done) -> Exchange:
        origin = done.model_dump(exclude={"response"}) | {"left_off": self._claim.left_off}
        give_up_at = time.monotonic() + STORE_SECONDS
        while True:
            try:
                self._settled = True  # also when the reader leaves in this moment: the thread stores it all the same
                exchange = await run_in_threadpool(self._replies.store.finish, self._claim, done.response, origin)
                log.info("reply stored: request %s", origin.get("request_id"))
                return exchange
            except StoreUnavailable:
                self._settled = False
                if time.monotonic() > give_up_at:
                    raise
                log.warning("reply not stored yet: the database does not answer")
            await asyncio.sleep(STORE_PAUSE_SECONDS)

    async def _fail(self, error: BackendError) -> BackendError:
        log.warning("request %s: no reply, it is %s", self._question.request_id, error.type)
        self._replies.health.forget()
        wait = f" Try again in {error.retry_after:.0f} seconds." if error.retry_after else ""
        error.message += wait
        await self._settle(error.type, error.message)
        return error

    async def _settle(self, failure_type: str, message: str) -> None:
        """Record a failure and give the claim back. A claim that is lost, or a database away, leaves nothing to do."""
        self._settled = True
        try:
            await run_in_threadpool(self._replies.store.fail, self._claim, failure_type, message)
        except StoreError as error:
            log.warning("failure not recorded: %s", error.type)

    def _listen(self, loop: asyncio.AbstractEventLoop) -> None:
        """In a thread: read the backend, and hand what arrives to the event loop."""
        try:
            seconds = self._ends_at - time.monotonic()
            for item in whole_reply(self._replies.backend, self._question, self._line, seconds):
                self._hand_over(loop, item)
        except BackendError as error:
            self._hand_over(loop, error)
        except Exception:
            # Whatever else went wrong must end the reply, not leave its reader waiting.
            log.exception("reading the backend failed")
            self._hand_over(loop, Interrupted(BROKE_OFF))

    def _hand_over(self, loop: asyncio.AbstractEventLoop, item: _Read) -> None:
        with contextlib.suppress(RuntimeError):  # the loop has ended, and with it everybody who would read this
            loop.call_soon_threadsafe(self._arrived.put_nowait, item)
