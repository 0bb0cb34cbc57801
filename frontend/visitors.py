"""Who asks for a page."""

from starlette.requests import Request

from frontend.rates import Action
from frontend.services import services
from frontend.session import BrowserSession


async def visitor(request: Request) -> BrowserSession:
    """The session, to which the page gives a cookie. Raises TooFast where its address has begun too many."""
    session = services(request).sessions.read(request)
    if session.fresh:
        await services(request).rates.spend(Action.SESSION, request, session)
    return session
