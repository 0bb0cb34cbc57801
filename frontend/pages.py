"""Renders the chat, and the page that says what went wrong."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from http import HTTPStatus
from typing import TypeVar
from zlib import crc32

from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from frontend.errors import FrontendError
from frontend.library_views import RecentView, chat_limit_notice, recent
from frontend.models import Exchange
from frontend.quantities import duration
from frontend.services import services
from frontend.session import BrowserSession
from frontend.store import Snapshot
from frontend.views import BackendView, backend_view, conversation_view
from frontend.words import _, later

TITLES = {
    400: later("Bad Request"),
    403: later("Forbidden"),
    404: later("Not Found"),
    409: later("Conflict"),
    413: later("Content Too Large"),
    429: later("Too Many Requests"),
    500: later("Internal Server Error"),
    503: later("Service Unavailable"),
}
AnyResponse = TypeVar("AnyResponse", bound=Response)

NEWEST = 4  # exchanges that a page shows at first: each weighs up to 7 kB with its passages
MORE = 20  # earlier ones that are shown in addition when they are asked for
RECENT = 30  # chats in the list beside one
SEEN_COOKIE = "chat_seen"  # the notice about the fallback model that an earlier page has shown
HEALTH_WAIT_SECONDS = 0.3  # a page is not delayed longer than this to say how the backend is; its script asks again


async def chat_page(
    request: Request,
    session: BrowserSession,
    snapshot: Snapshot | None,
    *,
    begin: int | None = None,
    at: int | None = None,
    editing: int | None = None,
    temporary: bool = False,
    notice: str | None = None,
    status: int = 200,
    problem: str | None = None,
    draft: str = "",
) -> Response:
    """A chat, or with None a new one, with what the person typed still in the box. Raises StoreUnavailable.

    Shows the exchanges from position `begin` on, by default the newest `NEWEST`. `at`: the branch that was asked for.
    `editing`: the message that what is sent takes the place of.
    """
    parts = services(request)
    exchanges = snapshot.exchanges if snapshot is not None else ()
    first = _first(exchanges, begin)
    shown = snapshot and replace(snapshot, exchanges=exchanges[first:])
    conversation = conversation_view(shown, temporary=temporary)
    backend = backend_view(await parts.health.current(HEALTH_WAIT_SECONDS))
    response = parts.templates.TemplateResponse(
        request,
        "chat.html",
        {
            "settings": parts.settings,
            "conversation": conversation,
            "earlier": first,
            "more": MORE,
            "earlier_from": exchanges[max(0, first - MORE)].position if first else None,
            "at": at,
            "editing": editing,
            "nearly_full": chat_limit_notice(snapshot.kept if snapshot else 0, parts.settings),
            "temporary_keep": duration(parts.settings.temporary_expiry_seconds),
            "recent": await recent_view(request, session),
            "backend": backend,
            "seen": request.cookies.get(SEEN_COOKIE, ""),
            "fallback_key": seen_key(backend),
            "notice": session.notice or notice,
            "problem": problem,
            "draft": draft,
        },
        status_code=status,
    )
    parts.sessions.write(response, session)
    remember_seen(response, backend)
    return response


def remember_seen(response: Response, backend: BackendView) -> None:
    """Have the browser say, until it is closed, that it has shown this notice about the fallback model."""
    if backend.fallback:
        response.set_cookie(SEEN_COOKIE, seen_key(backend), httponly=True, samesite="lax")


def seen_key(backend: BackendView) -> str:
    """Another one for another notice."""
    return f"{crc32(f'{backend.fallback} {backend.fallback_reason}'.encode()):08x}" if backend.fallback else ""


def _first(exchanges: Sequence[Exchange], begin: int | None) -> int:
    """The index of the first exchange to show."""
    if begin is None:
        return max(0, len(exchanges) - NEWEST)
    return sum(each.position < begin for each in exchanges)


async def recent_view(request: Request, session: BrowserSession) -> RecentView:
    """The newest chats, for the list beside one."""
    if session.fresh:
        return RecentView(entries=(), more=False)
    page = await run_in_threadpool(services(request).library.page, session.id, 1, RECENT)
    return recent(page)


def render(
    request: Request, session: BrowserSession, template: str, context: Mapping[str, object], status: int = 200
) -> Response:
    """A page of those beside the chat."""
    parts = services(request)
    known = {"settings": parts.settings, "notice": session.notice}
    response = parts.templates.TemplateResponse(request, template, known | dict(context), status_code=status)
    parts.sessions.write(response, session)
    return response


def error_response(request: Request, status: int, error_type: str, message: str, draft: str = "") -> Response:
    """A page for browsers, with the text that was not stored; the project's one error shape for programs."""
    if wants_page(request):
        settings = services(request).settings
        context = {
            "title": _(TITLES.get(status, "") or HTTPStatus(status).phrase),
            "message": message,
            "draft": draft,
            "settings": settings,
        }
        return services(request).templates.TemplateResponse(request, "error.html", context, status_code=status)
    return error_json(status, error_type, message)


def error_json(status: int, error_type: str, message: str) -> JSONResponse:
    """`{"error": {"type", "message"}}`."""
    return JSONResponse({"error": {"type": error_type, "message": message}}, status)


def refusal_json(status: int, error: FrontendError) -> JSONResponse:
    """An error of ours in the same shape."""
    return with_wait(error_json(status, error.type, error.message), error)


def with_wait(response: AnyResponse, error: FrontendError) -> AnyResponse:
    """The response, with when to try again where the error says it."""
    if error.retry_after is not None:
        response.headers["Retry-After"] = f"{error.retry_after:.0f}"
    return response


def wants_page(request: Request) -> bool:
    """Whether a browser's navigation asks, not a script or a probe."""
    return "text/html" in request.headers.get("accept", "")
