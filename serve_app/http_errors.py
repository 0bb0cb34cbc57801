"""Errors over HTTP: their status codes, and the shape of their bodies (under /v1 OpenAI's); limits of bodies."""

import asyncio
import logging
import re
from collections.abc import Callable, Mapping
from typing import Any
from uuid import uuid4

from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from pydantic import BaseModel
from starlette.datastructures import Headers
from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from serve_app.errors import (
    DeadlineExceeded,
    Forbidden,
    InvalidRequest,
    NoReplica,
    Outdated,
    Overloaded,
    ReplyImpossible,
    ReplyInterrupted,
    RequestError,
    Starting,
    Unauthorized,
    UnknownModel,
    reason,
)
from serve_app.openai_errors import PREFIX, openai_error, openai_status

logger = logging.getLogger("ray.serve.godel")

_STATUS: dict[type[RequestError], int] = {
    Unauthorized: 401,
    Forbidden: 403,
    Outdated: 409,
    InvalidRequest: 422,
    UnknownModel: 404,
    Overloaded: 429,
    NoReplica: 503,
    Starting: 503,
    ReplyInterrupted: 503,
    DeadlineExceeded: 504,
    ReplyImpossible: 500,
}
_HTTP_ERROR_TYPES = {
    400: "malformed_json",
    404: "not_found",
    405: "method_not_allowed",
    408: "body_too_slow",
    413: "body_too_large",
}
# A name or number that a client made up may be as long as a body.
_LONGEST_NAME = _LONGEST_VALUE = 40

# A request id may be the client's own: only what is harmless in logs is kept of it.
_NOT_IN_IDS = re.compile(r"[^A-Za-z0-9._-]")


class ErrorDetail(BaseModel):
    type: str
    message: str
    request_id: str


class ErrorBody(BaseModel):
    """The one shape of every error, but for those under /v1."""

    error: ErrorDetail


def error_body(type_: str, message: str, request_id: str) -> ErrorBody:
    return ErrorBody(error=ErrorDetail(type=type_, message=message, request_id=request_id))


class BodyLimits:
    """ASGI middleware: a request's body has at most `max_bytes`, and is here within `seconds`.

    Reading more of it, or waiting longer for it, raises a 413 or 408 instead.
    """

    def __init__(self, app: ASGIApp, max_bytes: int, seconds: float) -> None:
        self._app = app
        self._max_bytes = max_bytes
        self._seconds = seconds

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        declared = Headers(scope=scope).get("content-length", "") if scope["type"] == "http" else ""
        if declared.isdigit() and int(declared) > self._max_bytes:
            receive = self._refuse
        until = asyncio.get_running_loop().time() + self._seconds
        size, complete = 0, scope["type"] != "http"

        async def receive_limited() -> Message:
            nonlocal size, complete
            if complete:  # what comes now is that the client has left, whenever that is
                return await receive()
            try:
                async with asyncio.timeout_at(until):
                    message = await receive()
            except TimeoutError:
                raise self._too_slow() from None
            size += len(message.get("body", b""))
            complete = not message.get("more_body", False)
            if size > self._max_bytes:
                await self._refuse()
            return message

        await self._app(scope, receive_limited, send)

    async def _refuse(self) -> Message:
        raise HTTPException(413, f"the body is too large; at most {self._max_bytes} bytes are allowed")

    def _too_slow(self) -> HTTPException:
        # What is still to come of the body would be taken for the next request's head.
        return HTTPException(408, f"the body was not complete within {self._seconds:g} s", {"Connection": "close"})


def add_errors(api: FastAPI, refused: Callable[[str], None] = lambda reason: None) -> None:
    """refused: is told the reason of every answer that refuses a request, before any work on a reply."""
    api.state.refused = refused

    @api.exception_handler(RequestError)
    async def on_request_error(request: Request, error: RequestError) -> Response:
        return error_response(request, error)

    @api.exception_handler(RequestValidationError)
    async def on_invalid(request: Request, error: RequestValidationError) -> Response:
        mistakes = error.errors()
        if mistakes[0]["type"] == "json_invalid":
            return _error(request, 400, "malformed_json", f"the body is not JSON: {mistakes[0]['ctx']['error']}")
        explained = "; ".join(map(_explain, mistakes[:5]))
        return _error(request, 422, InvalidRequest.type, explained, mistake=mistakes[0]["type"])

    @api.exception_handler(HTTPException)
    async def on_http_error(request: Request, error: HTTPException) -> Response:
        type_ = _HTTP_ERROR_TYPES.get(error.status_code, "http_error")
        return _error(request, error.status_code, type_, error.detail, error.headers)  # 405 comes with Allow

    @api.exception_handler(Exception)
    async def on_bug(request: Request, error: Exception) -> Response:
        logger.error("request %s failed", request_id_of(request), exc_info=error)
        return _error(request, 500, "internal_error", "an error of this server, not of your request; see its log")


def error_response(request: Request, error: RequestError) -> JSONResponse:
    headers = {"Retry-After": str(error.retry_after_s)} if error.retry_after_s else {}
    if isinstance(error, Unauthorized):
        headers["WWW-Authenticate"] = "Bearer"
    return _error(request, _STATUS[type(error)], error.type, str(error), headers, counted_as=error.counted_as)


def _explain(mistake: dict[str, Any]) -> str:
    """Field, reason and, for plain numbers and flags, the value. What users wrote is not repeated."""
    field = ".".join(str(part)[:_LONGEST_NAME] for part in mistake["loc"] if part != "body") or "body"
    if mistake["type"] == "extra_forbidden":
        return f"{field}: there is no such field; /docs lists those that exist"
    value = f", not {mistake['input']}"[:_LONGEST_VALUE] if isinstance(mistake["input"], int | float) else ""
    return f"{field}: {reason(mistake)}{value}"


def _error(
    request: Request,
    status: int,
    type_: str,
    message: str,
    headers: Mapping[str, str] | None = None,
    counted_as: str = "",
    mistake: str | None = None,
) -> JSONResponse:
    """mistake: pydantic's name of what is wrong with the first wrong field."""
    if status < 500 or type_ in (NoReplica.type, Starting.type):  # any other is how a reply has ended, or a bug
        request.app.state.refused(counted_as or type_)
    body: BaseModel
    if request.url.path.startswith(PREFIX):
        body, status = openai_error(type_, message, mistake), openai_status(status)
    else:
        body = error_body(type_, message, request_id_of(request))
    return JSONResponse(body.model_dump(), status_code=status, headers=headers)


def request_id_of(request: Request) -> str:
    """The client's own, or the one that Serve gives to every request; it puts either on the response."""
    given = _NOT_IN_IDS.sub("", request.headers.get("x-request-id", ""))[:64]
    made: str = given or request.scope.setdefault("request_id", uuid4().hex)
    return made
