"""How many conversations are kept: of one session, and of all. Who begins one is refused rather than others harmed."""

from datetime import datetime, timedelta

from sqlalchemy import delete, func, or_, select
from sqlalchemy.orm import Session

from frontend.errors import Busy, TooMany
from frontend.models import Conversation, unclaimed
from frontend.settings import Settings
from frontend.words import _


def kept_of(db: Session, session_id: str) -> int:
    """How many conversations of the session count against its limit."""
    mine = select(func.count()).where(Conversation.session_id == session_id, Conversation.deleted_at.is_(None))
    return db.scalar(mine) or 0


def make_room(db: Session, settings: Settings, session_id: str, now: datetime) -> None:
    """Keep the limits, after the session's new conversations were added in the same transaction.

    Deletes what is deleted already, then the longest unused, until all are within `max_conversations`. Raises TooMany
    where the session itself has too many, and Busy rather than delete one that was used lately: it is as good as
    anybody's new one. The transaction is to be given up then.
    """
    if kept_of(db, session_id) > settings.max_session_conversations:
        raise TooMany(
            _(
                "You keep {limit} chats, and more are not possible. "
                "Delete some on the page of all chats, where you can export them before.",
                limit=settings.max_session_conversations,
            )
        )
    excess = (db.scalar(select(func.count()).select_from(Conversation)) or 0) - settings.max_conversations
    if excess <= 0:
        return
    unused_since = now - timedelta(seconds=settings.conversation_keep_seconds)
    # Both: one that was imported may have been last used long ago.
    unused = (Conversation.last_used_at <= unused_since) & (Conversation.created_at <= unused_since)
    idle = (
        select(Conversation.id)
        .where(unclaimed(now, settings.claim_seconds), or_(Conversation.deleted_at.is_not(None), unused))
        .order_by(Conversation.deleted_at.is_(None), Conversation.last_used_at)
        .limit(excess)
    )
    removed = list(db.scalars(delete(Conversation).where(Conversation.id.in_(idle)).returning(Conversation.id)))
    if len(removed) < excess:
        raise Busy(_("No further chat can be kept at the moment, so nothing was stored. Try again later."))
