"""HAProxy's settings on a machine that others use too."""

import json
import os
import re
import socket
import stat
import subprocess
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
import requests

from launcher import haproxy
from launcher.preflight import free_port
from tests.support.backend import ROOT
from tests.support.waiting import eventually

linux_only = pytest.mark.skipif(haproxy.bundled_binary() is None, reason="ray[serve] brings HAProxy on Linux only")

# The parts of Ray 2.60's haproxy_templates.py that name addresses.
CONFIG = """\
global
    log 127.0.0.1:514 local0 info
    nbthread 1
defaults
    mode http
    timeout connect 1s
    timeout client 60s
    timeout server 1s
    errorfile 502 /nowhere/500.http
    errorfile 503 /nowhere/500.http
    errorfile 504 /nowhere/500.http
frontend prometheus
    bind :{metrics}
    mode http
    http-request use-service prometheus-exporter if {{ path /metrics }}
    no log
frontend http_frontend
    bind 127.0.0.1:8000
    log global
    default_backend default_backend
backend default_backend
    http-request return status 404 content-type text/plain lf-string "Path not found."
listen stats
  bind *:{stats}
  stats enable
"""


@linux_only
def test_the_pages_about_haproxy_are_taken_out_and_the_rest_stays(tmp_path: Path) -> None:
    config = tmp_path / "haproxy.cfg"
    config.write_text(CONFIG.format(metrics=9101, stats=8404))
    with haproxy.prepared() as settings:
        script = settings["RAY_SERVE_HAPROXY_BINARY_PATH"]
        subprocess.run([script, "-db", "-f", str(config), "-c"], env=settings, check=True, timeout=30)
    lines = config.read_text().splitlines()
    assert [line.strip() for line in lines if "bind" in line] == ["bind 127.0.0.1:8000"]
    assert "    log global" in lines


@linux_only
def test_while_haproxy_knows_no_backend_it_says_so_and_not_404(tmp_path: Path) -> None:
    config, port = tmp_path / "haproxy.cfg", free_port()
    config.write_text(CONFIG.format(metrics=9101, stats=8404).replace(":8000", f":{port}"))
    with haproxy.prepared() as settings:
        proxy = subprocess.Popen([settings["RAY_SERVE_HAPROXY_BINARY_PATH"], "-db", "-f", str(config)], env=settings)
        try:
            eventually(lambda: _listens(port), 30, "HAProxy listens")
            response = requests.post(f"http://127.0.0.1:{port}/chat", json={}, timeout=10)
        finally:
            proxy.kill()
            proxy.wait()
    assert response.status_code == 503
    assert response.headers["Retry-After"] == "1"
    assert response.json()["error"]["type"] == "backend_unreachable"


class _Echo(BaseHTTPRequestHandler):
    """Answers with the request's headers."""

    def do_GET(self) -> None:
        body = json.dumps({name.lower(): value for name, value in self.headers.items()}).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: Any) -> None:
        pass


