"""Renders the chat, and the page that says what went wrong."""

from http import HTTPStatus

from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from frontend.errors import FrontendError
from frontend.library_views import RecentView, chat_limit_notice, duration, recent
from frontend.services import services
from frontend.session import BrowserSession
from frontend.store import Snapshot
from frontend.views import backend_view, conversation_view

RECENT = 30  # chats in the list beside one
HEALTH_WAIT_SECONDS = 0.3  # a page is not delayed longer than this to say how the backend is; its script asks again


async def chat_page(
    request: Request,
    session: BrowserSession,
    snapshot: Snapshot | None,
    *,
    temporary: bool = False,
    notice: str | None = None,
    status: int = 200,
    problem: str | None = None,
    draft: str = "",
) -> Response:
    """A chat, or with None a new one, with what the person typed still in the box. Raises StoreUnavailable."""
    parts = services(request)
    conversation = conversation_view(snapshot, temporary=temporary)
    response = parts.templates.TemplateResponse(
        request,
        "chat.html",
        {
            "settings": parts.settings,
            "conversation": conversation,
            "nearly_full": chat_limit_notice(len(conversation.exchanges), parts.settings),
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
        context = {"title": HTTPStatus(status).phrase, "message": message, "draft": draft, "settings": settings}
        return services(request).templates.TemplateResponse(request, "error.html", context, status_code=status)
    return error_json(status, error_type, message)


def error_json(status: int, error_type: str, message: str) -> JSONResponse:
    """`{"error": {"type", "message"}}`."""
    return JSONResponse({"error": {"type": error_type, "message": message}}, status)


def refusal_json(status: int, error: FrontendError) -> JSONResponse:
    """An error of ours in the same shape."""
    return error_json(status, error.type, error.message)


def wants_page(request: Request) -> bool:
    """Whether a browser's navigation asks, not a script or a probe."""
    return "text/html" in request.headers.get("accept", "")
