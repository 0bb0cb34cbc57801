"""Writes one reply, whether or not anybody reads it: asks the backend, keeps the claim, stores how it ended.

Every reply ends in exactly one of: stored whole; stopped by its reader, with what was written stored; a recorded
failure. In each case the backend's connection is closed and the claim is given back.
"""

import asyncio
import logging
import time
from contextlib import aclosing
from uuid import uuid4

from starlette.concurrency import run_in_threadpool

from frontend.asking import whole_reply
from frontend.backend import Backend, Done, Question
from frontend.errors import BackendError, FrontendError, Interrupted, StoppedByReader, StoreError, StoreUnavailable
from frontend.health import HealthWatch
from frontend.logs import about
from frontend.metrics import REPLIES, WRITING
from frontend.models import Exchange
from frontend.origin import Origin
from frontend.problems import BROKE_OFF
from frontend.reply_log import End, Failed, Finished, ReplyLog, Stopped
from frontend.settings import Settings
from frontend.store import ChatStore, Claim
from frontend.tracing import span
from frontend.words import _

log = logging.getLogger("frontend.writer")

STORE_SECONDS = 15.0  # how long a complete reply waits for a database that is full or restarting; its claim is kept
STORE_PAUSE_SECONDS = 0.5  # between attempts


class ReplyWriter:
    """One reply being written by a task, which `run()` is. Readers follow `log`; `end()` ends it early."""

    def __init__(
        self, claim: Claim, backend: Backend, health: HealthWatch, store: ChatStore, settings: Settings
    ) -> None:
        self.claim = claim
        self.log = ReplyLog()
        self._backend = backend
        self._health = health
        self._store = store
        self._settings = settings
        self._question = Question(
            claim.dialog,
            request_id=uuid4().hex,
            asker=claim.conversation_id,
            knowledge=claim.knowledge.text if claim.knowledge else None,
        )
        self._listening: asyncio.Task[Done] | None = None
        self._why: FrontendError | None = None

    def end(self, why: FrontendError) -> None:
        """End the backend's connection, unless the reply is complete already. The first reason counts."""
        self._why = self._why or why
        if self._listening is not None:
            self._listening.cancel()

    async def run(self) -> None:
        """Write the reply to its end."""
        meanwhile = [asyncio.create_task(work) for work in (self._keep_claim(), self._beat())]
        outcome: End = Failed(Interrupted.type, BROKE_OFF)  # whatever happens here, readers are not left waiting
        try:
            with WRITING.track_inprogress(), span("reply", request_id=self._question.request_id) as told:
                outcome = await self._outcome()
                told.set_attribute("ending", _ending(outcome))
        finally:
            self.log.end(outcome)
            REPLIES.labels(_ending(outcome)).inc()
            for task in meanwhile:
                task.cancel()
            await asyncio.wait(meanwhile)

    async def _outcome(self) -> End:
        try:
            return Finished(await self._finish(await self._complete_reply()))
        except StoppedByReader as stopped:
            return await self._keep_partial(stopped)
        except (BackendError, StoreUnavailable) as error:
            return await self._fail(error)
        except StoreError as error:  # the claim is lost: there is nothing to record it in
            log.warning("reply given up: %s", error.type)
            return Failed(error.type, error.message)
        except Exception:
            log.exception("writing a reply failed")
            return await self._fail(Interrupted(_(BROKE_OFF)))

    async def _complete_reply(self) -> Done:
        """Listen in a task of its own, which `end` can cancel and nothing else. Raises why it was ended."""
        if self._why is None:
            self._listening = asyncio.create_task(self._listen())
            await asyncio.wait([self._listening])
            if not self._listening.cancelled():
                return self._listening.result()
        raise self._why or Interrupted(_(BROKE_OFF))

    async def _listen(self) -> Done:
        seconds = self._settings.read_timeout_seconds
        try:
            async with asyncio.timeout(seconds), aclosing(whole_reply(self._backend, self._question, seconds)) as items:
                async for item in items:
                    if isinstance(item, Done):
                        return item
                    self.log.add(item)
        except TimeoutError:
            raise Interrupted(_("The chat service could not finish the reply in time.")) from None
        raise Interrupted(_(BROKE_OFF))

    async def _keep_claim(self) -> None:
        while True:
            await asyncio.sleep(self._settings.claim_seconds / 3)
            try:
                await run_in_threadpool(self._store.renew, self.claim)
            except StoreUnavailable:  # the claim lasts for two more attempts; the database may be back by then
                log.warning("claim not renewed: the database does not answer")
            except StoreError as lost:
                self.end(lost)
                return

    async def _beat(self) -> None:
        while True:
            await asyncio.sleep(self._settings.ping_seconds)
            self.log.beat()

    @property
    def _own(self) -> dict[str, object]:
        """What this page itself knows of the reply's origin."""
        knowledge = self.claim.knowledge
        return {"left_off": self.claim.left_off, "own_knowledge": knowledge.name if knowledge else ""}

    async def _finish(self, done: Done) -> Exchange:
        origin = done.origin.model_copy(update=self._own)
        give_up_at = time.monotonic() + STORE_SECONDS
        while True:
            try:
                exchange = await run_in_threadpool(self._store.finish, self.claim, done.response, origin.to_store())
                self._log(logging.INFO, "reply stored: request %s")
                return exchange
            except StoreUnavailable:
                if time.monotonic() > give_up_at:
                    raise
                log.warning("reply not stored yet: the database does not answer")
            await asyncio.sleep(STORE_PAUSE_SECONDS)

    async def _keep_partial(self, stopped: StoppedByReader) -> End:
        begun = self.log.start.origin if self.log.start else Origin()
        origin = begun.model_copy(update={"request_id": self._question.request_id, **self._own}).to_store()
        try:
            return Stopped(
                await run_in_threadpool(
                    self._store.fail, self.claim, stopped.type, stopped.message, self.log.text, origin
                )
            )
        except StoreError as error:
            log.warning("stopped reply not stored: %s", error.type)
            return Failed(error.type, error.message)

    async def _fail(self, error: BackendError | StoreUnavailable) -> Failed:
        """Record why there is no reply. A claim that is lost, or a database away, leaves nothing to do."""
        self._log(logging.WARNING, "request %s: no reply, it is %s", error.type)
        if isinstance(error, BackendError):
            self._health.forget()
        try:
            await run_in_threadpool(self._store.fail, self.claim, error.type, error.advice)
        except StoreError as unrecorded:
            log.warning("failure not recorded: %s", unrecorded.type)
        return Failed(error.type, error.advice)

    def _log(self, level: int, message: str, *arguments: object) -> None:
        """`message` begins with the request's id."""
        request_id = self._question.request_id
        log.log(level, message, request_id, *arguments, extra=about(request_id))


def _ending(outcome: End) -> str:
    """What the metrics call it."""
    match outcome:
        case Finished():
            return "done"
        case Stopped():
            return "stopped"
        case Failed():
            return outcome.type
