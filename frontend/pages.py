"""Renders the chat, and the page that says what went wrong."""

from dataclasses import replace
from http import HTTPStatus
from typing import TypeVar

from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from frontend.errors import FrontendError
from frontend.library_views import RecentView, chat_limit_notice, recent
from frontend.quantities import duration
from frontend.services import services
from frontend.session import BrowserSession
from frontend.store import Snapshot
from frontend.views import backend_view, conversation_view
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

NEWEST = 6  # exchanges that a page shows at first: each weighs up to 6 kB with its passages
MORE = 20  # earlier ones that are shown in addition when they are asked for
RECENT = 30  # chats in the list beside one
HEALTH_WAIT_SECONDS = 0.3  # a page is not delayed longer than this to say how the backend is; its script asks again


async def chat_page(
    request: Request,
    session: BrowserSession,
    snapshot: Snapshot | None,
    *,
    begin: int | None = None,
    temporary: bool = False,
    notice: str | None = None,
    status: int = 200,
    problem: str | None = None,
    draft: str = "",
) -> Response:
    """A chat, or with None a new one, with what the person typed still in the box. Raises StoreUnavailable.

    Shows the exchanges from position `begin` on, by default the newest `NEWEST`.
    """
    parts = services(request)
    number = len(snapshot.exchanges) if snapshot is not None else 0
    conversation = conversation_view(snapshot if snapshot is None else _shown(snapshot, begin), temporary=temporary)
    response = parts.templates.TemplateResponse(
        request,
        "chat.html",
        {
            "settings": parts.settings,
            "conversation": conversation,
            "earlier": number - len(conversation.exchanges),
            "more": MORE,
            "nearly_full": chat_limit_notice(number, parts.settings),
            "temporary_keep": duration(parts.settings.temporary_expiry_seconds),
            "recent": await recent_view(request, session),
            "backend": backend_view(await parts.health.current(HEALTH_WAIT_SECONDS)),
            "notice": session.notice or notice,
            "problem": problem,
            "draft": draft,
        },
        status_code=status,
    )
    parts.sessions.write(response, session)
    return response


def _shown(snapshot: Snapshot, begin: int | None) -> Snapshot:
    if begin is None:
        return replace(snapshot, exchanges=snapshot.exchanges[-NEWEST:])
    return replace(snapshot, exchanges=tuple(each for each in snapshot.exchanges if each.position >= begin))


async def recent_view(request: Request, session: BrowserSession) -> RecentView:
    """The newest chats, for the list beside one."""
    if session.fresh:
        return RecentView(entries=(), more=False)
    page = await run_in_threadpool(services(request).library.page, session.id, 1, RECENT)
    return recent(page)


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
