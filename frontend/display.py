"""How the page looks: its colours, kept in a cookie, so that a page comes in them and never changes as it loads."""

from urllib.parse import urlsplit

from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from frontend.pages import wants_page
from frontend.posts import read_post

router = APIRouter()

COOKIE = "theme"
THEMES = ("light", "dark")  # else the system's
KEEP_SECONDS = 400 * 86_400  # the longest that browsers keep a cookie


def theme(request: Request) -> str:
    """The colours that were chosen; empty for the system's."""
    chosen = request.cookies.get(COOKIE, "")
    return chosen if chosen in THEMES else ""


@router.post("/display")
async def display(request: Request) -> Response:
    """Keep the choice, and show the page again where no script has changed its colours already."""
    chosen = (await read_post(request)).form.get("theme", "")
    response = RedirectResponse(_page_before(request), 303) if wants_page(request) else Response(status_code=204)
    if chosen in THEMES:
        response.set_cookie(COOKIE, chosen, max_age=KEEP_SECONDS, httponly=True, samesite="lax")
    else:
        response.delete_cookie(COOKIE, httponly=True, samesite="lax")
    return response


def _page_before(request: Request) -> str:
    """The page on which the form stood; the chat where that is not known."""
    try:
        before = urlsplit(request.headers.get("referer", ""))
    except ValueError:
        return "/"
    if before.netloc != request.headers.get("host") or before.path.startswith("//"):
        return "/"
    return f"{before.path}?{before.query}" if before.query else before.path or "/"
