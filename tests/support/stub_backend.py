"""A backend that speaks the contract and does as a test tells it: a real HTTP server, so that the network matters.

Answers wait for events, not for time: a test lets a reply begin, sees it on the page, then lets it go on.
"""

import json
import select
import socket
import threading
import time
from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Self

WAIT_SECONDS = 30  # a test that waits longer has failed
REPLICA = "GodelModel#replica-7f3c9a1e"
NODE = "b1946ac92492d2347c6235b4d2611184a1c5fd"


@dataclass
class Answer:
    """What to answer one POST /chat with."""

    tokens: Sequence[str] = ("A pod is ", "the smallest unit ", "that Kubernetes schedules.")
    response: str | None = None  # the `done` event's text; the tokens joined, when None
    status: int = 200
    headers: Mapping[str, str] = field(default_factory=dict)
    message: str = "the stub was told to refuse"
    by_proxy: bool = False  # the status comes with a page of HTML, not with the contract's error
    seed: int | None = None  # begin the stream with a `start` event that says so
    start: Mapping[str, Any] = field(default_factory=dict)  # what else it says
    last_event: str = "done"  # or "error", or "" for a stream that just ends
    error_type: str = "deadline"  # of the status, or of the last event
    dies_after: int | None = None  # cut the connection after this many tokens (0: before the first)
    hold_after: int | None = None  # wait for `release` after this many tokens (0: before the stream's headers)
    token_seconds: float = 0.0  # how long each token takes
    release: threading.Event = field(default_factory=threading.Event)
    raw: bytes | None = None  # send this in place of events
    endless: bytes | None = None  # send this as the beginning of a chunk that says it is a gigabyte long
    as_json: bool = False  # one JSON object in place of a stream
    chunked: bool = True
    extra: Mapping[str, Any] = field(default_factory=dict)  # more fields of the reply object

    @property
    def text(self) -> str:
        """The authoritative text."""
        return "".join(self.tokens) if self.response is None else self.response

    def reply(self) -> dict[str, Any]:
        """The reply object of the contract."""
        return {
            "response": self.text,
            "podName": "godel-worker-0",
            "nodeName": "node-a",
            "replica_id": REPLICA,
            "node_id": NODE,
            "model": "models/mini",
            "config_version": "c0ffee12",
            "finish_reason": "stop",
            "usage": {"prompt_tokens": 120, "completion_tokens": 11, "max_prompt_tokens": 512},
            "grounding": {
                "passages": [{"id": "p17", "text": "A pod is the smallest unit.", "score": 4.25}],
                "dropped_turns": 0,
            },
            **self.sources(),
            "timing_ms": {"total": 1234.5, "queue": 1.5},
            "request_id": "req-1",
        } | dict(self.extra)

    def sources(self) -> dict[str, Any]:
        """Where the words of the text come from: those of the passage, if it begins with them."""
        end = len("A pod is the smallest unit")
        citation = {"start": 0, "end": end, "passage": "p17", "passage_start": 0, "passage_end": end}
        quotes = self.text.startswith("A pod is the smallest unit ")
        return {"citations": [citation] if quotes else [], "grounded": 0.6667 if quotes else 0.0}


# What an Answer's `start` may say: who begins to write.
BEGINS = {
    "replica_id": REPLICA,
    "node_id": NODE,
    "podName": "godel-worker-0",
    "nodeName": "node-a",
    "model": "models/mini",
    "config_version": "c0ffee12",
    "timing_ms": {"first_token": 40.4},
}
OK = {
    "status": "ok",
    "model": {"name": "models/mini", "requested": "models/mini", "fallback": False, "reason": None},
    "config_version": "c0ffee12",
    "config_error": None,
    "ready_replicas": 1,
}


def replica(name: str = REPLICA, state: str = "RUNNING", **load: Any) -> dict[str, Any]:
    """A model replica as GET /replicas lists it; `load` overrides."""
    asked = state in ("RUNNING", "LATE", "STALLED")
    names = {"replica_id": name, "node_id": NODE}
    pod = {"podName": "godel-worker-0", "nodeName": "node-a"} if asked else {"podName": "", "nodeName": ""}
    values = {"slots": 16, "active": 3, "waiting": 2, "tokens_per_second": 41.5, "stalled_s": 0.0}
    return names | pod | {"state": state} | (values if asked else dict.fromkeys(values)) | load


def cluster(*replicas: dict[str, Any], target: int = 1, ingress: str = "Ingress#1", version: str = "c0ffee12") -> Any:
    """The answer of GET /replicas."""
    place = {"replica_id": ingress, "node_id": NODE, "podName": "godel-worker-0", "nodeName": "node-a"}
    return {
        "replicas": list(replicas),
        "target_replicas": target,
        "model": {"name": "models/mini", "requested": "models/mini", "fallback": False, "reason": None},
        "ingress": place | {"config_version": version, "config_error": None},
    }


