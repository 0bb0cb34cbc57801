"""A session's conversations as a whole: the list, what was deleted and can come back, search, export and import."""

from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import islice
from typing import NamedTuple

from sqlalchemy import ColumnElement, Engine, Select, delete, func, select, update
from sqlalchemy.orm import Session, undefer

from frontend.database import transaction
from frontend.errors import ConversationGone
from frontend.models import Conversation, Exchange, owner_of
from frontend.removal import changed, remove
from frontend.room import Room, kept_of
from frontend.search import holder, holds, matches
from frontend.settings import Settings
from frontend.store import GONE, NEWEST_FIRST, Clock, listed, new_conversation_id, now_utc, owned
from frontend.titles import UNTITLED
from frontend.transfer import ConversationRecord, ExchangeRecord
from frontend.words import _

PAGE_SIZE = 50
HITS_PAGE_SIZE = 20
MOST_TITLES = 60  # that are looked at more closely
LATELY = 3000  # of a session's exchanges that a search reads before it asks the index
NOBODY = ""  # the session of what is forgotten: no visitor's
LONG_AGO = datetime(1970, 1, 1, tzinfo=UTC)
EXPORT_BATCH = 20  # conversations in memory at a time


class Entry(NamedTuple):
    """A conversation in the list."""

    id: str
    title: str
    last_used_at: datetime


