"""A conversation in the database: what was said, and who may write the next reply. `library.py` has a session's many.

Before a reply is written its conversation is claimed, in the same transaction that stores the message. One claim at a
time, whatever the number of tabs, threads and frontend processes: the claim is taken by one conditional UPDATE. It
expires, so a crash locks nothing forever; its holder renews it, and a reply is stored only by the claim's holder.
Times are this process's clock, so replicas' clocks must agree to within a few seconds of `claim_seconds`.
"""

import secrets
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Literal
from uuid import uuid4

from sqlalchemy import ColumnElement, Engine, Select, delete, select, text, update
from sqlalchemy.orm import Session

from frontend import branches
from frontend.database import transaction
from frontend.errors import ClaimLost, ConversationGone, NoSuchMessage, ReplyInProgress
from frontend.models import Conversation, Exchange, is_claimed, owner_of, unclaimed
from frontend.own_knowledge import OwnKnowledge
from frontend.removal import changed, remove
from frontend.room import Room
from frontend.settings import Settings
from frontend.text import clean
from frontend.titles import title_of
from frontend.words import _, later

Clock = Callable[[], datetime]
Rating = Literal["up", "down"]


def now_utc() -> datetime:
    """The time, by this process's clock."""
    return datetime.now(UTC)


@dataclass(frozen=True)
class Pending:
    """An exchange whose reply is being written."""

    conversation_id: str
    position: int
    parent: int  # of that exchange
    versions: tuple[int, ...]  # of it, itself among them
    token: str  # of the claim


@dataclass(frozen=True)
class Claim(Pending):
    """The right to write the reply of one exchange, and what the backend needs for it."""

    dialog: tuple[str, ...]
    left_off: int  # earlier turns that are stored but not in `dialog`
    knowledge: OwnKnowledge | None = None


@dataclass(frozen=True)
class Snapshot:
    """A branch of a conversation as it was at one moment, oldest exchange first."""

    id: str
    title: str
    temporary: bool
    exchanges: tuple[Exchange, ...]
    versions: Mapping[int, tuple[int, ...]]  # of each of them, by position
    kept: int  # exchanges in all branches
    removed: int  # exchanges that made room for newer ones
    writing: bool  # the last exchange's reply is being written
    knowledge_name: str = ""  # of its own knowledge text; empty where it has none
    knowledge_chars: int = 0