ADMIN_KEY = "sk-of-the-admin-itself"
PHRASES = [{"reply": "Hello!", "to": ["hi", "hello there"]}, {"reply": "I don't know.", "to": []}]
CONFIG: dict[str, Any] = {
    "version": "c0ffee12",
    "error": None,
    "environment": [],
    "writable": True,
    "config": {
        "instruction": "Answer <briefly>.",
        "knowledge": "A pod is small.",
        "generation": {"max_length": 128, "quote": None, "phrases": PHRASES},
    },
}
PREVIEW: dict[str, Any] = {
    "prompt": "Answer. [CONTEXT] What is a pod? [KNOWLEDGE] A pod is small.</s>",
    "prompt_tokens": 120,
    "window": 512,
    "grounding": {
        "passages": [
            {"id": "p0", "text": "A pod is small.", "score": 0.42, "filling": False},
            {"id": "p1", "text": "A node is big.", "score": -0.2, "filling": True},
        ],
        "dropped_turns": 0,
        "dropped_passages": 2,
        "truncated_tokens": 0,
    },
    "config_version": "c0ffee12",
}


class StubBackend:
    """The server. `answers` are used up in order; after them every request gets a plain `Answer()`."""

    def __init__(self) -> None:
        self.answers: deque[Answer] = deque()
        self.dialogs: list[list[str]] = []
        self.bodies: list[dict[str, Any]] = []
        self.request_ids: list[str | None] = []
        self.traceparents: list[str | None] = []
        self.authorizations: list[str | None] = []
        self.body_sizes: list[int] = []
        self.health: dict[str, Any] = dict(OK)
        self.replicas: dict[str, Any] = cluster(replica())
        self.replicas_status = 200
        self.config: dict[str, Any] = dict(CONFIG)
        self.file = {"text": "instruction: Answer.\nknowledge: A pod is small.\n", "version": "f1"}
        self.ended: list[str] = []  # replicas
        self.gets: list[str] = []  # paths that were asked for, besides /health
        self.health_status = 200
        self.health_release = threading.Event()
        self.health_release.set()
        self.questions = threading.Semaphore(0)  # released once for every question that has its answer
        self.hangups = threading.Semaphore(0)  # released once for every caller that went away in the middle
        self._server: _Server | None = None
        self._port = 0

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    @property
    def url(self) -> str:
        """Where it listens; stays the same when it is stopped and started again."""
        return f"http://127.0.0.1:{self._port}"

    def plan(self, *answers: Answer) -> Answer:
        """Queue answers; returns the first one."""
        self.answers.extend(answers)
        return answers[0]

    def start(self) -> None:
        """Listen, on the same port as before."""
        self._server = _Server(self, self._port)
        self._port = self._server.server_address[1]
        threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()

    def stop(self) -> None:
        """Vanish as a killed process does: nothing listens any more, and open connections are cut."""
        if self._server is None:
            return
        server, self._server = self._server, None
        server.shutdown()
        server.server_close()
        server.cut()

    def wait_for_question(self) -> None:
        """Return when a caller has asked, and one of the planned answers is used up."""
        if not self.questions.acquire(timeout=WAIT_SECONDS):
            raise AssertionError("nothing was asked")

    def wait_for_hangup(self) -> None:
        """Return when a caller has gone away in the middle of an answer."""
        if not self.hangups.acquire(timeout=WAIT_SECONDS):
            raise AssertionError("the caller did not hang up")


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False

    def __init__(self, stub: StubBackend, port: int) -> None:
        self.stub = stub
        self._open: set[socket.socket] = set()
        super().__init__(("127.0.0.1", port), _Handler)

    def process_request(self, request: Any, client_address: Any) -> None:
        self._open.add(request)
        super().process_request(request, client_address)

    def shutdown_request(self, request: Any) -> None:
        self._open.discard(request)
        super().shutdown_request(request)

    def cut(self) -> None:
        for connection in list(self._open):
            _cut(connection)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Connections that break are what this server is for."""


class _Gone(Exception):
    pass


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: _Server

    def log_message(self, format: str, *args: Any) -> None:
        """Quiet."""

    def do_GET(self) -> None:
        stub = self.server.stub
        if self.path == "/config":
            is_admin = self.headers["Authorization"] == f"Bearer {ADMIN_KEY}"
            self._json(200, stub.config | {"file": stub.file if is_admin else None})
            return
        if self.path != "/health":
            stub.gets.append(self.path)
            if stub.replicas_status == 200:
                self._json(200, stub.replicas)
            else:
                self._error(stub.replicas_status, "unavailable", "no replica is ready")
            return
        stub.health_release.wait(WAIT_SECONDS)
        self._json(stub.health_status, stub.health)

    def do_PUT(self) -> None:
        """Like the backend's: a version is that of the file, and the new one is in use at once."""
        stub = self.server.stub
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        if self.headers["Authorization"] != f"Bearer {ADMIN_KEY}":
            self._error(401, "unauthorized")
        elif body["version"] != stub.file["version"]:
            self._error(409, "outdated", "the file has been changed since it was read")
        else:
            stub.file = {"text": body["text"], "version": "f2"}
            stub.config |= {"version": "ed17ed"}
            self._json(200, stub.config)

    def _error(self, status: int, type_: str, message: str = "the stub says no") -> None:
        self._json(status, {"error": {"type": type_, "message": message, "request_id": "req-1"}})

    def do_POST(self) -> None:
        stub = self.server.stub
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        if self.path == "/demo/end":
            if body["replica_id"] not in [each["replica_id"] for each in stub.replicas["replicas"]]:
                self._error(422, "invalid_request", "no such replica is ready")
                return
            stub.ended.append(body["replica_id"])
            self._json(200, body)
            return
        if self.path == "/preview":
            self._json(200, PREVIEW)
            return
        stub.body_sizes.append(int(self.headers["Content-Length"]))
        stub.bodies.append(body)
        stub.request_ids.append(self.headers["X-Request-Id"])
        stub.traceparents.append(self.headers["traceparent"])
        stub.authorizations.append(self.headers["Authorization"])
        stub.dialogs.append(body["dialog"])
        answer = stub.answers.popleft() if stub.answers else Answer()
        stub.questions.release()
        try:
            self._answer(answer)
        except (_Gone, OSError):
            stub.hangups.release()
            self.close_connection = True

    def _answer(self, answer: Answer) -> None:
        if answer.hold_after == 0:
            self._hold(answer)
        if answer.endless is not None:
            self._begin(answer)
            self.wfile.write(b"%x\r\n%s" % (2**30, answer.endless))
            self._hold(answer)
        elif answer.by_proxy:
            self._page(answer)
        elif answer.status != 200:
            error = {"type": answer.error_type, "message": answer.message, "request_id": "req-1"}
            self._json(answer.status, {"error": error}, answer.headers)
        elif answer.as_json:
            self._json(200, answer.reply())
        else:
            self._stream(answer)

    def _stream(self, answer: Answer) -> None:
        self._begin(answer)
        if answer.raw is not None:
            self._send(answer, answer.raw)
            self._end(answer)
            return
        self._send(answer, b": ping\n\n")
        if answer.seed is not None:
            start = {"request_id": self.headers["X-Request-Id"], "seed": answer.seed} | dict(answer.start)
            self._event(answer, "start", start)
        if answer.dies_after == 0:
            self._die()
            return
        for number, token in enumerate(answer.tokens, 1):
            time.sleep(answer.token_seconds)
            self._event(answer, "token", {"text": token})
            if answer.dies_after == number:
                self._die()
                return
            if answer.hold_after == number:
                self._hold(answer)
        if answer.last_event == "done":
            self._event(answer, "done", answer.reply())
        elif answer.last_event == "error":
            error = {"type": answer.error_type, "message": answer.message, "request_id": "req-1"}
            self._event(answer, "error", {"error": error})
        self._end(answer)

    def _begin(self, answer: Answer) -> None:
        self.send_response(answer.status)
        self.send_header("Content-Type", "text/event-stream")
        self.send_header(*(("Transfer-Encoding", "chunked") if answer.chunked else ("Connection", "close")))
        self.end_headers()

    def _die(self) -> None:
        _cut(self.connection)
        self.close_connection = True

    def _hold(self, answer: Answer) -> None:
        """Wait for `release`, and notice meanwhile when the caller goes away."""
        for _ in range(WAIT_SECONDS * 100):
            if answer.release.wait(0.01):
                return
            if select.select([self.connection], [], [], 0)[0] and not self.connection.recv(1, socket.MSG_PEEK):
                raise _Gone
        raise _Gone

    def _event(self, answer: Answer, name: str, data: dict[str, Any]) -> None:
        self._send(answer, f"event: {name}\r\ndata: {json.dumps(data)}\r\n\r\n".encode())

    def _send(self, answer: Answer, data: bytes) -> None:
        self.wfile.write(b"%x\r\n%s\r\n" % (len(data), data) if answer.chunked else data)
        self.wfile.flush()

    def _end(self, answer: Answer) -> None:
        if answer.chunked:
            self.wfile.write(b"0\r\n\r\n")
        else:
            self.close_connection = True

    def _json(self, status: int, value: dict[str, Any], headers: Mapping[str, str] | None = None) -> None:
        self._whole(status, "application/json", json.dumps(value).encode(), headers)

    def _page(self, answer: Answer) -> None:
        self._whole(answer.status, "text/html", b"<html>bad gateway</html>", answer.headers)

    def _whole(self, status: int, content_type: str, body: bytes, headers: Mapping[str, str] | None) -> None:
        self.send_response(status)
        self.send_header("Content-Type", content_type)
        self.send_header("Content-Length", str(len(body)))
        for name, text in (headers or {}).items():
            self.send_header(name, text)
        self.end_headers()
        self.wfile.write(body)


def _cut(connection: socket.socket) -> None:
    try:
        connection.shutdown(socket.SHUT_RDWR)
    except OSError:
        return
