"""Spans of a request's way through this service, for an OpenTelemetry collector: off, and free, unless one is named.

    OTEL_EXPORTER_OTLP_ENDPOINT=http://collector:4318

A span has times, names and numbers of this service, never a word of a user's: so no exception's message either. Spans
leave by a thread of their own, which drops them where the collector is away: no reply waits for it. How much is sampled
and sent at a time is for OpenTelemetry's own variables to say. docs/operations.md has the table of spans.
"""

import logging
import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from threading import Thread

from opentelemetry.context import attach, detach
from opentelemetry.trace import NoOpTracer, Span, SpanKind, StatusCode, Tracer, format_trace_id, get_current_span
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

logger = logging.getLogger("ray.serve.godel")

_ENDPOINTS = ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "OTEL_EXPORTER_OTLP_ENDPOINT")
# At its end a process waits this long for its last spans to leave: OpenTelemetry would wait for half a minute.
_LAST_SPANS_S = 2.0
_W3C = TraceContextTextMapPropagator()  # and no baggage, which could hold anything

_tracer: Tracer = NoOpTracer()
_end: Callable[[], None] | None = None


def start(service: str, instance: str) -> None:
    """Send this process's spans from now on, if the environment names a collector.

    Raises ValueError for a number among OpenTelemetry's variables that cannot be; of other mistakes it warns.
    """
    global _tracer, _end
    if not any(map(os.environ.get, _ENDPOINTS)):
        return
    # Here, since they cost memory and time that who traces nothing should not pay.
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
    from opentelemetry.sdk.resources import Resource
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import BatchSpanProcessor

    resource = Resource.create({"service.name": service, "service.instance.id": instance})
    # Not the global provider, which is Ray's to set where Serve's own tracing is on.
    provider = TracerProvider(resource=resource, shutdown_on_exit=False)
    provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))
    _tracer, _end = provider.get_tracer("serve_app"), provider.shutdown
    logger.addFilter(_with_trace_id)


def stop() -> None:
    """Send what there is still to send, as far as that is quickly done."""
    global _tracer, _end
    if _end:
        ending = Thread(target=_end, daemon=True)
        _tracer, _end = NoOpTracer(), None
        ending.start()
        ending.join(_LAST_SPANS_S)


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


def past_span(
    name: str, began: float, ended: float, kind: SpanKind = SpanKind.INTERNAL, **attributes: str | int
) -> Span:
    """What is over already, likewise. began, ended: seconds since 1970."""
    past = _tracer.start_span(name, kind=kind, attributes=attributes, start_time=_nanoseconds(began))
    past.end(_nanoseconds(ended))
    return past


def _nanoseconds(seconds: float) -> int:
    return int(seconds * 1e9)


def carried() -> dict[str, str]:
    """The present span as W3C's headers, for who goes on with the request; empty without one."""
    headers: dict[str, str] = {}
    _W3C.inject(headers)
    return headers


@contextmanager
def within(headers: Mapping[str, str]) -> Iterator[None]:
    """Spans and log lines in here belong to what the headers carry; they may carry nothing."""
    token = attach(_W3C.extract(headers))
    try:
        yield
    finally:
        detach(token)


def trace_id() -> str:
    """Of the present trace; empty without one."""
    present = get_current_span().get_span_context()
    return format_trace_id(present.trace_id) if present.is_valid else ""


def _with_trace_id(record: logging.LogRecord) -> bool:
    """A filter that adds to a line of the log which trace it belongs to."""
    if present := trace_id():
        vars(record)["trace_id"] = present
    return True
