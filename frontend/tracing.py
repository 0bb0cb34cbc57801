"""Spans of what the page does, for an OpenTelemetry collector: off, and free, unless one is named.

    OTEL_EXPORTER_OTLP_ENDPOINT=http://collector:4318

A span has times, names and numbers, never a word of a user's: so neither an address's query nor an exception's message.
Spans leave by a thread of their own, which drops them where the collector is away: no reply waits for it. The backend's
continue them, as each question carries W3C's trace context. docs/operations.md has the table of spans.
"""

import os
import socket
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from threading import Thread

from opentelemetry.context import attach, detach
from opentelemetry.trace import NoOpTracer, Span, SpanKind, StatusCode, Tracer, format_trace_id, get_current_span
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator
from starlette.datastructures import Headers
from starlette.types import ASGIApp, Message, Receive, Scope, Send

ENDPOINTS = ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "OTEL_EXPORTER_OTLP_ENDPOINT")
# At its end the process waits this long for its last spans to leave: OpenTelemetry would wait for half a minute.
LAST_SPANS_SECONDS = 2.0

_w3c = TraceContextTextMapPropagator()  # and no baggage, which could hold anything
_tracer: Tracer = NoOpTracer()
_end: Callable[[], None] | None = None


def start() -> None:
    """Send this process's spans from now on, if the environment names a collector.

    Raises ValueError for a number among OpenTelemetry's variables that cannot be; of other mistakes it warns.
    """
    global _tracer, _end
    if not any(map(os.environ.get, ENDPOINTS)):
        return
    # Here, since they cost memory and time that who traces nothing should not pay.
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
    from opentelemetry.sdk.resources import Resource
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import BatchSpanProcessor

    resource = Resource.create({"service.name": "godel-frontend", "service.instance.id": socket.gethostname()})
    provider = TracerProvider(resource=resource, shutdown_on_exit=False)
    provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))
    _tracer, _end = provider.get_tracer("frontend"), provider.shutdown


def stop() -> None:
    """Send what there is still to send, as far as that is quickly done."""
    global _tracer, _end
    if _end:
        ending = Thread(target=_end, daemon=True)
        _tracer, _end = NoOpTracer(), None
        ending.start()
        ending.join(LAST_SPANS_SECONDS)


def is_on() -> bool:
    """Whether spans are sent."""
    return _end is not None


@contextmanager
def span(name: str, kind: SpanKind = SpanKind.INTERNAL, **attributes: str | int) -> Iterator[Span]:
    """What is done in here, as a part of the span around it. An error is told by its type."""
    with _tracer.start_as_current_span(
        name, kind=kind, attributes=attributes, record_exception=False, set_status_on_exception=False
    ) as current:
        try:
            yield current
        except Exception as error:
            current.set_attribute("error.type", type(error).__name__)
            current.set_status(StatusCode.ERROR)
            raise


def carried() -> dict[str, str]:
    """The present span as headers, for who goes on with the request; empty without one."""
    headers: dict[str, str] = {}
    _w3c.inject(headers)
    return headers


def trace_id() -> str:
    """Of the present trace; empty without one."""
    present = get_current_span().get_span_context()
    return format_trace_id(present.trace_id) if present.is_valid else ""


@contextmanager
def _within(headers: Mapping[str, str]) -> Iterator[None]:
    token = attach(_w3c.extract(headers))
    try:
        yield
    finally:
        detach(token)


class Traced:
    """ASGI middleware: a span of each form that is sent, in the trace that its headers name. All else only reads."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if not is_on() or scope["type"] != "http" or scope["method"] != "POST":
            await self._app(scope, receive, send)
            return
        with _within(Headers(scope=scope)), span("POST", SpanKind.SERVER) as current:

            async def send_noted(message: Message) -> None:
                if message["type"] == "http.response.start":
                    if route := scope.get("route"):
                        current.update_name(f"POST {route.path}")
                    current.set_attribute("http.response.status_code", message["status"])
                    if message["status"] >= 500:
                        current.set_status(StatusCode.ERROR)
                await send(message)

            await self._app(scope, receive, send_noted)