class ChatStore:
    """Every reading and writing of conversations. All methods block; call them off the event loop.

    Raises StoreUnavailable when the database does not answer, besides what each method names.
    """

    def __init__(self, engine: Engine, settings: Settings, clock: Clock = now_utc) -> None:
        self._engine = engine
        self._settings = settings
        self._clock = clock
        self._room = Room(settings)

    def ping(self) -> None:
        """Return when the database answers."""
        with self._transaction() as db:
            db.execute(text("SELECT 1"))

    def latest(self, session_id: str) -> Snapshot | None:
        """The session's conversation that was used last, or None when it keeps none."""
        with self._transaction() as db:
            newest = select(Conversation).where(listed(session_id)).order_by(*NEWEST_FIRST).limit(1)
            conversation = db.scalar(newest)
            return None if conversation is None else self._snapshot(db, conversation)

    def read(self, session_id: str, conversation_id: str, at: int | None = None) -> Snapshot:
        """One of the session's conversations: the newest branch, of those through position `at` if that is there.

        Raises ConversationGone.
        """
        with self._transaction() as db:
            conversation = db.scalar(_of(session_id, conversation_id))
            if conversation is None:
                raise ConversationGone(_(GONE))
            return self._snapshot(db, conversation, at)

    def begin(
        self, session_id: str, conversation_id: str, message: str, *, after: int | None = None, temporary: bool = False
    ) -> Claim:
        """Store a message and claim its reply. `conversation_id` is the one the page shows, empty for a new chat.

        It follows the position `after`, the last that the page shows; the newest where that is not there.
        Raises ReplyInProgress, ConversationGone or, where a new chat has no room, TooMany or Busy; the message is not
        stored then. `temporary` is for a new chat.
        """
        with self._transaction() as db:
            if not conversation_id:
                return self._add(db, self._created(db, session_id, title_of(clean(message)), temporary), 0, message)
            conversation = self._claimed(db, session_id, conversation_id)
            if conversation.next_position == 1 and conversation.title == title_of(conversation.knowledge_name or ""):
                conversation.title = title_of(clean(message))  # it began with its knowledge
            parents = tree(db, conversation.id)
            parent = after if after is not None and after in parents else branches.newest(parents)
            return self._add(db, conversation, parent, message)

    def edit(self, session_id: str, conversation_id: str, position: int, message: str) -> Claim:
        """Store another message beside the one at `position`, and claim its reply; what followed the old one stays.

        Raises ReplyInProgress, ConversationGone or NoSuchMessage; the message is not stored then.
        """
        with self._transaction() as db:
            conversation = self._claimed(db, session_id, conversation_id)
            return self._add(db, conversation, _required(db, conversation.id, position).parent, message)

    def retry(self, session_id: str, conversation_id: str, position: int) -> Claim:
        """Claim another reply to a message: in the place of the newest failure, else beside the reply that is kept.

        Raises ReplyInProgress, ConversationGone or NoSuchMessage.
        """
        with self._transaction() as db:
            conversation = self._claimed(db, session_id, conversation_id)
            exchange = _required(db, conversation.id, position)
            if exchange.reply is not None or position != conversation.next_position - 1:
                return self._add(db, conversation, exchange.parent, exchange.message)
            exchange.failure_type = exchange.failure_message = exchange.draft = None
            return self._claim(db, conversation, position)

    def rate(self, session_id: str, conversation_id: str, position: int, rating: Rating | None) -> None:
        """Keep what the reader thinks of a reply; None: nothing. Raises ConversationGone or NoSuchMessage."""
        with self._transaction() as db:
            if db.scalar(_of(session_id, conversation_id)) is None:
                raise ConversationGone(_(GONE))
            exchange = _required(db, conversation_id, position)
            if exchange.reply is None:
                raise NoSuchMessage(_("There is no reply to rate."))
            exchange.rating = rating

    def renew(self, claim: Claim) -> None:
        """Keep the claim for another `claim_seconds`. Raises ClaimLost."""
        with self._transaction() as db:
            self._hold(db, claim, claim.token)

    def finish(self, claim: Claim, reply: str, origin: dict[str, Any]) -> Exchange:
        """Store the complete reply and end the claim. Raises ClaimLost; nothing is stored then."""
        with self._transaction() as db:
            self._hold(db, claim, None)
            exchange = db.scalars(_exchange(claim.conversation_id, claim.position)).one()
            exchange.reply = clean(reply)
            exchange.replied_at = self._clock()
            exchange.origin = origin
            exchange.failure_type = exchange.failure_message = exchange.draft = None
            return exchange

    def fail(
        self, claim: Claim, failure_type: str, message: str, partial: str = "", origin: dict[str, Any] | None = None
    ) -> Exchange:
        """Say why there is no whole reply, keep what there is of it, and end the claim.

        Raises ClaimLost; nothing is changed then.
        """
        with self._transaction() as db:
            self._hold(db, claim, None)
            exchange = db.scalars(_exchange(claim.conversation_id, claim.position)).one()
            if partial:
                exchange.reply, exchange.replied_at, exchange.origin = clean(partial), self._clock(), origin
            exchange.failure_type, exchange.failure_message = failure_type, clean(message)
            exchange.draft = None
            return exchange

    def give_knowledge(
        self, session_id: str, conversation_id: str, knowledge: OwnKnowledge | None, *, temporary: bool = False
    ) -> str:
        """Give a conversation a knowledge text of its own, or with None take it away; and return its id.

        An empty `conversation_id` begins a new one. A reply under way keeps what it was asked with. Raises
        ConversationGone, and TooMany or Busy as `begin` does.
        """
        with self._transaction() as db:
            if conversation_id:
                conversation = db.scalar(_of(session_id, conversation_id).with_for_update())
                if conversation is None:
                    raise ConversationGone(_(GONE))
            else:
                title = title_of(knowledge.name if knowledge else "")
                conversation = self._created(db, session_id, title, temporary)
                conversation.claim_token = conversation.claim_expires_at = None
            conversation.knowledge = knowledge.text if knowledge else None
            conversation.knowledge_name = knowledge.name if knowledge else None
            conversation.knowledge_chars = len(knowledge.text) if knowledge else None
            return conversation.id

    def knowledge(self, session_id: str, conversation_id: str) -> OwnKnowledge | None:
        """A conversation's own knowledge text. Raises ConversationGone."""
        with self._transaction() as db:
            conversation = db.scalar(_of(session_id, conversation_id))
            if conversation is None:
                raise ConversationGone(_(GONE))
            return _knowledge(conversation)

    def delete_expired(self) -> int:
        """Delete for good what was unused, or deleted, for long enough; and say how many conversations it was."""
        now, settings = self._clock(), self._settings
        unused, temporary, deleted = (
            now - timedelta(seconds=seconds)
            for seconds in (
                settings.conversation_expiry_seconds,
                settings.temporary_expiry_seconds,
                settings.deleted_keep_seconds,
            )
        )
        expired = (
            # Both: one that was imported may have been last used long ago.
            (Conversation.last_used_at < unused) & (Conversation.created_at < unused),
            Conversation.temporary & (Conversation.last_used_at < temporary),
            Conversation.deleted_at < deleted,
        )
        return sum(remove(self._engine, each) for each in expired)  # one by one, since each has its index

    def _transaction(self) -> AbstractContextManager[Session]:
        return transaction(self._engine)

    def _snapshot(self, db: Session, conversation: Conversation, at: int | None = None) -> Snapshot:
        parents = tree(db, conversation.id)
        newest = branches.newest(parents)
        leaf = branches.newest_through(parents, at) if at is not None and at in parents else newest
        exchanges = _branch(db, conversation.id, parents, leaf)
        return Snapshot(
            id=conversation.id,
            title=conversation.title,
            temporary=conversation.temporary,
            exchanges=exchanges,
            versions={each.position: branches.versions(parents, each.position) for each in exchanges},
            kept=len(parents),
            removed=min(parents) - 1 if parents else 0,
            writing=leaf == newest and self._is_claimed(conversation),
            knowledge_name=conversation.knowledge_name or "",
            knowledge_chars=conversation.knowledge_chars or 0,
        )

    def _claimed(self, db: Session, session_id: str, conversation_id: str) -> Conversation:
        """Claim the session's conversation.

        The UPDATE comes first: it decides, alone and at once, who goes on. (On SQLite it also takes the write lock
        before anything is read, so that two writers wait for each other instead of failing.)
        """
        now = self._clock()
        taken = db.execute(
            update(Conversation)
            .where(owned(session_id, conversation_id), unclaimed(now, self._settings.claim_seconds))
            .values(claim_token=uuid4().hex, claim_expires_at=self._claim_end(), last_used_at=now)
        )
        conversation = db.scalar(_of(session_id, conversation_id))
        if conversation is None:
            raise ConversationGone(_(GONE))
        if not changed(taken):
            raise ReplyInProgress(_(_IN_PROGRESS))
        return conversation

    def _created(self, db: Session, session_id: str, title: str, temporary: bool) -> Conversation:
        now = self._clock()
        conversation = Conversation(
            id=new_conversation_id(),
            session_id=session_id,
            title=title,
            temporary=temporary,
            created_at=now,
            last_used_at=now,
            next_position=1,
            claim_token=uuid4().hex,
            claim_expires_at=self._claim_end(),
        )
        db.add(conversation)
        db.flush()
        self._room.make(db, session_id, now)
        return conversation

    def _add(self, db: Session, conversation: Conversation, parent: int, message: str) -> Claim:
        """Store a message that follows `parent`, in a conversation that is claimed; its reply's claim."""
        position = conversation.next_position
        conversation.next_position = position + 1
        exchange = Exchange(conversation_id=conversation.id, position=position, parent=parent)
        exchange.owner = owner_of(conversation.session_id)
        exchange.message, exchange.sent_at = clean(message), self._clock()
        db.add(exchange)
        db.flush()
        self._trim(db, conversation.id, position)
        return self._claim(db, conversation, position)

    def _trim(self, db: Session, conversation_id: str, newest: int) -> None:
        db.execute(
            delete(Exchange).where(
                Exchange.conversation_id == conversation_id,
                Exchange.position <= newest - self._settings.max_exchanges_kept,
            )
        )

    def _claim(self, db: Session, conversation: Conversation, position: int) -> Claim:
        parents = tree(db, conversation.id)
        dialog = _dialog(_branch(db, conversation.id, parents, position))
        sent = dialog[-self._settings.max_turns_sent :]
        return Claim(
            conversation_id=conversation.id,
            position=position,
            parent=parents[position],
            versions=branches.versions(parents, position),
            token=conversation.claim_token or "",
            dialog=sent,
            left_off=len(dialog) - len(sent),
            knowledge=_knowledge(conversation),
        )

    def _hold(self, db: Session, claim: Claim, next_token: str | None) -> None:
        """Renew the claim, or end it with `next_token=None`; raise ClaimLost when it is somebody else's by now."""
        held = db.execute(
            update(Conversation)
            .where(Conversation.id == claim.conversation_id, Conversation.claim_token == claim.token)
            .values(claim_token=next_token, claim_expires_at=self._claim_end() if next_token else None)
        )
        if not changed(held):
            raise ClaimLost(_("This chat was deleted, or went on in another tab, before the reply was complete."))

    def _claim_end(self) -> datetime:
        return self._clock() + timedelta(seconds=self._settings.claim_seconds)

    def _is_claimed(self, conversation: Conversation) -> bool:
        return is_claimed(conversation, self._clock(), self._settings.claim_seconds)