@dataclass(frozen=True)
class Page:
    """A part of the list, newest first."""

    entries: tuple[Entry, ...]
    number: int  # from 1
    total: int  # conversations in the whole list

    @property
    def last(self) -> int:
        """The last page's number."""
        return max(1, -(-self.total // PAGE_SIZE))


class Hit(NamedTuple):
    """An exchange that was found, and the conversation that it is in."""

    conversation_id: str
    title: str
    position: int
    message: str
    reply: str | None
    sent_at: datetime


@dataclass(frozen=True)
class Hits:
    """A part of what was found, newest first."""

    titles: tuple[Entry, ...]  # on the first page: conversations of which only the title holds the words
    hits: tuple[Hit, ...]
    number: int  # of the page, from 1
    more: bool  # whether there is a next one


class Library:
    """All methods block; call them off the event loop.

    Raises StoreUnavailable when the database does not answer, besides what each method names.
    """

    def __init__(self, engine: Engine, settings: Settings, clock: Clock = now_utc) -> None:
        self._engine = engine
        self._settings = settings
        self._clock = clock
        self._room = Room(settings)

    def page(self, session_id: str, number: int, size: int = PAGE_SIZE) -> Page:
        """The list's page of that number; past the end, the last one."""
        with self._transaction() as db:
            total = db.scalar(select(func.count()).where(listed(session_id))) or 0
            number = min(number, Page((), 1, total).last)
            rows = db.execute(entries(session_id, size, (number - 1) * size))
            return Page(tuple(Entry(*row) for row in rows), number, total)

    def kept(self, session_id: str) -> int:
        """How many conversations count against the session's limit."""
        with self._transaction() as db:
            return kept_of(db, session_id)

    def rename(self, session_id: str, conversation_id: str, title: str) -> None:
        """Give it another title, one that `checked_title` has made. Raises ConversationGone."""
        with self._transaction() as db:
            change = update(Conversation).where(owned(session_id, conversation_id)).values(title=title)
            if db.scalar(change.returning(Conversation.id)) is None:
                raise ConversationGone(_(GONE))

    def delete(self, session_id: str, conversation_id: str) -> bool:
        """Delete it, and say whether that can be undone: not so for a temporary one. Raises ConversationGone."""
        with self._transaction() as db:
            mine = owned(session_id, conversation_id)
            now = self._clock()
            change = update(Conversation).where(mine).values(deleted_at=now).returning(Conversation.temporary)
            temporary = db.scalar(change)
            if temporary is None:
                raise ConversationGone(_(GONE))
            if temporary:
                db.execute(delete(Conversation).where(Conversation.id == conversation_id))
            return not temporary

    def restore(self, session_id: str, conversation_id: str) -> None:
        """Take a deletion back. Raises ConversationGone, and TooMany where others have taken its place."""
        with self._transaction() as db:
            change = update(Conversation).where(self._deleted(session_id, conversation_id)).values(deleted_at=None)
            if db.scalar(change.returning(Conversation.id)) is None:
                raise ConversationGone(_(GONE))
            self._room.make(db, session_id, self._clock(), added=0)

    def deleted(self, session_id: str, conversation_id: str) -> Entry | None:
        """A conversation that can be restored, or None."""
        with self._transaction() as db:
            columns = (Conversation.id, Conversation.title, Conversation.last_used_at)
            row = db.execute(select(*columns).where(self._deleted(session_id, conversation_id))).first()
            return None if row is None else Entry(*row)

    def search(self, session_id: str, wanted: tuple[str, ...], number: int) -> Hits:
        """The exchanges that hold all of the words `wanted`, newest first, and conversations by their titles."""
        if not wanted:
            return Hits((), (), 1, False)
        with self._transaction() as db:
            found = _found(db, session_id, wanted, HITS_PAGE_SIZE + 1, (number - 1) * HITS_PAGE_SIZE)
            hits = tuple(found[:HITS_PAGE_SIZE])
            titles = self._titled(db, session_id, wanted) if number == 1 else ()
            return Hits(titles, hits, number, len(found) > HITS_PAGE_SIZE)

    def export(self, session_id: str, conversation_id: str | None = None) -> Iterator[ConversationRecord]:
        """One conversation, or all of the list, newest first. Raises ConversationGone at the first step.

        Each batch is read at a moment of its own; one that is deleted meanwhile is left out.
        """
        with self._transaction() as db:
            which = listed(session_id) if conversation_id is None else owned(session_id, conversation_id)
            ids = db.scalars(select(Conversation.id).where(which).order_by(*NEWEST_FIRST)).all()
        if conversation_id is not None and not ids:
            raise ConversationGone(_(GONE))
        for begin in range(0, len(ids), EXPORT_BATCH):
            yield from self._records(session_id, ids[begin : begin + EXPORT_BATCH])

    def add(self, session_id: str, records: tuple[ConversationRecord, ...]) -> None:
        """Store what was imported, all of it or nothing, each conversation as a new one. Raises TooMany or Busy."""
        now = self._clock()
        with self._transaction() as db:
            for record in records:
                conversation = Conversation(
                    id=new_conversation_id(),
                    session_id=session_id,
                    title=record.title,
                    created_at=now,
                    last_used_at=min(record.last_used_at, now),
                    next_position=record.next_position,
                    knowledge=record.knowledge,
                    knowledge_name=record.knowledge_name,
                    knowledge_chars=None if record.knowledge is None else len(record.knowledge),
                )
                db.add(conversation)
                db.flush()
                parents = record.parents
                for each in record.exchanges:
                    values = each.model_dump() | {"parent": parents[each.position], "owner": owner_of(session_id)}
                    db.add(Exchange(conversation_id=conversation.id, **values))
                db.flush()
                db.expunge_all()  # thousands need no memory twice
            self._room.make(db, session_id, now, added=len(records))

    def forget(self, session_id: str) -> int:
        """Delete all that is kept of the session, for good; and say how many conversations it was.

        Nobody can reach any of it from the first moment on. If this process ends before all is deleted, the next
        `delete_expired` finds the rest.
        """
        nobodys = {"session_id": NOBODY, "deleted_at": LONG_AGO, "claim_token": None}
        with self._transaction() as db:
            change = update(Conversation).where(Conversation.session_id == session_id).values(nobodys)
            mine = changed(db.execute(change))
        remove(self._engine, Conversation.session_id == NOBODY)
        return mine

    def _titled(self, db: Session, session_id: str, wanted: Sequence[str]) -> tuple[Entry, ...]:
        """The newest conversations that have the words in their title and in no exchange."""
        has_all = holder(wanted)
        every = (Entry(*row) for row in db.execute(entries(session_id, self._settings.max_session_conversations, 0)))
        titled = list(islice((entry for entry in every if has_all(entry.title)), MOST_TITLES))
        here = Exchange.conversation_id.in_([entry.id for entry in titled])
        said = db.execute(select(Exchange.conversation_id, Exchange.message, Exchange.reply).where(here))
        found = {conversation for conversation, message, reply in said if has_all(f"{message} {reply or ''}")}
        return tuple(entry for entry in titled if entry.id not in found)[:HITS_PAGE_SIZE]

    def _records(self, session_id: str, ids: Sequence[str]) -> Iterator[ConversationRecord]:
        with self._transaction() as db:
            mine = (Conversation.id.in_(ids), Conversation.session_id == session_id)
            wanted = select(Conversation).where(*mine).options(undefer(Conversation.knowledge))
            conversations = {each.id: each for each in db.scalars(wanted)}
            said: dict[str, list[Exchange]] = {each: [] for each in conversations}
            for exchange in db.scalars(
                select(Exchange).where(Exchange.conversation_id.in_(conversations)).order_by(Exchange.position)
            ):
                said[exchange.conversation_id].append(exchange)
        for each in ids:
            if said.get(each):
                yield _record(conversations[each], said[each])

    def _deleted(self, session_id: str, conversation_id: str) -> ColumnElement[bool]:
        return (
            (Conversation.id == conversation_id)
            & (Conversation.session_id == session_id)
            & Conversation.deleted_at.is_not(None)
        )

    def _transaction(self) -> AbstractContextManager[Session]:
        return transaction(self._engine)


def entries(session_id: str, limit: int, offset: int) -> Select[str, str, datetime]:
    """A part of the session's list."""
    columns = (Conversation.id, Conversation.title, Conversation.last_used_at)
    return select(*columns).where(listed(session_id)).order_by(*NEWEST_FIRST).limit(limit).offset(offset)


def _found(db: Session, session_id: str, wanted: Sequence[str], limit: int, offset: int) -> list[Hit]:
    """The session's exchanges that hold all of the words, newest first.

    Where the database can read texts without its index: of a frequent word there are enough among those that were
    written lately, and these are read; of a rare one there are few, and the index has them.
    """
    dialect, owner = db.get_bind().dialect.name, owner_of(session_id)
    there = holds(dialect, wanted)
    if there is not None:
        newest = select(Exchange.id).where(Exchange.owner == owner).order_by(Exchange.id.desc())
        first = db.scalar(newest.limit(1).offset(LATELY - 1))
        lately = there & (Exchange.owner == owner) & (Exchange.id >= (first or 0))
        hits = _hits(db, found_exchanges(session_id, lately).limit(limit).offset(offset))
        if first is None or len(hits) == limit:
            return hits
    return _hits(db, found_exchanges(session_id, matches(dialect, owner, wanted)).limit(limit).offset(offset))


def _hits(db: Session, found: Select[str, str, int, str, str | None, datetime]) -> list[Hit]:
    return [Hit(*row) for row in db.execute(found)]


def found_exchanges(session_id: str, which: ColumnElement[bool]) -> Select[str, str, int, str, str | None, datetime]:
    """The session's exchanges for which `which` holds."""
    return (
        select(
            Conversation.id,
            Conversation.title,
            Exchange.position,
            Exchange.message,
            Exchange.reply,
            Exchange.sent_at,
        )
        .join(Exchange, Exchange.conversation_id == Conversation.id)
        .where(listed(session_id), which)
        .order_by(Exchange.id.desc())
    )


def _record(conversation: Conversation, said: Sequence[Exchange]) -> ConversationRecord:
    """As it is stored: whatever an older version has stored can be exported."""
    return ConversationRecord.model_construct(
        title=conversation.title or _(UNTITLED),
        last_used_at=conversation.last_used_at,
        next_position=conversation.next_position,
        knowledge=conversation.knowledge,
        knowledge_name=conversation.knowledge_name,
        exchanges=tuple(
            ExchangeRecord.model_construct(**{name: getattr(each, name) for name in ExchangeRecord.model_fields})
            for each in said
        ),
    )
