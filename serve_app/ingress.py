"""HTTP: /chat, /health, /replicas; /v1 is openai_api's, /config is config_routes's."""

import logging
import time
from collections.abc import AsyncGenerator, Callable
from contextlib import ExitStack, aclosing
from typing import Any

from fastapi import FastAPI, Request, Response
from fastapi.responses import JSONResponse
from opentelemetry.trace import SpanKind, StatusCode
from pydantic import BaseModel
from starlette.datastructures import Headers
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from serve_app import openai_api, openapi, tracing
from serve_app.admission import Admission
from serve_app.chat import Chat, Piece
from serve_app.config_routes import add_config_routes
from serve_app.demo_routes import add_demo_routes
from serve_app.errors import Overloaded, Unauthorized
from serve_app.http_errors import BodyLimits, add_errors, error_body, error_response, request_id_of
from serve_app.keys import Key, KeyRing
from serve_app.messages import ChatReply, ChatRequest, Health, Ingress, Origin, ReplicaList
from serve_app.reply_stream import event_stream, opened, origin_headers
from serve_app.roster import roster

logger = logging.getLogger("ray.serve.godel")

# A request's body holds room while it arrives. The largest takes this long at 1.7 Mbit/s; most are one packet.
BODY_S = 10.0


NOWHERE = Origin(replica_id="", node_id="", pod_name="", node_name="")


def create_api(
    chat: Chat,
    lifespan: Callable[[FastAPI], Any] | None = None,
    keys: KeyRing | None = None,
    refused: Callable[[str], None] = lambda reason: None,
    here: Origin = NOWHERE,
) -> FastAPI:
    """The HTTP application over a chat. keys: who may ask; None: everybody. here: the replica that it runs in.

    refused: gets the reason of each refusal.
    """
    api = FastAPI(
        title="Grounded chat",
        description="GODEL on Ray Serve. Every reply says which replica on which node wrote it.",
        lifespan=lifespan,
    )
    api.add_middleware(BodyLimits, max_bytes=chat.args.max_body_bytes, seconds=BODY_S)
    api.add_middleware(Gate, admission=_admission(chat), budget_s=chat.args.request_timeout_s, keys=keys)
    api.add_middleware(Traced)
    add_errors(api, refused)
    _add_routes(api, chat, here)
    openai_api.add_routes(api, chat)
    add_config_routes(api, chat)
    if chat.args.demo:
        add_demo_routes(api, chat)
    openapi.add_limits(api, chat.args, chat.checkpoint.name)
    return api


def _admission(chat: Chat) -> Admission:
    def slots() -> int:
        return sum(status.slots for status in chat.replicas.ready)

    return Admission(slots, chat.args.max_waiting, time.monotonic)


class Gate:
    """ASGI middleware: a request without a good key, or without room for it, is refused before its body is read."""

    def __init__(self, app: ASGIApp, admission: Admission, budget_s: float, keys: KeyRing | None) -> None:
        self._app = app
        self._admission = admission
        self._budget_s = budget_s
        self._keys = keys

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["path"] == "/health":
            return await self._app(scope, receive, send)
        request = Request(scope)
        try:
            key = scope["key"] = self._keys.admit(_presented(request)) if self._keys else None
            if scope["method"] != "POST":
                return await self._app(scope, receive, send)
            if key:
                logger.info("request %s: asked with the key %s", request_id_of(request), key.name)
            client = _client(request, key)
            with ExitStack() as places:

                def enter() -> None:
                    places.enter_context(self._admission.enter(client, self._budget_s))

                enter()
                scope["enter"] = enter  # for who asks for several replies at once
                await self._app(scope, receive, send)
        except (Unauthorized, Overloaded) as error:
            await error_response(request, error)(scope, receive, send)


class Traced:
    """ASGI middleware: a span of each POST, in the trace that its headers name. All else asks how things are."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if not tracing.is_on() or scope["type"] != "http" or scope["method"] != "POST":
            return await self._app(scope, receive, send)
        asked = tracing.span("POST", SpanKind.SERVER, request_id=request_id_of(Request(scope)))
        with tracing.within(Headers(scope=scope)), asked as span:

            async def send_noted(message: Message) -> None:
                if message["type"] == "http.response.start":
                    if route := scope.get("route"):
                        span.update_name(f"POST {route.path}")
                    span.set_attribute("http.response.status_code", message["status"])
                    if message["status"] >= 500:
                        span.set_status(StatusCode.ERROR)
                await send(message)

            await self._app(scope, receive, send_noted)


def _presented(request: Request) -> str | None:
    scheme, _, key = request.headers.get("authorization", "").partition(" ")
    return key.strip() if scheme.lower() == "bearer" else None


def _client(request: Request, key: Key | None) -> str:
    """Who has a share of the room: a key, else a session, else an address.

    A frontend names its visitors' sessions, as they all come from its address, and with its key.
    """
    session = request.headers.get("x-session-id", "")[:64]
    if key:
        return f"{key.name}/{session}" if key.for_visitors else key.name
    return session or (request.client.host if request.client else "")


def _add_routes(api: FastAPI, chat: Chat, here: Origin) -> None:
    @api.post(
        "/chat",
        response_model=ChatReply,
        responses=openapi.REPLY | openapi.errors(400, 401, 408, 413, 422, 429, 500, 503, 504),
    )
    async def post_chat(body: ChatRequest, request: Request) -> Response:
        """Answer the dialogue's last turn: as JSON, or as server-sent events with `stream` or that Accept header."""
        request_id = request_id_of(request)
        streamed = body.stream or "text/event-stream" in request.headers.get("accept", "")
        first, pieces = await opened(chat.reply(body, request_id, streamed=streamed).read())
        if streamed:
            return event_stream(
                _events(pieces),
                lambda type_, message: _event("error", error_body(type_, message, request_id)),
                request_id,
                origin_headers(first.chunk.origin),
            )
        reply = await _whole(pieces)
        return JSONResponse(reply.model_dump(), headers=origin_headers(reply))

    @api.get("/health", response_model=Health, responses=openapi.errors(500) | {503: {"model": Health}})
    async def get_health() -> Response:
        """200 when a model replica answers, or the next request has one started; else 503."""
        health = chat.health()
        return JSONResponse(health, status_code=503 if health["status"] == "unavailable" else 200)

    @api.get("/replicas", responses=openapi.errors(401, 500))
    async def get_replicas() -> ReplicaList:
        """The model replicas, how each is, and how busy; which ingress says so, and the configuration that it uses."""
        deployed, health = await chat.replicas.deployed(), chat.health()
        return ReplicaList(
            replicas=roster(chat.replicas.states, deployed),
            target_replicas=deployed.target if deployed else None,
            model=health["model"],
            ingress=Ingress(**here.names, config_version=health["config_version"], config_error=health["config_error"]),
        )


async def _whole(pieces: AsyncGenerator[Piece]) -> ChatReply:
    async with aclosing(pieces):
        (reply,) = [piece.reply async for piece in pieces if piece.reply]
    return reply


async def _events(pieces: AsyncGenerator[Piece]) -> AsyncGenerator[str]:
    """One `start`, `token` events, then one `done` with the whole reply."""
    async with aclosing(pieces):
        async for piece in pieces:
            if piece.start:
                yield _event("start", piece.start)
            if piece.text:
                yield _event("token", _Token(text=piece.text))
            if piece.reply:
                yield _event("done", piece.reply)


def _event(name: str, data: BaseModel) -> str:
    return f"event: {name}\ndata: {data.model_dump_json()}\n\n"


class _Token(BaseModel):
    text: str
