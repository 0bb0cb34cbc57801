"""What the frontend counts, for Prometheus, at an address of its own: never on the page's port, which people reach.

No label is of a user's making: routes are their templates. A process has one set of these, as prometheus_client has it.
"""

import time
from collections.abc import Iterator
from contextlib import contextmanager

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    PlatformCollector,
    ProcessCollector,
    start_http_server,
)
from starlette.types import ASGIApp, Message, Receive, Scope, Send

_SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 75)
_METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS")

REGISTRY = CollectorRegistry()
ProcessCollector(registry=REGISTRY)
PlatformCollector(registry=REGISTRY)

REQUESTS = Histogram(
    "frontend_request_seconds",
    "from a request to the head of its answer; a stream goes on after it",
    ("method", "route", "status"),
    buckets=_SECONDS,
    registry=REGISTRY,
)
STREAMS = Gauge("frontend_open_streams", "replies that are followed by a browser", registry=REGISTRY)
WRITING = Gauge("frontend_replies_in_progress", "replies that are being written", registry=REGISTRY)
REPLIES = Counter(
    "frontend_replies",
    "replies that have ended: `done`, `stopped` (by their reader), or the error's type",
    ("ending",),
    registry=REGISTRY,
)
STORE_ERRORS = Counter(
    "frontend_store_errors", "transactions that failed because the database did not answer", registry=REGISTRY
)


@contextmanager
def served(host: str, port: int | None) -> Iterator[None]:
    """Answer GET /metrics on that port, in a thread of its own; None: nowhere. Raises OSError."""
    if port is None:
        yield
        return
    server, thread = start_http_server(port, host, REGISTRY)
    try:
        yield
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


class RequestTimes:
    """ASGI middleware: how long each request waits for its answer, by the template of its route."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        began = time.perf_counter()

        async def send_timed(message: Message) -> None:
            if message["type"] == "http.response.start":
                method = scope["method"] if scope["method"] in _METHODS else "other"
                labels = (method, _route(scope), str(message["status"]))
                REQUESTS.labels(*labels).observe(time.perf_counter() - began)
            await send(message)

        await self._app(scope, receive, send_timed)


def _route(scope: Scope) -> str:
    """The template, as `/messages/{position}/retry`; addresses that do not exist are one."""
    if scope["path"].startswith("/static/"):
        return "/static"
    return str(getattr(scope.get("route"), "path", "none"))
