"""Everything a request needs, made once by the app's lifespan."""

from dataclasses import dataclass
from typing import cast

from starlette.requests import Request
from starlette.templating import Jinja2Templates

from frontend.health import HealthWatch
from frontend.replies import Replies
from frontend.session import Sessions
from frontend.settings import Settings
from frontend.store import ChatStore


@dataclass(frozen=True)
class Services:
    """The app's parts, wired together."""

    settings: Settings
    store: ChatStore
    replies: Replies
    health: HealthWatch
    sessions: Sessions
    templates: Jinja2Templates


def services(request: Request) -> Services:
    """The services of the app that serves this request."""
    return cast(Services, request.app.state.services)
