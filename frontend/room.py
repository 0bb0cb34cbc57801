"""How many conversations are kept: of one session, and of all. Who begins one is refused rather than others harmed."""

import threading
from datetime import datetime, timedelta

from sqlalchemy import Select, delete, func, select
from sqlalchemy.orm import Session

from frontend.errors import Busy, TooMany
from frontend.models import Conversation, unclaimed
from frontend.settings import Settings
from frontend.words import _

SLACK = 10_000  # one place of so many may be given away without counting
COUNT_SECONDS = 60  # a count is believed for so long


def kept_of(db: Session, session_id: str) -> int:
    """How many conversations of the session count against its limit."""
    mine = select(func.count()).where(Conversation.session_id == session_id, Conversation.deleted_at.is_(None))
    return db.scalar(mine) or 0


class Room:
    """Keeps the limits.

    Counting all conversations reads an index from end to end, so a count that found places free lets some of them be
    taken without another one: `max_conversations` may be passed by a ten-thousandth by each process.
    """

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._slack = settings.max_conversations // SLACK
        self._lock = threading.Lock()
        self._free = 0  # places that may be taken until `_until`
        self._until: datetime | None = None

    def make(self, db: Session, session_id: str, now: datetime, added: int = 1) -> None:
        """Keep the limits, after the session's `added` new conversations were added in the same transaction.

        Deletes what is deleted already, then the longest unused, until all are within `max_conversations`. Raises
        TooMany where the session itself has too many, and Busy rather than delete one that was used lately: it is as
        good as anybody's new one. The transaction is to be given up then.
        """
        limit = self._settings.max_session_conversations
        if kept_of(db, session_id) > limit:
            raise TooMany(
                _(
                    "You keep {limit} chats, and more are not possible. "
                    "Delete some on the page of all chats, where you can export them before.",
                    limit=limit,
                )
            )
        if self._take(added, now):
            return
        excess = (db.scalar(select(func.count()).select_from(Conversation)) or 0) - self._settings.max_conversations
        removed = self._evict(db, excess + self._slack, now) if excess > 0 else 0
        if removed < excess:
            raise Busy(_("No further chat can be kept at the moment, so nothing was stored. Try again later."))
        with self._lock:
            self._free, self._until = min(self._slack, removed - excess), now + timedelta(seconds=COUNT_SECONDS)

    def _take(self, places: int, now: datetime) -> bool:
        """Whether so many were free when they were counted last, and have not been taken since."""
        with self._lock:
            if self._until is None or now >= self._until or places > self._free:
                return False
            self._free -= places
            return True

    def _evict(self, db: Session, number: int, now: datetime) -> int:
        """Delete as many, or all that may be; and say how many it were."""
        unused_since = now - timedelta(seconds=self._settings.conversation_keep_seconds)
        idle = select(Conversation.id).where(unclaimed(now, self._settings.claim_seconds))
        deleted = idle.where(Conversation.deleted_at.is_not(None)).order_by(Conversation.deleted_at)
        # Both: one that was imported may have been last used long ago.
        unused = idle.where(Conversation.last_used_at <= unused_since, Conversation.created_at <= unused_since)
        removed = 0
        for which in (deleted, unused.order_by(Conversation.last_used_at)):
            if removed < number:
                removed += _delete(db, which.limit(number - removed))
        return removed


def _delete(db: Session, which: Select[str]) -> int:
    return len(db.scalars(delete(Conversation).where(Conversation.id.in_(which)).returning(Conversation.id)).all())
