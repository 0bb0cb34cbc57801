"""An OpenTelemetry collector for tests: it takes spans by OTLP over HTTP, and keeps what it was told."""

import threading
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Self

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.common.v1.common_pb2 import KeyValue
from opentelemetry.proto.trace.v1.trace_pb2 import Span, Status

HOLD_S = 30  # a test that keeps an export waiting for longer has failed


@dataclass(frozen=True)
class Told:
    """One span."""

    name: str
    service: str
    instance: str
    trace_id: str
    span_id: str
    parent_id: str  # empty: it is a trace's first
    began: int  # nanoseconds since 1970
    ended: int
    attributes: dict[str, str | int]
    has_failed: bool

    def is_carried_by(self, traceparent: str | None) -> bool:
        """Whether that header makes who gets it a part of this span."""
        return (traceparent or "").split("-")[1:3] == [self.trace_id, self.span_id]


class Collector:
    """At `url`, while in its context."""

    def __init__(self) -> None:
        self.spans: list[Told] = []
        self.bodies: list[bytes] = []  # of the requests, as they came
        self.arrived = threading.Event()  # a request is here
        self.answers = threading.Event()  # cleared: requests are taken, and left without an answer
        self.answers.set()
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), partial(_Handler, self._take))
        self._thread = threading.Thread(target=self._server.serve_forever)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._server.server_port}"

    @property
    def environment(self) -> dict[str, str]:
        """Of who sends spans here, and soon."""
        return {"OTEL_EXPORTER_OTLP_ENDPOINT": self.url, "OTEL_BSP_SCHEDULE_DELAY": "200"}  # milliseconds

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *exception: object) -> None:
        self.answers.set()
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def one(self, name: str) -> Told:
        """The only span of that name."""
        (found,) = [span for span in self.spans if span.name == name]
        return found

    def along(self, *names: str) -> list[Told]:
        """The spans of these names, each a part of the one before it; as far as they have been told."""
        way: list[Told] = []
        for name in names:
            part = [span for span in self.spans if span.name == name and (not way or span.parent_id == way[-1].span_id)]
            if len(part) != 1:
                break
            way += part
        return way

    def parts(self, whole: Told) -> list[str]:
        """The names of the spans right within another one, in the order in which they began."""
        within = [span for span in self.spans if span.parent_id == whole.span_id]
        return [span.name for span in sorted(within, key=lambda span: (span.began, span.ended))]

    def _take(self, path: str, body: bytes) -> int:
        self.arrived.set()
        self.answers.wait(HOLD_S)
        if path != "/v1/traces":
            return 404
        self.bodies.append(body)
        for of_process in ExportTraceServiceRequest.FromString(body).resource_spans:
            process = _values(of_process.resource.attributes)
            names = str(process["service.name"]), str(process["service.instance.id"])
            self.spans += [_told(span, *names) for scope in of_process.scope_spans for span in scope.spans]
        return 200


def senders_have_ended() -> None:
    """Wait for this process's threads that send spans, which go on, and log, after who told them to stop."""
    for thread in threading.enumerate():
        if thread.name.startswith("OtelBatch"):
            thread.join(HOLD_S)
            assert not thread.is_alive(), f"{thread.name} still sends spans"


class _Handler(BaseHTTPRequestHandler):
    def __init__(self, take: Callable[[str, bytes], int], *arguments: object) -> None:
        self._take = take
        super().__init__(*arguments)  # type: ignore[arg-type]  # the server's

    def do_POST(self) -> None:
        self.send_response(self._take(self.path, self.rfile.read(int(self.headers["Content-Length"]))))
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *arguments: object) -> None:
        pass


def _told(span: Span, service: str, instance: str) -> Told:
    assert not span.events, "an exception's message is in its event"
    assert not span.status.message, "and in its status"
    return Told(
        name=span.name,
        service=service,
        instance=instance,
        trace_id=span.trace_id.hex(),
        span_id=span.span_id.hex(),
        parent_id=span.parent_span_id.hex(),
        began=span.start_time_unix_nano,
        ended=span.end_time_unix_nano,
        attributes=_values(span.attributes),
        has_failed=span.status.code == Status.STATUS_CODE_ERROR,
    )


def _values(attributes: "list[KeyValue]") -> dict[str, str | int]:
    return {each.key: each.value.string_value or each.value.int_value for each in attributes}