def _listens(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


@pytest.fixture
def through_haproxy(tmp_path: Path) -> Iterator[str]:
    """The address of an HAProxy that passes everything on to an `_Echo`."""
    echo = ThreadingHTTPServer(("127.0.0.1", 0), _Echo)
    threading.Thread(target=echo.serve_forever, daemon=True).start()
    port = free_port()
    passing_on = f"server echo 127.0.0.1:{echo.server_port}"
    config = CONFIG.format(metrics=9101, stats=8404).replace("127.0.0.1:8000", f"127.0.0.1:{port}")
    path = tmp_path / "haproxy.cfg"
    path.write_text(re.sub(r"http-request return status 404.*", passing_on, config))
    with haproxy.prepared() as settings:
        process = subprocess.Popen([settings["RAY_SERVE_HAPROXY_BINARY_PATH"], "-db", "-f", str(path)], env=settings)
        try:
            eventually(lambda: _listens(port), 30, "HAProxy listens")
            yield f"http://127.0.0.1:{port}"
        finally:
            process.terminate()
            process.wait(30)
            echo.shutdown()
            echo.server_close()


@linux_only
def test_what_clients_must_not_tell_serve_is_taken_out(through_haproxy: str) -> None:
    """As serve_app/proxy_headers.py does: they lifted the deadline, and had a reply written on after they left."""
    hostile = {"X-Request-Timeout-Seconds": "0", "X-Request-Disconnect-Disabled": "?1", "X-Request-Id": "a b"}
    seen = requests.get(through_haproxy, headers={"Accept": "text/event-stream", **hostile}, timeout=30).json()
    assert seen["accept"] == "text/event-stream"
    assert not seen.keys() & {name.lower() for name in hostile}


@linux_only
@pytest.mark.parametrize(
    ("request_id", "passed_on"),
    [("mine-1", True), ("A._-z", True), ("x" * 64, True), ("x" * 65, False), ("<b>", False), ("a,b", False)],
)
def test_only_a_harmless_request_id_is_passed_on(through_haproxy: str, request_id: str, passed_on: bool) -> None:
    seen = requests.get(through_haproxy, headers={"X-Request-Id": request_id}, timeout=30).json()
    assert seen.get("x-request-id") == (request_id if passed_on else None)


@linux_only
def test_who_sends_by_the_byte_is_cut_and_never_seen_by_the_backend(through_haproxy: str) -> None:
    """It held a connection to the ingress, and room in it, for ever."""
    head, body = b"POST /chat HTTP/1.1\r\nHost: x\r\n", b"Content-Length: 9999\r\n\r\n{"
    with ThreadPoolExecutor(2) as clients:
        of_head, of_body = clients.map(partial(_send_by_the_byte, through_haproxy), (head, head + body))
    for answer, seconds in (of_head, of_body):
        assert 9 < seconds < 15
        assert answer.startswith(b"HTTP/1.1 408 ")  # the echo would have said 501 to a POST
    # Of what is no request yet, HAProxy complains in words of its own.
    assert json.loads(of_body[0].partition(b"\r\n\r\n")[2])["error"]["type"] == "body_too_slow"


def _send_by_the_byte(url: str, begun: bytes) -> tuple[bytes, float]:
    """-> the answer, and after how many seconds it came."""
    began = time.monotonic()
    with socket.create_connection(_address(url), timeout=1) as client:
        client.sendall(begun)
        answer = b""
        while time.monotonic() < began + 20 and not answer:
            try:
                answer = client.recv(65536)
            except TimeoutError:
                client.sendall(b"x")
    return answer, time.monotonic() - began


@linux_only
@pytest.mark.parametrize(
    "head",
    [b"GET / HTTP/1.1\r\nHost: x\r\n" + b"x-filler: %s\r\n" % (b"x" * 1000) * 40 + b"\r\n", b"no HTTP\r\n\r\n"],
    ids=["oversized", "malformed"],
)
def test_a_head_that_cannot_be_read_is_400(through_haproxy: str, head: bytes) -> None:
    with socket.create_connection(_address(through_haproxy), timeout=10) as client:
        client.sendall(head)
        answer = client.recv(65536)
    assert answer.startswith(b"HTTP/1.1 400 ")


@linux_only
@pytest.mark.parametrize("ending", [b"\r\n", b"\n", b"\r"], ids=ascii)
def test_no_header_is_smuggled_in_by_the_value_of_another(through_haproxy: str, ending: bytes) -> None:
    with socket.create_connection(_address(through_haproxy), timeout=10) as client:
        client.sendall(
            b"GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\nx-request-id: a%bx-request-timeout-seconds: 0\r\n\r\n"
            % ending
        )
        answer = b"".join(iter(lambda: client.recv(65536), b""))
    assert b"x-request-timeout-seconds" not in answer.lower()


def _address(url: str) -> tuple[str, int]:
    host, port = url.removeprefix("http://").split(":")
    return host, int(port)


class _Ingress:
    """Behind HAProxy, which lets four requests through, three of a client that is alone: each waits until `let_go`."""

    def __init__(self, url: str, waiting: set[object], go: threading.Event) -> None:
        self._url = url
        self._waiting = waiting
        self._go = go

    def ask(self, session: str = "") -> requests.Response:
        return requests.post(f"{self._url}/chat", headers={"x-session-id": session} if session else {}, timeout=60)

    def holds(self, requests: int) -> None:
        eventually(lambda: len(self._waiting) == requests, 30, f"{requests} requests wait")

    def let_go(self) -> None:
        self._go.set()

    def hold_again(self) -> None:
        self._go.clear()

    def is_well(self) -> bool:
        return requests.get(f"{self._url}/health", timeout=30).status_code == 200


@pytest.fixture
def full_ingress(tmp_path: Path) -> Iterator[_Ingress]:
    waiting: set[object] = set()
    go = threading.Event()

    class Slow(_Echo):
        def do_POST(self) -> None:
            waiting.add(self)
            go.wait(30)
            waiting.discard(self)
            self.do_GET()

    backend = ThreadingHTTPServer(("127.0.0.1", 0), Slow)
    threading.Thread(target=backend.serve_forever, daemon=True).start()
    port = free_port()
    config = CONFIG.format(metrics=9101, stats=8404).replace("127.0.0.1:8000", f"127.0.0.1:{port}")
    config = config.replace("timeout server 1s", "timeout server 60s")
    config = config.replace("    default_backend", "    use_backend godel if TRUE\n    default_backend")
    godel = f"backend godel\n    server one 127.0.0.1:{backend.server_port}\n"
    config = config.replace("listen stats", f"{godel}listen stats")
    path = tmp_path / "haproxy.cfg"
    path.write_text(config)
    with haproxy.prepared() as settings:
        settings |= {"SLOTS": "2", "ROOM": "4", "ALONE": "3"}
        proxy = subprocess.Popen([settings["RAY_SERVE_HAPROXY_BINARY_PATH"], "-db", "-f", str(path)], env=settings)
        try:
            eventually(lambda: _listens(port), 30, "HAProxy listens")
            yield _Ingress(f"http://127.0.0.1:{port}", waiting, go)
        finally:
            go.set()
            proxy.kill()
            proxy.wait()
            backend.shutdown()
            backend.server_close()


@linux_only
def test_who_comes_when_the_ingress_is_full_is_refused_by_haproxy(full_ingress: _Ingress) -> None:
    """It lets as many in as the ingress has room for: a refusal by the ingress costs far more."""
    with ThreadPoolExecutor(4) as clients:
        asking = [clients.submit(full_ingress.ask, f"session-{number}") for number in range(4)]
        full_ingress.holds(4)
        refused = full_ingress.ask("one-more")
        assert full_ingress.is_well()
        full_ingress.let_go()
        assert [asked.result().status_code for asked in asking] == [200] * 4
    assert refused.status_code == 429
    assert refused.json()["error"]["type"] == "overloaded"
    assert "full" in refused.json()["error"]["message"]
    assert refused.headers["Retry-After"] == "2"


@linux_only
@pytest.mark.parametrize("greedy", ["greedy", ""], ids=["session", "address"])
def test_a_client_with_many_requests_leaves_room_for_one_with_few(full_ingress: _Ingress, greedy: str) -> None:
    """It took all that HAProxy lets through, and all others were refused, for as long as it went on."""
    with ThreadPoolExecutor(11) as clients:
        many = [clients.submit(full_ingress.ask, greedy) for _ in range(10)]
        full_ingress.holds(3)
        eventually(lambda: sum(asked.done() for asked in many) == 7, 30, "the others are refused")
        few = clients.submit(full_ingress.ask, "modest")
        full_ingress.holds(4)
        full_ingress.let_go()
        assert few.result().status_code == 200
    assert sorted(asked.result().status_code for asked in many) == [200] * 3 + [429] * 7


@linux_only
def test_who_holds_a_share_does_not_wait_where_others_do(full_ingress: _Ingress) -> None:
    with ThreadPoolExecutor(3) as clients:
        few = clients.submit(full_ingress.ask, "modest")
        many = [clients.submit(full_ingress.ask, "greedy") for _ in range(2)]
        full_ingress.holds(3)
        refused = full_ingress.ask("greedy")
        full_ingress.let_go()
        assert [asked.result().status_code for asked in (*many, few)] == [200] * 3
    assert refused.status_code == 429
    assert "share" in refused.json()["error"]["message"]


@linux_only
def test_where_clients_are_more_than_places_each_may_have_one(full_ingress: _Ingress) -> None:
    """Their share was none, so that places stayed empty in the largest crowds."""
    full_ingress.let_go()
    for number in range(9):
        assert full_ingress.ask(f"session-{number}").status_code == 200
    full_ingress.hold_again()
    with ThreadPoolExecutor(4) as clients:
        asking = [clients.submit(full_ingress.ask, f"session-{number}") for number in range(4)]
        full_ingress.holds(4)
        full_ingress.let_go()
        assert [asked.result().status_code for asked in asking] == [200] * 4


@linux_only
def test_who_does_not_keep_to_retry_after_is_made_to(full_ingress: _Ingress) -> None:
    """A thousand clients that ask again at once take the processors from those that are answered."""
    with ThreadPoolExecutor(4) as clients:
        asking = [clients.submit(full_ingress.ask, f"session-{number}") for number in range(4)]
        full_ingress.holds(4)
        patient = [full_ingress.ask("patient")]
        # The impatient one's second refusal takes the time that the patient one waits.
        impatient = [full_ingress.ask("impatient") for _ in range(2)]
        patient.append(full_ingress.ask("patient"))
        full_ingress.let_go()
        assert [asked.result().status_code for asked in asking] == [200] * 4
    assert [refusal.status_code for refusal in (*patient, *impatient)] == [429] * 4
    assert len({refusal.text for refusal in (*patient, *impatient)}) == 1
    assert {refusal.headers["retry-after"] for refusal in (*patient, *impatient)} == {"2"}
    first, second = (refusal.elapsed.total_seconds() for refusal in impatient)
    assert max(first, *(refusal.elapsed.total_seconds() for refusal in patient)) < 1.5 < second < 4


def test_the_limits_are_those_of_the_serve_config(tmp_path: Path) -> None:
    assert haproxy.limits(ROOT / "serve_config.yaml") == haproxy.Limits() == (16 * 2, 64, 60, 75)
    config = tmp_path / "serve_config.yaml"
    config.write_text(
        "{applications: [{args: {slots: 2, request_timeout_s: 300}}], http_options: {keep_alive_timeout_s: 9}}"
    )
    assert haproxy.limits(config) == (2, 64, 300, 9)


@linux_only
def test_a_reload_of_haproxy_ends_no_reply() -> None:
    """A process that is replaced takes a last request from a connection that was open, as late as it may come."""
    with haproxy.prepared(haproxy.Limits(request_s=300, idle_s=75)) as settings:
        assert int(settings["RAY_SERVE_HAPROXY_HARD_STOP_AFTER_S"]) > 300 + 75


@linux_only
def test_the_folder_is_private_and_goes_with_the_run() -> None:
    with haproxy.prepared() as settings, haproxy.prepared() as others:
        folder = Path(settings["RAY_SERVE_HAPROXY_SOCKET_PATH"]).parent
        assert stat.S_IMODE(folder.stat().st_mode) == 0o700
        assert folder.stat().st_uid == os.getuid()
        assert settings["RAY_SERVE_HAPROXY_SOCKET_PATH"] != others["RAY_SERVE_HAPROXY_SOCKET_PATH"]
    assert not folder.exists()


@linux_only
def test_sockets_have_paths_short_enough_to_exist() -> None:
    """Ray puts a node's id between folder and name; HAProxy binds a temporary name with its process id behind it."""
    with haproxy.prepared() as settings:
        folder, name = os.path.split(settings["RAY_SERVE_HAPROXY_SOCKET_PATH"])
    assert len(f"{folder}/{'0' * 56}/{name}.4194304.tmp") <= 107


def test_without_haproxy_both_modes_are_off(monkeypatch: pytest.MonkeyPatch) -> None:
    """On macOS; throughput mode alone would leave the ingress without its proxy."""
    monkeypatch.setattr(haproxy, "bundled_binary", lambda: None)
    with haproxy.prepared() as settings:
        assert settings == haproxy.OFF
