"""The command line's client, over real HTTP: pieces, the whole reply, a connection that breaks, errors."""

import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

from serve_app import client as clients
from serve_app.client import ChatClient, Finished, ServiceError

REPLY = {"response": "A pod is small."}
PIECES = ("A pod", " is", " small.")


class Service:
    """Answers the n-th request with what the n-th script says: events, then a cut, or a refusal."""

    def __init__(self, *scripts: Callable[[BaseHTTPRequestHandler], None]) -> None:
        self.asked: list[tuple[str | None, dict[str, Any]]] = []
        service = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = json.loads(self.rfile.read(int(self.headers["content-length"])))
                service.asked.append((self.headers["x-request-id"], body))
                scripts[len(service.asked) - 1](self)

            def log_message(self, *_: object) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_port}"

    @contextmanager
    def running(self) -> Iterator["Service"]:
        thread = threading.Thread(target=self._server.serve_forever, args=(0.01,))
        thread.start()
        try:
            yield self
        finally:
            self._server.shutdown()
            self._server.server_close()
            thread.join()


def events(*named: tuple[str, object]) -> Callable[[BaseHTTPRequestHandler], None]:
    def answer(handler: BaseHTTPRequestHandler) -> None:
        handler.send_response(200)
        handler.end_headers()
        for name, data in named:
            handler.wfile.write(f"event: {name}\ndata: {json.dumps(data)}\n\n".encode())

    return answer


def refusal(status: int, body: bytes, **headers: str) -> Callable[[BaseHTTPRequestHandler], None]:
    def answer(handler: BaseHTTPRequestHandler) -> None:
        handler.send_response(status)
        for name, value in headers.items():
            handler.send_header(name.replace("_", "-"), value)
        handler.end_headers()
        handler.wfile.write(body)

    return answer


START = ("start", {"request_id": "r", "seed": 1})
TOKENS = tuple(("token", {"text": piece}) for piece in PIECES)
DONE = ("done", REPLY)


def test_a_reply_comes_piece_by_piece() -> None:
    with Service(events(START, *TOKENS, DONE)).running() as service:
        *pieces, finished = ChatClient(service.url + "/").ask({"dialog": ["What is a pod?"]})
    assert pieces == list(PIECES)
    assert isinstance(finished, Finished) and finished.reply == REPLY
    assert 0 < finished.first_piece_s <= finished.seconds
    assert service.asked[0][1] == {"dialog": ["What is a pod?"], "stream": True}


def test_a_reply_whose_connection_broke_goes_on_after_what_was_given(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(clients, "PAUSES_S", (0.0, 0.0))
    pieces_of_another_size = tuple(("token", {"text": piece}) for piece in ("A", " pod is small."))
    with Service(
        events(START, *TOKENS[:2]), events(START), events(START, *pieces_of_another_size, DONE)
    ).running() as service:
        *pieces, finished = ChatClient(service.url).ask({"dialog": ["What is a pod?"]})
    assert "".join(str(piece) for piece in pieces) == "A pod is small."
    assert isinstance(finished, Finished)
    (request_id,) = {asked[0] for asked in service.asked}
    assert request_id and len(service.asked) == 3


def test_a_connection_that_breaks_again_and_again_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(clients, "PAUSES_S", (0.0,))
    with (
        Service(events(START, *TOKENS[:1]), events(START)).running() as service,
        pytest.raises(ServiceError, match="broke before the reply was complete"),
    ):
        list(ChatClient(service.url).ask({"dialog": ["x"]}))
    assert len(service.asked) == 2


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        (
            refusal(
                429, b'{"error": {"type": "overloaded", "message": "all busy", "request_id": "r"}}', Retry_After="3"
            ),
            r"429: all busy \(try again in 3 s\)",
        ),
        (
            refusal(404, b"<html>nothing here</html>"),
            "404: this is not the service's own answer",
        ),
        (events(START, ("error", {"error": {"message": "too late"}})), "too late"),
    ],
)
def test_what_the_service_refuses_is_said(answer: Callable[[BaseHTTPRequestHandler], None], said: str) -> None:
    with Service(answer).running() as service, pytest.raises(ServiceError, match=said):
        list(ChatClient(service.url).ask({"dialog": ["x"]}))
    assert len(service.asked) == 1


def test_a_service_that_is_away_is_said() -> None:
    with pytest.raises(ServiceError, match=r"^http://127\.0\.0\.1:1: .*refused; is the service running there\?$"):
        list(ChatClient("http://127.0.0.1:1").ask({"dialog": ["x"]}))
