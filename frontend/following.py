"""Follows a reply that another process of this frontend writes, by the drafts that it keeps in the database.

So a page that is loaded again sees a reply grow, whichever process serves it.
"""

import asyncio
import contextlib
import time
from collections.abc import AsyncGenerator, Iterator

from starlette.concurrency import run_in_threadpool

from frontend.asking import ColdStart, Restart
from frontend.backend import Start, Token
from frontend.drafts import Draft
from frontend.errors import ClaimLost, Interrupted, StoreUnavailable
from frontend.models import Exchange
from frontend.origin import Origin
from frontend.problems import BROKE_OFF
from frontend.relay import Relay
from frontend.reply_log import End, Failed, Finished, Place, ReplyEvent, Silence, Stopped
from frontend.settings import Settings
from frontend.store import Pending, is_whole
from frontend.words import _

POLL_SECONDS = 0.5
MAX_READERS = 100  # at once; a page that finds no place asks for the whole conversation now and then


class Following:
    """The readers here of replies that are written elsewhere. Belongs to one event loop."""

    def __init__(self, relay: Relay, settings: Settings) -> None:
        self._relay = relay
        self._settings = settings
        self._loop = asyncio.get_running_loop()
        self._readers = 0
        self._closed = asyncio.Event()

    async def begin(self, session_id: str, conversation_id: str, position: int) -> Pending | None:
        """The session's reply to that message, if it is being written, and there is room for a reader."""
        if self._readers >= MAX_READERS:
            return None
        return await run_in_threadpool(self._relay.ask_to_show, session_id, conversation_id, position)

    async def events(self, pending: Pending, place: Place | None) -> AsyncGenerator[tuple[Place, ReplyEvent]]:
        """What comes after `place` (None: everything), then one End; each with the place after it.

        Ends without an End in a shutdown: the reply goes on, and another process can be asked for the rest.
        """
        reader, heard_at = _Reader(place), time.monotonic()
        self._readers += 1
        try:
            while not self._closed.is_set():
                now = await self._progress(pending)
                if isinstance(now, End):
                    yield reader.place, now
                    return
                for event in reader.read(now) if now else ():
                    heard_at = time.monotonic()
                    yield reader.place, event
                if time.monotonic() - heard_at >= self._settings.ping_seconds:
                    heard_at = time.monotonic()
                    yield reader.place, Silence()
                await self._pause()
        finally:
            self._readers -= 1

    def drain(self) -> None:
        """End all streams: they would keep the process from ending. Safe in a signal handler."""
        self._loop.call_soon_threadsafe(self._closed.set)

    async def _progress(self, pending: Pending) -> Draft | End | None:
        """How far it is; None while the database does not answer, for which its writer waits as well."""
        try:
            now = await run_in_threadpool(self._relay.progress, pending)
        except StoreUnavailable:
            return None
        return now if isinstance(now, Draft) else _ending(now)

    async def _pause(self) -> None:
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._closed.wait(), POLL_SECONDS)


class _Reader:
    """How far one reader is."""

    def __init__(self, place: Place | None) -> None:
        self.place = place or Place(0, 0)
        self._knows_draft = place is not None
        self._knows_of_start = False  # of a replica
        self._origin: Origin | None = None

    def read(self, draft: Draft) -> Iterator[ReplyEvent]:
        """What of it the reader has not seen."""
        if not self._knows_draft:
            self.place, self._knows_draft = Place(draft.number, 0), True
        if (draft.number, len(draft.text)) < (self.place.draft, self.place.chars):
            return  # it has seen more, where the reply is written
        if draft.is_starting and not self._knows_of_start:
            self._knows_of_start = True
            yield ColdStart()
        if draft.origin is not None and draft.origin != self._origin:
            self._origin = draft.origin
            yield Start(draft.origin)
        if draft.number != self.place.draft:
            self.place = Place(draft.number, 0)
            yield Restart()
        if news := draft.text[self.place.chars :]:
            self.place = Place(draft.number, len(draft.text))
            yield Token(text=news)


def _ending(exchange: Exchange | None) -> End:
    """How a reply ended, by what is stored of it."""
    if exchange is None:
        return Failed(ClaimLost.type, _("This chat was deleted before the reply was complete."))
    if exchange.reply is not None:
        return Finished(exchange) if is_whole(exchange) else Stopped(exchange)
    return Failed(exchange.failure_type or Interrupted.type, exchange.failure_message or _(BROKE_OFF))
