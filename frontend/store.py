"""Conversations in the database: what was said, and who may write the next reply.

Before a reply is written its conversation is claimed, in the same transaction that stores the message. One claim at a
time, whatever the number of tabs, threads and frontend processes: the claim is taken by one conditional UPDATE. It
expires, so a crash locks nothing forever; whoever holds it renews it, and a reply is stored only by the claim's holder.
Times are this process's clock, so replicas' clocks must agree to within a few seconds of `claim_seconds`.
"""

import secrets
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import uuid4

from sqlalchemy import Engine, Select, and_, delete, func, or_, select, text, update
from sqlalchemy.engine import CursorResult
from sqlalchemy.exc import IntegrityError, SQLAlchemyError
from sqlalchemy.orm import Session

from frontend.errors import (
    Busy,
    ClaimLost,
    ConversationGone,
    NothingToRetry,
    NothingToStop,
    ReplyInProgress,
    StoreUnavailable,
)
from frontend.models import Conversation, Exchange
from frontend.settings import Settings
from frontend.text import clean

Clock = Callable[[], datetime]


@dataclass(frozen=True)
class Claim:
    """The right to write the reply of one exchange, and what the backend needs for it."""

    conversation_id: str
    position: int
    token: str
    dialog: tuple[str, ...]
    left_off: int  # earlier turns that are stored but not in `dialog`


@dataclass(frozen=True)
class Snapshot:
    """A conversation as it was at one moment, oldest exchange first."""

    id: str
    exchanges: tuple[Exchange, ...]
    removed: int  # exchanges that made room for newer ones
    writing: bool  # the last exchange's reply is being written