# The same words whether it never was, was deleted, or is another session's: which of them stays unsaid.
GONE = later("There is no such chat. It was deleted, perhaps in another tab, or it has expired.")
_IN_PROGRESS = later("A reply is being written in another tab. Send this again when it is complete.")
NEWEST_FIRST = (Conversation.last_used_at.desc(), Conversation.id.desc())


def is_whole(exchange: Exchange) -> bool:
    """Whether its reply is complete. A reply that was stopped is kept beside the reason why it ends where it does."""
    return exchange.reply is not None and exchange.failure_type is None


def new_session_id() -> str:
    """A session id that cannot be guessed."""
    return secrets.token_urlsafe(24)


def new_conversation_id() -> str:
    """A conversation's id: 128 random bits, which cannot be guessed either."""
    return secrets.token_hex(16)


def owned(session_id: str, conversation_id: str) -> ColumnElement[bool]:
    """The condition on conversations that `conversation_id` is the session's, and not deleted."""
    return (
        (Conversation.id == conversation_id)
        & (Conversation.session_id == session_id)
        & Conversation.deleted_at.is_(None)
    )


def listed(session_id: str) -> ColumnElement[bool]:
    """The condition on conversations that the session finds in its list: neither deleted nor temporary."""
    return (Conversation.session_id == session_id) & Conversation.deleted_at.is_(None) & ~Conversation.temporary


