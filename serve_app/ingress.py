"""HTTP: /chat, /health, /replicas."""

import logging
import time
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from contextlib import aclosing
from dataclasses import asdict
from typing import Any

from fastapi import FastAPI, Request, Response
from fastapi.responses import JSONResponse, StreamingResponse
from pydantic import BaseModel
from starlette.types import ASGIApp, Receive, Scope, Send

from serve_app import openapi
from serve_app.admission import Admission
from serve_app.chat import Chat, Piece
from serve_app.errors import Overloaded, RequestError, Unauthorized
from serve_app.http_errors import BodyLimits, add_errors, error_body, error_response, request_id_of
from serve_app.keys import Key, KeyRing
from serve_app.messages import ChatReply, ChatRequest, Health, Origin, Replica, ReplicaList

logger = logging.getLogger("ray.serve.godel")

# A request's body holds room while it arrives. The largest takes this long at 1.7 Mbit/s; most are one packet.
BODY_S = 10.0


def create_api(chat: Chat, lifespan: Callable[[FastAPI], Any] | None = None, keys: KeyRing | None = None) -> FastAPI:
    """The HTTP application over a chat. keys: who may ask; None: everybody."""
    api = FastAPI(
        title="Grounded chat",
        description="GODEL on Ray Serve. Every reply says which replica on which node wrote it.",
        lifespan=lifespan,
    )
    api.add_middleware(BodyLimits, max_bytes=chat.args.max_body_bytes, seconds=BODY_S)
    api.add_middleware(Gate, admission=_admission(chat), budget_s=chat.args.request_timeout_s, keys=keys)
    add_errors(api)
    _add_routes(api, chat)
    openapi.add_limits(api, chat.args)
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
            key = self._keys.admit(_presented(request)) if self._keys else None
            if scope["method"] != "POST":
                return await self._app(scope, receive, send)
            if key:
                logger.info("request %s: asked with the key %s", request_id_of(request), key.name)
            with self._admission.enter(_client(request, key), self._budget_s):
                await self._app(scope, receive, send)
        except (Unauthorized, Overloaded) as error:
            await error_response(request, error)(scope, receive, send)


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


def _add_routes(api: FastAPI, chat: Chat) -> None:
    @api.post(
        "/chat",
        response_model=ChatReply,
        responses=openapi.REPLY | openapi.errors(400, 401, 408, 413, 422, 429, 500, 503, 504),
    )
    async def post_chat(body: ChatRequest, request: Request) -> Response:
        """Answer the dialogue's last turn: as JSON, or as server-sent events with `stream` or that Accept header."""
        request_id = request_id_of(request)
        streamed = body.stream or "text/event-stream" in request.headers.get("accept", "")
        pieces = chat.reply(body, request_id, streamed=streamed).read()
        # The first piece is awaited before the answer begins, so that a refusal still has its status code.
        first = await anext(pieces)
        if streamed:
            return StreamingResponse(
                _events(request_id, first, pieces),
                media_type="text/event-stream",
                headers=_origin_headers(first.chunk.origin) | {"Cache-Control": "no-store", "X-Accel-Buffering": "no"},
            )
        reply, origin = await _last(first, pieces)
        return JSONResponse(reply.model_dump(), headers=_origin_headers(origin))

    @api.get("/health", response_model=Health, responses=openapi.errors(500) | {503: {"model": Health}})
    async def get_health() -> Response:
        """200 when a model replica answers, else 503."""
        health = await chat.health()
        return JSONResponse(health, status_code=200 if health["status"] == "ok" else 503)

    @api.get("/replicas", responses=openapi.errors(401, 500))
    async def get_replicas() -> ReplicaList:
        """The model replicas, how each is, and how busy."""
        states = chat.replicas.states
        return ReplicaList(
            replicas=[
                Replica.model_validate(asdict(status) | status.origin.names | {"state": state})
                for status, state in states
            ]
        )


async def _last(first: Piece, pieces: AsyncGenerator[Piece]) -> tuple[ChatReply, Origin]:
    piece = first
    async with aclosing(pieces):
        while piece.reply is None:
            piece = await anext(pieces)
    return piece.reply, piece.chunk.origin


async def _events(request_id: str, first: Piece, pieces: AsyncGenerator[Piece]) -> AsyncIterator[str]:
    """One `start`, `token` events, then one `done` with the whole reply, or one `error`."""
    try:
        async with aclosing(pieces):
            piece = first
            while True:
                if piece.start:
                    yield _event("start", piece.start)
                if piece.text:
                    yield _event("token", _Token(text=piece.text))
                if piece.reply:
                    yield _event("done", piece.reply)
                    return
                piece = await anext(pieces)
    except RequestError as error:
        yield _event("error", error_body(error.type, str(error), request_id))
    except Exception:
        # The status line is out: the only way left to say that the reply is not complete (law 4).
        logger.exception("request %s failed", request_id)
        yield _event("error", error_body("internal_error", "the reply could not be completed", request_id))


def _event(name: str, data: BaseModel) -> str:
    return f"event: {name}\ndata: {data.model_dump_json()}\n\n"


class _Token(BaseModel):
    text: str


def _origin_headers(origin: Origin) -> dict[str, str]:
    return {"x-replica-id": origin.replica_id, "x-node-id": origin.node_id}