class ChatStore:
    """Every reading and writing of conversations. All methods block; call them off the event loop.

    Raises StoreUnavailable when the database does not answer, besides what each method names.
    """

    def __init__(self, engine: Engine, settings: Settings, clock: Clock = lambda: datetime.now(UTC)) -> None:
        self._engine = engine
        self._settings = settings
        self._clock = clock

    def ping(self) -> None:
        """Return when the database answers."""
        with self._transaction() as db:
            db.execute(text("SELECT 1"))

    def read(self, session_id: str) -> Snapshot | None:
        """The session's conversation, or None when nothing has been said."""
        with self._transaction() as db:
            conversation = db.scalar(_of(session_id))
            if conversation is None:
                return None
            exchanges = tuple(db.scalars(_exchanges(conversation.id)))
            return Snapshot(
                id=conversation.id,
                exchanges=exchanges,
                removed=exchanges[0].position - 1 if exchanges else 0,
                writing=self._is_claimed(conversation),
            )

    def begin(self, session_id: str, conversation_id: str, message: str) -> Claim:
        """Store a message and claim its reply. `conversation_id` is the one the page shows, empty for a new chat.

        Raises ReplyInProgress, ConversationGone or, where a new chat has no room, Busy; the message is not stored then.
        """
        with self._transaction() as db:
            conversation = self._claimed(db, session_id, conversation_id) or self._created(db, session_id)
            position = conversation.next_position
            conversation.next_position = position + 1
            db.add(
                Exchange(
                    conversation_id=conversation.id, position=position, message=clean(message), sent_at=self._clock()
                )
            )
            db.flush()
            self._trim(db, conversation.id, position)
            return self._claim(db, conversation, position)

    def retry(self, session_id: str, conversation_id: str, position: int) -> Claim:
        """Claim the reply of the last message again. Raises ReplyInProgress, ConversationGone or NothingToRetry."""
        with self._transaction() as db:
            conversation = self._claimed(db, session_id, conversation_id)
            if conversation is None:
                raise ConversationGone(_GONE)
            exchange = db.get(Exchange, (conversation.id, position))
            if exchange is None or is_whole(exchange) or position != conversation.next_position - 1:
                raise NothingToRetry("This message has its reply already, or newer messages follow it.")
            exchange.reply = exchange.replied_at = exchange.origin = None
            exchange.failure_type = exchange.failure_message = None
            return self._claim(db, conversation, position)

    def renew(self, claim: Claim) -> None:
        """Keep the claim for another `claim_seconds`. Raises ClaimLost."""
        with self._transaction() as db:
            self._hold(db, claim, claim.token)

    def finish(self, claim: Claim, reply: str, origin: dict[str, Any]) -> Exchange:
        """Store the complete reply and end the claim. Raises ClaimLost; nothing is stored then."""
        with self._transaction() as db:
            self._hold(db, claim, None)
            exchange = db.get_one(Exchange, (claim.conversation_id, claim.position))
            exchange.reply = clean(reply)
            exchange.replied_at = self._clock()
            exchange.origin = origin
            exchange.failure_type = exchange.failure_message = None
            return exchange

    def fail(
        self, claim: Claim, failure_type: str, message: str, partial: str = "", origin: dict[str, Any] | None = None
    ) -> Exchange:
        """Say why there is no whole reply, keep what there is of it, and end the claim.

        Raises ClaimLost; nothing is changed then.
        """
        with self._transaction() as db:
            self._hold(db, claim, None)
            exchange = db.get_one(Exchange, (claim.conversation_id, claim.position))
            if partial:
                exchange.reply, exchange.replied_at, exchange.origin = clean(partial), self._clock(), origin
            exchange.failure_type, exchange.failure_message = failure_type, clean(message)
            return exchange

    def ask_to_stop(self, session_id: str, conversation_id: str, position: int) -> None:
        """Have the process that writes this reply stop it: it asks `asked_to_stop`. Raises NothingToStop."""
        with self._transaction() as db:
            conversation = db.scalar(_of(session_id).where(Conversation.id == conversation_id))
            if conversation is None or position != conversation.next_position - 1 or not self._is_claimed(conversation):
                raise NothingToStop("This reply has ended already.")
            asked = update(Exchange).where(Exchange.conversation_id == conversation_id, Exchange.position == position)
            db.execute(asked.values(failure_type=_STOPPING))

    def asked_to_stop(self, tokens: Collection[str]) -> tuple[str, ...]:
        """Of these claims' tokens, those whose replies are to be stopped."""
        with self._transaction() as db:
            written_now = (Exchange.conversation_id == Conversation.id, Exchange.failure_type == _STOPPING)
            asked = select(Conversation.claim_token).join(Exchange, and_(*written_now))
            return tuple(token for token in db.scalars(asked.where(Conversation.claim_token.in_(tokens))) if token)

    def clear(self, session_id: str) -> None:
        """Delete the session's conversation. A reply that is being written finds its claim lost."""
        with self._transaction() as db:
            db.execute(delete(Conversation).where(Conversation.session_id == session_id))

    def delete_expired(self) -> int:
        """Delete conversations unused for too long, and say how many."""
        oldest = self._clock() - timedelta(seconds=self._settings.conversation_expiry_seconds)
        with self._transaction() as db:
            return _changed(db.execute(delete(Conversation).where(Conversation.last_used_at < oldest)))

    @contextmanager
    def _transaction(self) -> Iterator[Session]:
        try:
            with Session(self._engine, expire_on_commit=False) as db, db.begin():
                yield db
        except SQLAlchemyError as error:
            raise StoreUnavailable("The conversations cannot be reached at the moment.") from error

    def _claimed(self, db: Session, session_id: str, conversation_id: str) -> Conversation | None:
        """Claim the session's conversation; None when it has none and the page showed none either.

        The UPDATE comes first: it decides, alone and at once, who goes on. (On SQLite it also takes the write lock
        before anything is read, so that two writers wait for each other instead of failing.)
        """
        now = self._clock()
        condition = [
            Conversation.session_id == session_id,
            or_(Conversation.claim_token.is_(None), Conversation.claim_expires_at <= now),
        ]
        if conversation_id:
            condition.append(Conversation.id == conversation_id)
        taken = db.execute(
            update(Conversation)
            .where(*condition)
            .values(claim_token=uuid4().hex, claim_expires_at=self._claim_end(), last_used_at=now)
        )
        conversation = db.scalar(_of(session_id))
        if _changed(taken):
            return conversation
        if conversation is None and not conversation_id:
            return None
        if conversation is None or (conversation_id and conversation.id != conversation_id):
            raise ConversationGone(_GONE)
        raise ReplyInProgress(_IN_PROGRESS)

    def _created(self, db: Session, session_id: str) -> Conversation:
        self._make_room(db)
        now = self._clock()
        conversation = Conversation(
            id=uuid4().hex,
            session_id=session_id,
            created_at=now,
            last_used_at=now,
            next_position=1,
            claim_token=uuid4().hex,
            claim_expires_at=self._claim_end(),
        )
        db.add(conversation)
        try:
            db.flush()
        except IntegrityError:  # another tab has just said the session's first words
            raise ReplyInProgress(_IN_PROGRESS) from None
        return conversation

    def _make_room(self, db: Session) -> None:
        """Delete the longest unused conversations until one more is within `max_conversations`.

        Raises Busy rather than delete one that was used lately: it is as good as anybody's new one.
        """
        excess = (db.scalar(select(func.count()).select_from(Conversation)) or 0) - self._settings.max_conversations + 1
        if excess <= 0:
            return
        now = self._clock()
        idle = (
            select(Conversation.id)
            .where(or_(Conversation.claim_token.is_(None), Conversation.claim_expires_at <= now))
            .where(Conversation.last_used_at <= now - timedelta(seconds=self._settings.conversation_keep_seconds))
            .order_by(Conversation.last_used_at)
            .limit(excess)
        )
        if _changed(db.execute(delete(Conversation).where(Conversation.id.in_(idle)))) < excess:
            raise Busy(_FULL)

    def _trim(self, db: Session, conversation_id: str, newest: int) -> None:
        db.execute(
            delete(Exchange).where(
                Exchange.conversation_id == conversation_id,
                Exchange.position <= newest - self._settings.max_exchanges_kept,
            )
        )

    def _claim(self, db: Session, conversation: Conversation, position: int) -> Claim:
        dialog = _dialog(tuple(db.scalars(_exchanges(conversation.id))))
        sent = dialog[-self._settings.max_turns_sent :]
        return Claim(
            conversation_id=conversation.id,
            position=position,
            token=conversation.claim_token or "",
            dialog=sent,
            left_off=len(dialog) - len(sent),
        )

    def _hold(self, db: Session, claim: Claim, next_token: str | None) -> None:
        """Renew the claim, or end it with `next_token=None`; raise ClaimLost when it is somebody else's by now."""
        held = db.execute(
            update(Conversation)
            .where(Conversation.id == claim.conversation_id, Conversation.claim_token == claim.token)
            .values(claim_token=next_token, claim_expires_at=self._claim_end() if next_token else None)
        )
        if not _changed(held):
            raise ClaimLost("This chat was cleared, or went on in another tab, before the reply was complete.")

    def _claim_end(self) -> datetime:
        return self._clock() + timedelta(seconds=self._settings.claim_seconds)

    def _is_claimed(self, conversation: Conversation) -> bool:
        expires = conversation.claim_expires_at
        return conversation.claim_token is not None and expires is not None and expires > self._clock()


