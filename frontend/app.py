"""Assembles the frontend: one factory, which wires the parts and opens and closes them with the app."""

import asyncio
import logging
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import cache, partial
from pathlib import Path
from uuid import uuid4

from fastapi import FastAPI
from fastapi.exceptions import RequestValidationError
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from jinja2.ext import Extension
from sqlalchemy import Engine
from sqlalchemy.exc import SQLAlchemyError
from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.staticfiles import StaticFiles
from starlette.templating import Jinja2Templates

from frontend.backend import Backend
from frontend.backend_json import BackendJson
from frontend.cluster import Told
from frontend.cluster_routes import router as cluster_router
from frontend.cluster_watch import ClusterWatch
from frontend.conversation_routes import router as conversation_router
from frontend.data_routes import router as data_router
from frontend.database import migrate, open_engine
from frontend.display import router as display_router
from frontend.display import theme
from frontend.errors import ConversationGone, FrontendError, StoreError, StoreUnavailable, TooFast
from frontend.following import Following
from frontend.health import HealthWatch, ask_health
from frontend.knowledge_routes import router as knowledge_router
from frontend.language import ReadersLanguage
from frontend.library import Library
from frontend.metrics import RequestTimes
from frontend.own_knowledge_routes import router as own_knowledge_router
from frontend.pages import error_response, with_wait
from frontend.proxies import TrustedProxies
from frontend.rates import Rates
from frontend.relay import Relay
from frontend.replies import Replies
from frontend.routes import router
from frontend.secret_key import secret_key
from frontend.security import HEADERS, SecurityHeaders
from frontend.services import Services
from frontend.session import Sessions
from frontend.settings import Settings
from frontend.store import ChatStore
from frontend.tracing import Traced
from frontend.words import _, current, isolated, plural

log = logging.getLogger("frontend")

HERE = Path(__file__).parent
IMPORTS_AT_ONCE = 2
TRIALS_AT_ONCE = 4
SWEEP_SECONDS = 600  # expiry is counted in days; ten minutes more or less do not matter


def create_app(settings: Settings) -> FastAPI:
    """The frontend as an ASGI application. Its resources are opened at start-up and closed at shutdown."""
    app = FastAPI(title=settings.title, lifespan=_lifespan, docs_url=None, redoc_url=None, openapi_url=None)
    app.state.settings = settings
    for each in (
        router,
        conversation_router,
        data_router,
        display_router,
        cluster_router,
        knowledge_router,
        own_knowledge_router,
    ):
        app.include_router(each)
    app.mount("/static", StaticFiles(directory=HERE / "static"), name="static")
    app.add_middleware(SecurityHeaders)
    app.add_middleware(RequestTimes)  # within the proxies' middleware, whose copy of the scope has the route
    app.add_middleware(ReadersLanguage)
    app.add_middleware(Traced)  # likewise
    app.add_middleware(TrustedProxies, proxies=settings.trusted_proxies, user_header=settings.user_header)
    app.add_exception_handler(HTTPException, _http_error)
    app.add_exception_handler(RequestValidationError, _no_such_address)
    app.add_exception_handler(StoreUnavailable, _store_error)
    app.add_exception_handler(ConversationGone, _conversation_gone)
    app.add_exception_handler(TooFast, _too_fast)
    app.add_exception_handler(Exception, _unexpected_error)
    return app


@asynccontextmanager
async def _lifespan(app: FastAPI) -> AsyncIterator[None]:
    settings: Settings = app.state.settings
    engine = await run_in_threadpool(_database, settings)
    try:
        backend, backend_json = Backend(settings), BackendJson(settings)
        health = HealthWatch(partial(ask_health, settings), settings)
        store, relay = ChatStore(engine, settings), Relay(engine, settings)
        app.state.services = Services(
            settings=settings,
            store=store,
            library=Library(engine, settings),
            trials=asyncio.Semaphore(TRIALS_AT_ONCE),
            imports=asyncio.Semaphore(IMPORTS_AT_ONCE),
            replies=Replies(backend, health, store, relay, settings),
            relay=relay,
            following=Following(relay, settings),
            health=health,
            backend=backend_json,
            cluster=ClusterWatch(partial(backend_json.get, "/replicas", Told, seconds=settings.health_timeout_seconds)),
            sessions=Sessions(settings, secret_key(settings)),
            rates=Rates(settings),
            templates=_templates(),
        )
        async with _running(app.state.services):
            yield
        await backend.close()
        await backend_json.close()
    finally:
        engine.dispose()


