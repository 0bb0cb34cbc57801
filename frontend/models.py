"""The database's tables.

A conversation is a tree of exchanges (`branches.py`), each a message and, once it is complete, its reply. So turns
alternate by construction: there is no way to store two replies in a row, or a reply to nothing. A reply beside a
failure is what had been written when it was stopped.
"""

import hashlib
from datetime import UTC, datetime, timedelta
from typing import Any

from sqlalchemy import (
    JSON,
    BigInteger,
    ColumnElement,
    DateTime,
    Dialect,
    ForeignKey,
    Identity,
    Index,
    Integer,
    String,
    Text,
    TypeDecorator,
    UniqueConstraint,
    false,
    or_,
    text,
)
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column


class UtcDateTime(TypeDecorator[datetime]):
    """An aware datetime in UTC; SQLite, which knows no time zones, gives it back as one too."""

    impl = DateTime(timezone=True)
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        return None if value is None else value.astimezone(UTC)

    def process_result_value(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        if value is None:
            return None
        return value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)


class Base(DeclarativeBase):
    """The metadata that the migrations are compared with."""


class Conversation(Base):
    """One of a session's chats, and the claim of what writes its next reply."""

    __tablename__ = "conversations"
    __table_args__ = (
        Index("ix_conversations_last_used_at", "last_used_at"),
        Index("ix_conversations_session", "session_id", "last_used_at"),
        Index("ix_conversations_deleted_at", "deleted_at"),
        Index(
            "ix_conversations_temporary",
            "last_used_at",
            postgresql_where=text("temporary"),
            sqlite_where=text("temporary = 1"),
        ),
    )

    id: Mapped[str] = mapped_column(String(32), primary_key=True)
    session_id: Mapped[str] = mapped_column(String(64))
    title: Mapped[str] = mapped_column(String(200), server_default="")
    temporary: Mapped[bool] = mapped_column(server_default=false())  # not listed, not searched, deleted soon
    deleted_at: Mapped[datetime | None] = mapped_column(UtcDateTime)  # can be restored until it is purged
    created_at: Mapped[datetime] = mapped_column(UtcDateTime)
    last_used_at: Mapped[datetime] = mapped_column(UtcDateTime)
    next_position: Mapped[int] = mapped_column(default=1)
    claim_token: Mapped[str | None] = mapped_column(String(32))
    claim_expires_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    # A text of its own in place of the backend's; it may be long, and is read when a reply is asked for.
    knowledge: Mapped[str | None] = mapped_column(Text, deferred=True)
    knowledge_name: Mapped[str | None] = mapped_column(String(100))
    knowledge_chars: Mapped[int | None]


def owner_of(session_id: str) -> str:
    """What the full-text index knows a session by: one word, however its id is written."""
    return hashlib.md5(session_id.encode(), usedforsecurity=False).hexdigest()


def latest_end(now: datetime, claim_seconds: float) -> datetime:
    """A claim that ends later is of a time before the clock was set back; who holds one still has renewed it soon."""
    return now + 2 * timedelta(seconds=claim_seconds)


def unclaimed(now: datetime, claim_seconds: float) -> ColumnElement[bool]:
    """The condition on conversations that no reply of theirs is being written: there is no claim, or it has expired."""
    expires = Conversation.claim_expires_at
    return or_(Conversation.claim_token.is_(None), expires <= now, expires > latest_end(now, claim_seconds))


def is_claimed(conversation: Conversation, now: datetime, claim_seconds: float) -> bool:
    """Whether a reply of it is being written: the opposite of `unclaimed`, of one that was read."""
    expires = conversation.claim_expires_at
    if conversation.claim_token is None or expires is None:
        return False
    return now < expires <= latest_end(now, claim_seconds)


class Exchange(Base):
    """A message, with its reply, or with why there is none, or with both: the reply is partial then."""

    __tablename__ = "exchanges"
    __table_args__ = (
        UniqueConstraint("conversation_id", "position", name="uq_exchanges_position"),
        Index("ix_exchanges_owner", "owner", "id"),
    )

    # A number of its own, for the full-text index: later exchanges have greater ones.
    id: Mapped[int] = mapped_column(BigInteger().with_variant(Integer, "sqlite"), Identity(), primary_key=True)
    conversation_id: Mapped[str] = mapped_column(String(32), ForeignKey("conversations.id", ondelete="CASCADE"))
    owner: Mapped[str] = mapped_column(String(32), server_default="")  # `owner_of` its session
    position: Mapped[int]
    parent: Mapped[int] = mapped_column(default=0, server_default="0")  # the position of the one that it follows
    message: Mapped[str] = mapped_column(Text)
    sent_at: Mapped[datetime] = mapped_column(UtcDateTime)
    reply: Mapped[str | None] = mapped_column(Text)
    replied_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    origin: Mapped[dict[str, Any] | None] = mapped_column(JSON(none_as_null=True))
    failure_type: Mapped[str | None] = mapped_column(String(32))
    failure_message: Mapped[str | None] = mapped_column(Text)
    rating: Mapped[str | None] = mapped_column(String(8))  # the reader's: up or down
    # What is written of a reply that another process shows, too; else null. As long as a reply, and rarely wanted.
    draft: Mapped[dict[str, Any] | None] = mapped_column(JSON(none_as_null=True), deferred=True)


def is_in_models(_object: object, name: str | None, *_: object) -> bool:
    """Whether the models describe it. They do not describe the full-text index, which each database has its own way."""
    return "exchanges_search" not in (name or "")
