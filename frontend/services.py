"""Everything a request needs, made once by the app's lifespan."""

import asyncio
from dataclasses import dataclass
from typing import cast

from starlette.requests import Request
from starlette.templating import Jinja2Templates

from frontend.backend_json import BackendJson
from frontend.cluster_watch import ClusterWatch
from frontend.following import Following
from frontend.health import HealthWatch
from frontend.library import Library
from frontend.rates import Rates
from frontend.relay import Relay
from frontend.replies import Replies
from frontend.session import Sessions
from frontend.settings import Settings
from frontend.store import ChatStore


@dataclass(frozen=True)
class Services:
    """The app's parts, wired together."""

    settings: Settings
    store: ChatStore
    library: Library
    imports: asyncio.Semaphore  # files of chats that may be read at once: each is in memory as a whole
    replies: Replies
    relay: Relay
    following: Following
    health: HealthWatch
    backend: BackendJson
    cluster: ClusterWatch
    trials: asyncio.Semaphore  # questions that may be tried at once: each has two replies written
    sessions: Sessions
    rates: Rates
    templates: Jinja2Templates


def services(request: Request) -> Services:
    """The services of the app that serves this request."""
    return cast(Services, request.app.state.services)
