"""What clients cannot tell Serve through headers, by way of Ray's own code."""

import asyncio
import os
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
import uvicorn
from ray.serve._private.http_util import _apply_middlewares
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from serve_app.chat import Chat
from serve_app.chat_config import ConfigFile
from serve_app.checkpoint import ROOT, Checkpoint
from serve_app.ingress import create_api
from serve_app.messages import TokenChunk
from serve_app.proxy_headers import ClientHeaders, middlewares
from serve_app.settings import AppArgs
from tests.manifests.dockerfile import read
from tests.support.checkpoints import small_tokenizer
from tests.support.fakes import ORIGIN, FakeReplicas

VARIABLE = "RAY_SERVE_HTTP_PROXY_CALLBACK_IMPORT_PATH"

# What Serve's proxy reads of these headers, behind the middlewares that it is configured with.
PROXY = """
import asyncio
from ray.serve._private import http_util
from ray.serve.config import HTTPOptions

async def app(scope, receive, send):
    headers = dict(scope["headers"])
    print(http_util.parse_request_timeout_header(headers, 60), http_util.parse_disconnect_disabled_header(headers))

options = http_util.configure_http_middlewares(http_util.configure_http_options_with_defaults(HTTPOptions()))
sent = [(b"x-request-timeout-seconds", b"0"), (b"x-request-disconnect-disabled", b"?1")]
asyncio.run(http_util._apply_middlewares(app, options.middlewares)({"type": "http", "headers": sent}, None, None))
"""


def passed_on(*headers: tuple[bytes, bytes]) -> list[tuple[bytes, bytes]]:
    seen: list[tuple[bytes, bytes]] = []

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        seen.extend(scope["headers"])

    async def nothing() -> Message:
        raise NotImplementedError

    async def ignore(message: Message) -> None:
        raise NotImplementedError

    asyncio.run(ClientHeaders(app)({"type": "http", "headers": list(headers)}, nothing, ignore))
    return seen


def test_what_serve_reads_is_taken_out_and_the_rest_stays() -> None:
    kept = [(b"host", b"here"), (b"content-type", b"application/json"), (b"x-request-id", b"mine-1")]
    hostile = [(b"x-request-timeout-seconds", b"0"), (b"x-request-disconnect-disabled", b"?1")]
    assert passed_on(*kept, *hostile) == kept


@pytest.mark.parametrize(
    "value", [b"", b"a b", b"a\tb", b"\xff\xfe", b"x" * 65, "ü".encode(), b"<script>", b"a,b", b"a\n"]
)
def test_a_harmful_request_id_is_left_out(value: bytes) -> None:
    """Serve decoded it, and put it on the response as it was."""
    assert passed_on((b"x-request-id", value), (b"host", b"here")) == [(b"host", b"here")]


@pytest.mark.parametrize(("configured", "seen"), [(True, "60 False"), (False, "None True")])
def test_serves_proxy_runs_it_where_the_images_environment_says_so(configured: bool, seen: str) -> None:
    """Without it a client lifts the deadline, and has its reply written on after it left."""
    (runtime,) = [stage for stage in read(ROOT / "docker/backend.Dockerfile") if stage.name == "runtime"]
    environment = {VARIABLE: runtime.environment[VARIABLE]} if configured else {}
    done = subprocess.run(
        [sys.executable, "-c", PROXY],
        cwd=ROOT,
        env={name: value for name, value in os.environ.items() if name != VARIABLE} | environment,
        capture_output=True,
        text=True,
        check=True,
        timeout=120,
    )
    assert done.stdout.splitlines()[-1] == seen


# --- over sockets, as Serve serves the ingress ------------------------------------------------------------------------


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, int]]:
    """The ingress in uvicorn, behind Serve's own request ids and these middlewares."""
    tokenizer = small_tokenizer()
    chat = Chat(
        AppArgs(),
        Checkpoint(name="mini", requested="mini", folder=ROOT),
        tokenizer,
        ConfigFile(_config(tmp_path_factory.mktemp("config")), 256),
        FakeReplicas(lambda request: [TokenChunk([20, 21], ORIGIN, "stop")]),
    )
    app: ASGIApp = _apply_middlewares(create_api(chat), middlewares())  # type: ignore[arg-type]  # Ray annotates less
    server = uvicorn.Server(uvicorn.Config(app, lifespan="off", log_config=None))
    listener = socket.create_server(("127.0.0.1", 0))
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
    thread.start()
    yield listener.getsockname()
    server.should_exit = True
    thread.join(30)
    listener.close()


def _config(folder: Path) -> Path:
    path = folder / "chatbot.yaml"
    path.write_text("instruction: Answer.\nknowledge: A pod is small.\n")
    return path


@pytest.mark.parametrize(
    "value",
    [
        b"a\r\nset-cookie: evil=1",
        b"a\nset-cookie: evil=1",
        b"a\rset-cookie: evil=1",
        b"a\r\n set-cookie: evil=1",
        b"a\0set-cookie: evil=1",
        b"a%0d%0aset-cookie: evil=1",
        "a\u010d\u010aset-cookie: evil=1".encode(),
        "a\u560d\u560aset-cookie: evil=1".encode(),
        b"a\x85set-cookie: evil=1",
        b"\xff\xfe",
        b"event: done",
    ],
    ids=ascii,
)
@pytest.mark.parametrize("stream", [False, True])
def test_no_header_or_event_can_be_injected_through_a_request_id(
    address: tuple[str, int], value: bytes, stream: bool
) -> None:
    body = b'{"dialog": ["Hello"], "stream": %s}' % (b"true" if stream else b"false")
    with socket.create_connection(address, timeout=30) as client:
        client.sendall(
            b"POST /chat HTTP/1.1\r\nHost: here\r\nConnection: close\r\nContent-Type: application/json\r\n"
            b"X-Request-Id: %b\r\nContent-Length: %d\r\n\r\n%b" % (value, len(body), body)
        )
        answer = b"".join(iter(lambda: client.recv(65536), b""))
    head, _, rest = answer.partition(b"\r\n\r\n")
    assert head.startswith((b"HTTP/1.1 200 ", b"HTTP/1.1 400 "))
    assert b"evil" not in rest
    names = [line.split(b":")[0].lower() for line in head.split(b"\r\n")[1:]]
    assert b"set-cookie" not in names
    assert b"\xff" not in answer
    if head.startswith(b"HTTP/1.1 200 "):
        (sent,) = [line.split(b": ")[1] for line in head.split(b"\r\n") if line.lower().startswith(b"x-request-id")]
        assert b'"request_id":"%b"' % sent in rest, "the response and its body name the same"
    assert rest.count(b"event: done") <= 1
