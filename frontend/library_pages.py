"""Renders the page of all chats, what a search found in them, and the page of one's data."""

from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import Response

from frontend.library_views import entry_view, hits_view, page_view, session_limit_notice
from frontend.pages import render
from frontend.quantities import duration, size
from frontend.search import MAX_QUERY_CHARS, words
from frontend.services import services
from frontend.session import BrowserSession


async def library_page(
    request: Request,
    session: BrowserSession,
    number: int,
    *,
    deleted: str = "",
    imported: int = 0,
    status: int = 200,
    problem: str | None = None,
) -> Response:
    """The list. `deleted` is the chat that may be taken back. Raises StoreUnavailable."""
    library = services(request).library
    page = await run_in_threadpool(library.page, session.id, number)
    undo = await run_in_threadpool(library.deleted, session.id, deleted) if deleted else None
    context = {
        "page": page_view(page),
        "undo": None if undo is None else entry_view(undo),
        "imported": imported,
        "nearly_full": session_limit_notice(
            await run_in_threadpool(library.kept, session.id), services(request).settings
        ),
        "problem": problem,
        "deleted_keep": duration(services(request).settings.deleted_keep_seconds),
    }
    return render(request, session, "conversations.html", context, status)


async def search_page(
    request: Request,
    session: BrowserSession,
    query: str,
    number: int,
    *,
    status: int = 200,
    problem: str | None = None,
) -> Response:
    """What `query` finds; of one that is too long, its beginning is looked for. Raises StoreUnavailable.

    With a `problem` nothing is looked for.
    """
    query = query[:MAX_QUERY_CHARS].strip()
    wanted = words(query) if problem is None else ()
    found = await run_in_threadpool(services(request).library.search, session.id, wanted, number)
    context = {"query": query, "wanted": wanted, "found": hits_view(found, wanted), "problem": problem}
    return render(request, session, "search.html", context, status)


async def data_page(
    request: Request, session: BrowserSession, *, status: int = 200, problem: str | None = None
) -> Response:
    """What is kept of the session, and how to take it along, bring it back or have it deleted."""
    settings = services(request).settings
    kept = await run_in_threadpool(services(request).library.kept, session.id)
    context = {
        "kept": kept,
        "user": session.user,
        "nearly_full": session_limit_notice(kept, settings),
        "problem": problem,
        "expiry": duration(settings.conversation_expiry_seconds),
        "deleted_keep": duration(settings.deleted_keep_seconds),
        "temporary_keep": duration(settings.temporary_expiry_seconds),
        "import_limit": size(settings.max_import_bytes),
    }
    return render(request, session, "data.html", context, status)
