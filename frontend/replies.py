"""The replies being written by this process, each a task that no browser's leaving ends."""

import asyncio
from collections.abc import Collection

from starlette.concurrency import run_in_threadpool

from frontend.backend import Backend
from frontend.drafts import Draft
from frontend.errors import Busy, FrontendError, Interrupted, StoppedByReader, StoreUnavailable
from frontend.health import HealthWatch
from frontend.relay import Relay
from frontend.settings import Settings
from frontend.store import ChatStore, Claim
from frontend.words import _, later
from frontend.writer import ReplyWriter

WATCH_SECONDS = 0.5  # between looks at what other processes wish: to stop a reply, or to have its draft
RESTARTING = later("The page's server is restarting.")


class RunningReply:
    """A reply under way, and whose it is. Readers follow `log`."""

    def __init__(self, session_id: str, claim: Claim, writer: ReplyWriter) -> None:
        self.claim = claim
        self.key = (session_id, claim.conversation_id, claim.position)
        self.conversation_id = claim.conversation_id
        self.position = claim.position
        self.log = writer.log
        self.kept = Draft()  # in the database, if another process shows it
        self.task = asyncio.create_task(writer.run())
        self._writer = writer

    def end(self, why: FrontendError) -> None:
        """Have it end early."""
        self._writer.end(why)

    async def ended(self) -> None:
        """Return when it has ended and that is stored. Cancelling this does not end it."""
        await asyncio.wait([self.task])


class Replies:
    """The registry: at most `max_replies` at once. Made in the event loop that the replies run in."""

    def __init__(
        self, backend: Backend, health: HealthWatch, store: ChatStore, relay: Relay, settings: Settings
    ) -> None:
        self._backend = backend
        self._health = health
        self._store = store
        self._relay = relay
        self._settings = settings
        self._loop = asyncio.get_running_loop()
        self._running: dict[str, RunningReply] = {}  # by the claim's token
        self._ending: asyncio.TimerHandle | None = None  # when those under way are ended, in a shutdown

    def check_room(self) -> None:
        """Raise Busy when no further reply can be written now. Asked before a message is stored."""
        if len(self._running) >= self._settings.max_replies:
            raise Busy(_("Too many replies are being written at the moment. Send the message again in a moment."), 2)

    def start(self, session_id: str, claim: Claim) -> RunningReply:
        """Have a claimed reply written, to its end."""
        writer = ReplyWriter(claim, self._backend, self._health, self._store, self._settings)
        reply = self._running[claim.token] = RunningReply(session_id, claim, writer)
        reply.task.add_done_callback(lambda _: self._running.pop(claim.token))
        if self._ending is not None and self._ending.when() < self._loop.time():
            reply.end(Interrupted(_(RESTARTING)))
        return reply

    def find(self, session_id: str, conversation_id: str, position: int) -> RunningReply | None:
        """The session's reply to that message, if this process is writing it."""
        key = (session_id, conversation_id, position)
        # The newest first: an older one has lost its claim, and has not noticed yet.
        return next((reply for reply in reversed(self._running.values()) if reply.key == key), None)

    async def watch(self) -> None:
        """For ever: end the replies that were stopped at another process, and keep drafts of those shown there."""
        while True:
            await asyncio.sleep(WATCH_SECONDS)
            if not self._running:
                continue
            try:
                wishes = await run_in_threadpool(self._relay.wishes, list(self._running))
                for token in wishes.stop & self._running.keys():
                    self._running[token].end(StoppedByReader())
                await self._keep_drafts(wishes.show & self._running.keys())
            except StoreUnavailable:
                continue  # the writers say so in the log; it is asked again in a moment

    async def _keep_drafts(self, tokens: Collection[str]) -> None:
        changed = [reply for reply in (self._running[token] for token in tokens) if reply.log.draft != reply.kept]
        if changed:
            drafts = {reply.claim: reply.log.draft for reply in changed}
            await run_in_threadpool(self._relay.keep, drafts)
            for reply in changed:
                reply.kept = drafts[reply.claim]

    def drain(self) -> None:
        """Give the replies under way `shutdown_grace_seconds`, then end them. Safe in a signal handler."""
        self._loop.call_soon_threadsafe(self._end_after, self._settings.shutdown_grace_seconds)

    async def close(self) -> None:
        """Return when all have ended: within the time that `drain` gave them, without it at once."""
        self._end_after(0)
        if self._running:
            await asyncio.wait([reply.task for reply in self._running.values()])

    def _end_after(self, seconds: float) -> None:
        if self._ending is None:
            self._ending = self._loop.call_later(seconds, self._end_all)

    def _end_all(self) -> None:
        for reply in self._running.values():
            reply.end(Interrupted(_(RESTARTING)))
