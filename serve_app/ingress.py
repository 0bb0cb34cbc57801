"""HTTP: /chat, /health, /replicas. The only place where errors get status codes."""

import logging
import re
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from contextlib import aclosing
from dataclasses import asdict
from typing import Any

from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse, StreamingResponse
from pydantic import BaseModel
from starlette.datastructures import Headers
from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from serve_app.chat import Chat, Piece
from serve_app.errors import (
    DeadlineExceeded,
    InvalidRequest,
    NoReplica,
    Overloaded,
    ReplyInterrupted,
    RequestError,
    reason,
)
from serve_app.messages import ChatReply, ChatRequest, Origin

logger = logging.getLogger("ray.serve.godel")

_STATUS: dict[type[RequestError], int] = {
    InvalidRequest: 422,
    Overloaded: 429,
    NoReplica: 503,
    ReplyInterrupted: 503,
    DeadlineExceeded: 504,
}
_HTTP_ERROR_TYPES = {404: "not_found", 405: "method_not_allowed", 413: "body_too_large"}

# A request id may be the client's own: only what is harmless in logs is kept of it.
_NOT_IN_IDS = re.compile(r"[^A-Za-z0-9._-]")


def create_api(chat: Chat, lifespan: Callable[[FastAPI], Any] | None = None) -> FastAPI:
    """The HTTP application over a chat."""
    api = FastAPI(
        title="Grounded chat",
        description="GODEL on Ray Serve. Every reply says which replica on which node wrote it.",
        lifespan=lifespan,
    )
    api.add_middleware(BodyLimit, max_bytes=chat.args.max_body_bytes)
    _add_errors(api)
    _add_routes(api, chat)
    return api


def _add_routes(api: FastAPI, chat: Chat) -> None:
    @api.post("/chat", response_model=ChatReply, responses={422: {"model": ErrorBody}, 429: {"model": ErrorBody}})
    async def post_chat(body: ChatRequest, request: Request) -> Response:
        """Answer the dialogue's last turn: as JSON, or as server-sent events with `stream` or that Accept header."""
        plan = await chat.plan(body, _request_id(request))
        streamed = body.stream or "text/event-stream" in request.headers.get("accept", "")
        pieces = chat.reply(plan, streamed=streamed)
        # The first piece is awaited before the answer begins, so that a refusal still has its status code.
        first = await anext(pieces)
        if streamed:
            events = _events(first, pieces, _request_id(request))
            return StreamingResponse(
                events,
                media_type="text/event-stream",
                headers=_origin_headers(first.chunk.origin) | {"Cache-Control": "no-store", "X-Accel-Buffering": "no"},
            )
        reply, origin = await _last(first, pieces)
        return JSONResponse(reply.model_dump(), headers=_origin_headers(origin))

    @api.get("/health")
    async def get_health() -> Response:
        """200 when a model replica answers, else 503."""
        health = chat.health()
        return JSONResponse(health, status_code=200 if health["status"] == "ok" else 503)

    @api.get("/replicas")
    async def get_replicas() -> dict[str, list[dict[str, Any]]]:
        """The model replicas that answer, and how busy each is."""
        return {"replicas": [_flat(asdict(status)) for status in chat.replicas.ready]}


def _flat(status: dict[str, Any]) -> dict[str, Any]:
    origin = status.pop("origin")
    return {
        "replica_id": origin["replica_id"],
        "node_id": origin["node_id"],
        "podName": origin["pod_name"],
        "nodeName": origin["node_name"],
        "state": "RUNNING",
        **status,
    }


async def _last(first: Piece, pieces: AsyncGenerator[Piece]) -> tuple[ChatReply, Origin]:
    piece = first
    async with aclosing(pieces):
        while piece.reply is None:
            piece = await anext(pieces)
    return piece.reply, piece.chunk.origin


