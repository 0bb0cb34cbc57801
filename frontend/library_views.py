"""What the pages of all chats show, as display-ready values."""

from datetime import UTC, datetime

from frontend.library import Entry, Hit, Hits, Page
from frontend.search import Piece, excerpt
from frontend.settings import Settings
from frontend.titles import UNTITLED
from frontend.views import View
from frontend.words import _, day, plural

NEARLY = 0.9  # of a limit: from here on the page tells it


class EntryView(View):
    """A line of the list."""

    id: str
    title: str
    at: str  # ISO 8601, for the browser's own clock
    at_label: str


class RecentView(View):
    """The list beside a chat."""

    entries: tuple[EntryView, ...]
    more: bool  # whether the page of all chats has more


class PageView(View):
    """A page of the list of all chats."""

    entries: tuple[EntryView, ...]
    number: int
    last: int
    total_label: str


class HitView(View):
    """A found message with its reply."""

    href: str
    title: str
    at: str
    at_label: str
    message: tuple[Piece, ...]
    reply: tuple[Piece, ...]


class TitleView(View):
    """A chat that was found by its title."""

    href: str
    title: tuple[Piece, ...]
    at: str
    at_label: str


class HitsView(View):
    """A page of what was found."""

    titles: tuple[TitleView, ...]
    hits: tuple[HitView, ...]
    number: int
    more: bool


def entry_view(entry: Entry) -> EntryView:
    """A line of the list."""
    return EntryView(
        id=entry.id,
        title=entry.title or _(UNTITLED),
        at=entry.last_used_at.isoformat(),
        at_label=_day(entry.last_used_at),
    )


def recent(page: Page) -> RecentView:
    """The list beside a chat."""
    return RecentView(entries=tuple(map(entry_view, page.entries)), more=page.total > len(page.entries))


def page_view(page: Page) -> PageView:
    """A page of the list of all chats."""
    return PageView(
        entries=tuple(map(entry_view, page.entries)),
        number=page.number,
        last=page.last,
        total_label=_chats(page.total),
    )


def hits_view(found: Hits, wanted: tuple[str, ...]) -> HitsView:
    """A page of what was found."""
    return HitsView(
        titles=tuple(_title(each, wanted) for each in found.titles),
        hits=tuple(_hit(each, wanted) for each in found.hits),
        number=found.number,
        more=found.more,
    )


def _title(entry: Entry, wanted: tuple[str, ...]) -> TitleView:
    return TitleView(
        href=f"/conversations/{entry.id}",
        title=excerpt(entry.title, wanted),
        at=entry.last_used_at.isoformat(),
        at_label=_day(entry.last_used_at),
    )


def _hit(hit: Hit, wanted: tuple[str, ...]) -> HitView:
    message, reply = excerpt(hit.message, wanted), excerpt(hit.reply or "", wanted)
    return HitView(
        href=f"/conversations/{hit.conversation_id}?at={hit.position}&from={hit.position}#exchange-{hit.position}",
        title=hit.title or _(UNTITLED),
        at=hit.sent_at.isoformat(),
        at_label=_day(hit.sent_at),
        message=message,
        reply=reply,
    )


def session_limit_notice(kept: int, settings: Settings) -> str | None:
    """How full the session is, before it is."""
    limit = settings.max_session_conversations
    if kept < NEARLY * limit:
        return None
    return _(
        "You keep {kept} of at most {limit} chats. When it is full, no new one can be begun: delete some before.",
        kept=kept,
        limit=limit,
    )


def chat_limit_notice(exchanges: int, settings: Settings) -> str | None:
    """How full a chat is, before its oldest questions are removed."""
    limit = settings.max_exchanges_kept
    if not NEARLY * limit <= exchanges < limit:
        return None
    return _(
        "This chat has {number} of at most {limit} questions. Beyond that, its oldest ones make room.",
        number=exchanges,
        limit=limit,
    )


def _day(at: datetime) -> str:
    return day(at.astimezone(UTC))


def _chats(number: int) -> str:
    return plural("{count} chat", "{count} chats", number)
