"""What tracing costs while it is on: `python -m bench.tracing_cost` prints processor time a request, in half a minute.

A full engine on models/mini writes replies, and its processor time is taken. Then the spans of as many requests are
made again by themselves, ingress's and model replica's, and sent to a collector in another process: their share is too
small to be a difference of two runs. mini is the worst case, as its replies take the least.
"""

import asyncio
import multiprocessing
import os
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from multiprocessing.connection import Connection
from unittest.mock import patch

import torch
from opentelemetry.trace import SpanKind

from bench.metrics_cost import PROMPT, REPLIES, TOKENS, write
from serve_app import tracing
from serve_app.checkpoint import ROOT, resolve
from serve_app.engine.measures import ReplyTimes
from serve_app.model import make_engine
from serve_app.reply_spans import tell_reply
from serve_app.settings import AppArgs


def main() -> None:
    torch.set_num_threads(1)  # threads that wait for each other take processor time, too
    args = AppArgs(model=str(ROOT / "models/mini"), max_waiting=REPLIES)
    engine = make_engine(resolve(args), args)
    asyncio.run(write(engine, 32))  # warm
    reply_s = processor_s(lambda: asyncio.run(write(engine, REPLIES))) / REPLIES
    engine.close()
    with collector() as environment, patch.dict(os.environ, environment):
        tracing.start("bench", "1")
        cost_s = processor_s(trace_requests) / REPLIES
    sys.stdout.write(
        f"{REPLIES} requests; tracing {cost_s * 1e6:.0f} us of processor time each, sending included: "
        f"{cost_s / reply_s:.1%} of the {reply_s * 1000:.1f} ms that models/mini takes for {TOKENS} tokens\n"
    )


def trace_requests() -> None:
    """Make the spans of all requests, and send them."""
    for number in range(REPLIES):
        trace_request(f"request-{number}")
    tracing.stop()


def trace_request(request_id: str) -> None:
    """What ingress and model replica do for it."""
    with tracing.within({}), tracing.span("POST", SpanKind.SERVER, request_id=request_id) as asked:
        with tracing.span("plan", request_id=request_id):
            pass
        with tracing.span("write", SpanKind.CLIENT, request_id=request_id, attempt=0) as written:
            context = tracing.carried()
            written.set_attribute("replica_id", "r")
        asked.update_name("POST /chat")
        asked.set_attribute("http.response.status_code", 200)
    now = time.monotonic()
    times = ReplyTimes(submitted=now - 0.4, began=now - 0.3, encoded=now - 0.2)
    times.wrote(now - 0.1)
    times.wrote(now, TOKENS - 1)
    with tracing.within(context):
        tell_reply(times, now, request_id=request_id, prompt_tokens=PROMPT, reply_tokens=TOKENS, ending="stop")


@contextmanager
def collector() -> Iterator[dict[str, str]]:
    """The environment of who sends spans to a collector in a process of its own, which takes and forgets them."""
    ours, its = multiprocessing.Pipe()
    process = multiprocessing.get_context("spawn").Process(target=_collect, args=(its,), daemon=True)
    process.start()
    try:
        # All spans are made at once here, and none is to be dropped.
        yield {"OTEL_EXPORTER_OTLP_ENDPOINT": ours.recv(), "OTEL_BSP_MAX_QUEUE_SIZE": str(100 * REPLIES)}
    finally:
        process.terminate()
        process.join()


def _collect(connection: Connection) -> None:
    server = ThreadingHTTPServer(("127.0.0.1", 0), _Collector)
    connection.send(f"http://127.0.0.1:{server.server_port}")
    server.serve_forever()


class _Collector(BaseHTTPRequestHandler):
    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["Content-Length"]))
        self.send_response(200)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *arguments: object) -> None:
        pass


def processor_s(do: Callable[[], None]) -> float:
    """Seconds of all threads of this process."""
    began = time.process_time()
    do()
    return time.process_time() - began


if __name__ == "__main__":
    main()