async def _events(first: Piece, pieces: AsyncGenerator[Piece], request_id: str) -> AsyncIterator[str]:
    """`token` events, then one `done` with the whole reply, or one `error`."""
    try:
        async with aclosing(pieces):
            piece = first
            while True:
                if piece.text:
                    yield _event("token", _Token(text=piece.text))
                if piece.reply:
                    yield _event("done", piece.reply)
                    return
                piece = await anext(pieces)
    except RequestError as error:
        yield _event("error", _error_body(error.type, str(error), request_id))
    except Exception:
        # The status line is out: the only way left to say that the reply is not complete (law 4).
        logger.exception("request %s failed", request_id)
        yield _event("error", _error_body("internal_error", "the reply could not be completed", request_id))


def _event(name: str, data: BaseModel) -> str:
    return f"event: {name}\ndata: {data.model_dump_json()}\n\n"


class _Token(BaseModel):
    text: str


class ErrorDetail(BaseModel):
    type: str
    message: str
    request_id: str


class ErrorBody(BaseModel):
    """The one shape of every error."""

    error: ErrorDetail


def _error_body(type_: str, message: str, request_id: str) -> ErrorBody:
    return ErrorBody(error=ErrorDetail(type=type_, message=message, request_id=request_id))


def _origin_headers(origin: Origin) -> dict[str, str]:
    return {"x-replica-id": origin.replica_id, "x-node-id": origin.node_id}


class BodyLimit:
    """ASGI middleware: whoever reads more than `max_bytes` of a request's body gets a 413 to raise instead."""

    def __init__(self, app: ASGIApp, max_bytes: int) -> None:
        self._app = app
        self._max_bytes = max_bytes

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        declared = Headers(scope=scope).get("content-length", "") if scope["type"] == "http" else ""
        if declared.isdigit() and int(declared) > self._max_bytes:
            receive = self._refuse
        size = 0

        async def receive_limited() -> Message:
            nonlocal size
            message = await receive()
            size += len(message.get("body", b""))
            if size > self._max_bytes:
                await self._refuse()
            return message

        await self._app(scope, receive_limited, send)

    async def _refuse(self) -> Message:
        raise HTTPException(413, f"the body is too large; at most {self._max_bytes} bytes are allowed")


def _add_errors(api: FastAPI) -> None:
    @api.exception_handler(RequestError)
    async def on_request_error(request: Request, error: RequestError) -> Response:
        return _error(request, _STATUS[type(error)], error.type, str(error), error.retry_after_s)

    @api.exception_handler(RequestValidationError)
    async def on_invalid(request: Request, error: RequestValidationError) -> Response:
        mistakes = error.errors()
        if mistakes[0]["type"] == "json_invalid":
            return _error(request, 400, "malformed_json", f"the body is not JSON: {mistakes[0]['ctx']['error']}")
        return _error(request, 422, InvalidRequest.type, "; ".join(map(_explain, mistakes[:5])))

    @api.exception_handler(HTTPException)
    async def on_http_error(request: Request, error: HTTPException) -> Response:
        return _error(request, error.status_code, _HTTP_ERROR_TYPES.get(error.status_code, "http_error"), error.detail)

    @api.exception_handler(Exception)
    async def on_bug(request: Request, error: Exception) -> Response:
        logger.error("request %s failed", _request_id(request), exc_info=error)
        return _error(request, 500, "internal_error", "an error of this server, not of your request; see its log")


def _explain(mistake: dict[str, Any]) -> str:
    """Field, reason and, for plain numbers and flags, the value. What users wrote is not repeated."""
    field = ".".join(str(part) for part in mistake["loc"] if part != "body") or "body"
    if mistake["type"] == "extra_forbidden":
        return f"{field}: there is no such field; /docs lists those that exist"
    value = f", not {mistake['input']}" if isinstance(mistake["input"], int | float) else ""
    return f"{field}: {reason(mistake)}{value}"


def _error(request: Request, status: int, type_: str, message: str, retry_after_s: int | None = None) -> JSONResponse:
    body = _error_body(type_, message, _request_id(request))
    headers = {"Retry-After": str(retry_after_s)} if retry_after_s else None
    return JSONResponse(body.model_dump(), status_code=status, headers=headers)


def _request_id(request: Request) -> str:
    """Serve gives every request this header, unless the client did, and puts it on the response."""
    return _NOT_IN_IDS.sub("", request.headers.get("x-request-id", ""))[:64] or "none"
