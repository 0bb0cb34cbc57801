"""What a client must not tell Serve: headers that Serve reads before the ingress sees the request.

By them a client could lift Serve's own deadline, or have a reply written on after it left. Serve's proxy runs this
where RAY_SERVE_HTTP_PROXY_CALLBACK_IMPORT_PATH=serve_app.proxy_headers:middlewares is in its environment, as in the
backend's image; behind HAProxy `launcher/haproxy.sh` does the same.
"""

import re

from starlette.middleware import Middleware
from starlette.types import ASGIApp, Receive, Scope, Send

_FOR_SERVE = (b"x-request-timeout-seconds", b"x-request-disconnect-disabled")
# Serve puts a client's id on the response as it is.
_HARMLESS_ID = re.compile(rb"[A-Za-z0-9._-]{1,64}")


def middlewares() -> list[Middleware]:
    return [Middleware(ClientHeaders)]


class ClientHeaders:
    """ASGI middleware: takes them out of the request. Who sent a harmful id gets one from Serve."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            scope = {**scope, "headers": [header for header in scope["headers"] if _is_allowed(*header)]}
        await self._app(scope, receive, send)


def _is_allowed(name: bytes, value: bytes) -> bool:
    if name == b"x-request-id":
        return _HARMLESS_ID.fullmatch(value) is not None
    return name not in _FOR_SERVE
