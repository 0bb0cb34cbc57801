"""Proxies in front of the page: what they say of a request is believed where they are known, and removed otherwise.

So whatever comes later can read the client's address, the scheme and the user's name as they are in the request.
"""

import logging
from collections.abc import Sequence

from starlette.types import ASGIApp, Receive, Scope, Send
from uvicorn.middleware.proxy_headers import ProxyHeadersMiddleware

log = logging.getLogger("frontend")

FORWARDED_FOR = b"x-forwarded-for"


class TrustedProxies:
    """ASGI middleware: a trusted proxy's X-Forwarded-For and X-Forwarded-Proto hold, and so does its `user_header`.

    So does the trace that it says a request is part of: no visitor writes into one.
    """

    def __init__(self, app: ASGIApp, proxies: Sequence[str], user_header: str | None) -> None:
        self._app = app
        self._proxied = ProxyHeadersMiddleware(app, trusted_hosts=list(proxies))  # type: ignore[arg-type]  # other names
        user = (user_header or "").lower().encode()
        self._claims = {b"x-forwarded-proto", FORWARDED_FOR, b"traceparent", b"tracestate", user}
        self._warned = False

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        peer = (scope.get("client") or ("", 0))[0]
        if peer in self._proxied.trusted_hosts:
            await self._proxied(scope, receive, send)  # type: ignore[arg-type]
            return
        if not self._warned and any(name == FORWARDED_FOR for name, _ in scope["headers"]):
            self._warned = True
            log.warning(
                "requests come through a proxy at %s, which FRONTEND_TRUSTED_PROXIES does not name: "
                "all who use it count as one address",
                peer,
            )
        believed = [header for header in scope["headers"] if header[0] not in self._claims]
        await self._app({**scope, "headers": believed}, receive, send)