def _of(session_id: str, conversation_id: str) -> Select[Conversation]:
    return select(Conversation).where(owned(session_id, conversation_id))


def _exchange(conversation_id: str, position: int) -> Select[Exchange]:
    return select(Exchange).where(Exchange.conversation_id == conversation_id, Exchange.position == position)


def _required(db: Session, conversation_id: str, position: int) -> Exchange:
    exchange = db.scalar(_exchange(conversation_id, position))
    if exchange is None:
        raise NoSuchMessage(_("This message is not kept any more."))
    return exchange


def tree(db: Session, conversation_id: str) -> branches.Parents:
    """The conversation's tree, without its texts."""
    tree = select(Exchange.position, Exchange.parent).where(Exchange.conversation_id == conversation_id)
    return {each.position: each.parent for each in db.execute(tree)}


def _branch(db: Session, conversation_id: str, parents: branches.Parents, leaf: int) -> tuple[Exchange, ...]:
    there = Exchange.position.in_(branches.branch(parents, leaf))
    exchanges = select(Exchange).where(Exchange.conversation_id == conversation_id, there)
    return tuple(db.scalars(exchanges.order_by(Exchange.position)))


def _dialog(exchanges: tuple[Exchange, ...]) -> tuple[str, ...]:
    """The turns for the backend: answered exchanges, then the last message.

    Turns must alternate, so a message that never got a reply is left out, and so is one whose reply is blank.
    """
    turns = [turn for e in exchanges[:-1] if e.reply and e.reply.strip() for turn in (e.message, e.reply)]
    return (*turns, exchanges[-1].message)


def _knowledge(conversation: Conversation) -> OwnKnowledge | None:
    if conversation.knowledge_name is None or conversation.knowledge is None:
        return None
    return OwnKnowledge(conversation.knowledge_name, conversation.knowledge)
