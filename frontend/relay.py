"""Between the frontend's processes, by the database: one writes a reply, and others have it stopped, or show it too.

Who writes it looks now and then what is wished of it, and keeps a draft of what is shown elsewhere. A reply that
nobody follows at another process costs the database nothing more.
"""

from collections.abc import Callable, Collection, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import ColumnElement, Engine, Select, select, update
from sqlalchemy.orm import Session, undefer

from frontend import branches
from frontend.database import transaction
from frontend.drafts import Draft
from frontend.errors import NothingToStop
from frontend.models import Conversation, Exchange, is_claimed
from frontend.settings import Settings
from frontend.store import Claim, Pending, now_utc, owned, tree
from frontend.text import clean
from frontend.words import _

_STOPPING = "stopping"  # in place of a failure's type, while the reply is being written


@dataclass(frozen=True)
class Wishes:
    """What other processes want of the replies that one writes, by their claims' tokens."""

    stop: frozenset[str]
    show: frozenset[str]


class Relay:
    """All methods block; call them off the event loop. They raise StoreUnavailable, besides what each names."""

    def __init__(self, engine: Engine, settings: Settings, clock: Callable[[], datetime] = now_utc) -> None:
        self._engine = engine
        self._settings = settings
        self._clock = clock

    # ---- for who reads a reply

    def ask_to_stop(self, session_id: str, conversation_id: str, position: int) -> None:
        """Have the process that writes this reply stop it. Raises NothingToStop."""
        with self._transaction() as db:
            if self._being_written(db, session_id, conversation_id, position) is None:
                raise NothingToStop(_("This reply has ended already."))
            db.execute(update(Exchange).where(_unanswered(conversation_id, position)).values(failure_type=_STOPPING))

    def ask_to_show(self, session_id: str, conversation_id: str, position: int) -> Pending | None:
        """Have the process that writes this reply keep a draft of it; None where it is not being written."""
        with self._transaction() as db:
            found = self._being_written(db, session_id, conversation_id, position)
            if found is None:
                return None
            undrafted = _unanswered(conversation_id, position) & Exchange.draft.is_(None)
            db.execute(update(Exchange).where(undrafted).values(draft=_to_store(Draft())))
            conversation, exchange = found
            return Pending(
                conversation_id=conversation_id,
                position=position,
                parent=exchange.parent,
                versions=branches.versions(tree(db, conversation_id), position),
                token=conversation.claim_token or "",
            )

    def progress(self, pending: Pending) -> Draft | Exchange | None:
        """The draft of a reply; once it has ended the exchange, and None where that was deleted."""
        with self._transaction() as db:
            found = db.execute(_written(pending.conversation_id, pending.position)).first()
            if found is None:
                return None
            conversation, exchange = found
            if conversation.claim_token == pending.token and self._is_claimed(conversation):
                return Draft.model_validate(exchange.draft or {})
            return exchange

    # ---- for who writes it

    def wishes(self, tokens: Collection[str]) -> Wishes:
        """What is wished of the replies of these claims."""
        newest = (Exchange.conversation_id == Conversation.id) & (Exchange.position == Conversation.next_position - 1)
        wished = select(Conversation.claim_token, Exchange.failure_type, Exchange.draft.is_not(None))
        with self._transaction() as db:
            found = db.execute(wished.join(Exchange, newest).where(Conversation.claim_token.in_(tokens))).all()
        return Wishes(
            stop=frozenset(token for token, failure, _shown in found if token and failure == _STOPPING),
            show=frozenset(token for token, _failure, shown in found if token and shown),
        )

    def keep(self, drafts: Mapping[Claim, Draft]) -> None:
        """Store drafts, each if its claim still holds."""
        with self._transaction() as db:
            for claim, draft in drafts.items():
                held = select(Conversation.id).where(Conversation.claim_token == claim.token)
                this = (Exchange.position == claim.position) & Exchange.conversation_id.in_(held)
                db.execute(update(Exchange).where(this).values(draft=_to_store(draft)))

    def _being_written(
        self, db: Session, session_id: str, conversation_id: str, position: int
    ) -> tuple[Conversation, Exchange] | None:
        newest = Conversation.next_position == position + 1
        theirs = _written(conversation_id, position).where(owned(session_id, conversation_id), newest)
        found = db.execute(theirs).first()
        return found if found is not None and self._is_claimed(found[0]) else None

    def _is_claimed(self, conversation: Conversation) -> bool:
        return is_claimed(conversation, self._clock(), self._settings.claim_seconds)

    def _transaction(self) -> AbstractContextManager[Session]:
        return transaction(self._engine)


def _written(conversation_id: str, position: int) -> Select[Conversation, Exchange]:
    """A conversation and one of its exchanges, with the draft."""
    this = (Exchange.conversation_id == Conversation.id) & (Exchange.position == position)
    both = select(Conversation, Exchange).join(Exchange, this).options(undefer(Exchange.draft))
    return both.where(Conversation.id == conversation_id, Conversation.deleted_at.is_(None))


def _unanswered(conversation_id: str, position: int) -> ColumnElement[bool]:
    """The condition on exchanges: this one, unless its reply has just been stored."""
    this = (Exchange.conversation_id == conversation_id) & (Exchange.position == position)
    return this & Exchange.reply.is_(None)


def _to_store(draft: Draft) -> dict[str, object]:
    stored = draft.model_copy(update={"text": clean(draft.text)})
    return stored.model_dump(mode="json", by_alias=True, exclude_defaults=True)