def _database(settings: Settings) -> Engine:
    """The database, ready for use. Raises RuntimeError, which names it."""
    try:
        engine = open_engine(settings)
        migrate(engine)
        return engine
    except (SQLAlchemyError, OSError) as error:
        shown = settings.url.render_as_string(hide_password=True)
        raise RuntimeError(f"the database of FRONTEND_DATABASE_URL, {shown}, cannot be used: {error}") from error


@asynccontextmanager
async def _running(services: Services) -> AsyncIterator[None]:
    meanwhile = [asyncio.create_task(work) for work in (_sweep(services.store), services.replies.watch())]
    try:
        yield
    finally:
        for task in meanwhile:
            task.cancel()
        await asyncio.wait(meanwhile)
        await services.replies.close()
        await services.health.close()


async def _sweep(store: ChatStore) -> None:
    """Delete expired conversations, now and every `SWEEP_SECONDS`."""
    while True:
        try:
            deleted = await run_in_threadpool(store.delete_expired)
            if deleted:
                log.info("%d expired conversations deleted", deleted)
        except StoreError as error:
            log.warning("expired conversations not deleted: %s", error.message)
        await asyncio.sleep(SWEEP_SECONDS)


class Unindented(Extension):
    """Indentation is for who reads the templates: a page does not weigh more for it."""

    def preprocess(self, source: str, name: str | None, filename: str | None = None) -> str:
        """The template's source, as it is compiled."""
        return re.sub(r"^[ \t]+", "", source, flags=re.MULTILINE)


@cache  # compiled once, also where a process runs several apps, as tests do
def _templates() -> Jinja2Templates:
    # Autoescape always, and a misspelt name is an error instead of an empty place on the page.
    loader = FileSystemLoader(HERE / "templates")
    environment = Environment(
        loader=loader,
        extensions=[Unindented],
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.globals.update(_=_, plural=plural, language=current)
    environment.filters["isolated"] = isolated
    return Jinja2Templates(env=environment, context_processors=[lambda request: {"theme": theme(request)}])


async def _http_error(request: Request, error: Exception) -> Response:
    if not isinstance(error, HTTPException):
        raise error
    message = {
        404: _("There is no such page."),
        405: _("This address does not work that way."),
    }.get(error.status_code, error.detail)
    response = error_response(request, error.status_code, "http_error", message)
    response.headers.update(error.headers or {})
    return response


async def _no_such_address(request: Request, error: Exception) -> Response:
    """All that FastAPI validates here is numbers in addresses."""
    return await _http_error(request, HTTPException(404))


async def _store_error(request: Request, error: Exception) -> Response:
    log.error("the database does not answer: %s", type(error.__cause__).__name__)
    return error_response(request, 503, "store_unavailable", _("The conversations cannot be reached. Try again soon."))


async def _conversation_gone(request: Request, error: Exception) -> Response:
    """An address of a conversation that is not the session's. Forms that write to one answer for themselves."""
    if not isinstance(error, FrontendError):
        raise error
    return error_response(request, 404, error.type, error.message)


async def _too_fast(request: Request, error: Exception) -> Response:
    """Where nothing that was typed needs to be given back. Forms of which something does answer for themselves."""
    if not isinstance(error, FrontendError):
        raise error
    return with_wait(error_response(request, 429, error.type, error.message), error)


async def _unexpected_error(request: Request, error: Exception) -> Response:
    """The traceback is in the log by uvicorn; the number connects it with what the person saw."""
    number = uuid4().hex[:12]
    log.error("unexpected error %s: %s", number, type(error).__name__)
    response = error_response(
        request, 500, "internal_error", _("Something went wrong here. Its number is {number}.", number=number)
    )
    response.headers.update(HEADERS)  # this handler runs outside the middleware that adds them
    return response