_GONE = "This chat was cleared in another tab, or has expired."
_FULL = "No further chat can be kept at the moment, so yours was not begun. Send the message again later."
_STOPPING = "stopping"  # in place of a failure's type, while the reply is being written
_IN_PROGRESS = "A reply is being written in another tab. Send this again when it is complete."


def is_whole(exchange: Exchange) -> bool:
    """Whether its reply is complete. A reply that was stopped is kept beside the reason why it ends where it does."""
    return exchange.reply is not None and exchange.failure_type is None


def new_session_id() -> str:
    """A session id that cannot be guessed."""
    return secrets.token_urlsafe(24)


def _of(session_id: str) -> Select[Conversation]:
    return select(Conversation).where(Conversation.session_id == session_id)


def _exchanges(conversation_id: str) -> Select[Exchange]:
    return select(Exchange).where(Exchange.conversation_id == conversation_id).order_by(Exchange.position)


def _dialog(exchanges: tuple[Exchange, ...]) -> tuple[str, ...]:
    """The turns for the backend: answered exchanges, then the last message.

    Turns must alternate, so a message that never got a reply is left out, and so is one whose reply is blank.
    """
    turns = [turn for e in exchanges[:-1] if e.reply and e.reply.strip() for turn in (e.message, e.reply)]
    return (*turns, exchanges[-1].message)


def _changed(result: object) -> int:
    """How many rows a statement changed."""
    if not isinstance(result, CursorResult):
        raise TypeError(f"{type(result).__name__} has no row count")
    return result.rowcount
