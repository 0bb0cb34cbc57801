"""How long the page's server takes for a page, and how much the page weighs: `python -m bench.pages`, ten seconds.

One session with 5,000 chats; one of them has 200 messages, whose replies cite two of five passages each. Requests come
one after the other, on this machine; the backend is away, and known to be. Targets: at most 150 ms for any page, and at
most 100 kB for a page with all that it loads.
"""

import re
import socket
import statistics
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import requests
import uvicorn
from fastapi import FastAPI

from frontend.__main__ import server_config
from frontend.app import create_app
from frontend.library import PAGE_SIZE
from frontend.settings import Settings
from frontend.transfer import ConversationRecord, ExchangeRecord, to_json

CHATS = 5_000
EXCHANGES = 100  # of the long chat: 200 messages
ROUNDS = 15
BEGIN = datetime.now(UTC) - timedelta(days=20)
REPLY = "A pod is the smallest unit that Kubernetes schedules, and a node is a machine that runs pods. "
PASSAGE = (REPLY + "Replicas are placed by their resources, and a lost one is replaced by another. ") * 2


@dataclass(frozen=True)
class Measured:
    """A page: its address, times in ms, and weights in kB, alone and with its styles, scripts and icon."""

    name: str
    median: float
    slowest: float
    alone: float
    loaded: float

    def __str__(self) -> str:
        return f"{self.name:34} {self.median:9.1f} {self.slowest:9.1f} {self.alone:9.1f} {self.loaded:9.1f}"


def main() -> int:
    """Print a line a page."""
    with tempfile.TemporaryDirectory() as folder:
        settings = Settings(
            log_level="warning",
            database_url=f"sqlite:///{folder}/chats.sqlite3",
            max_import_bytes=100_000_000,
            backend_url="http://127.0.0.1:9",  # nothing listens there
            health_cache_seconds=86_400,
        )
        app = create_app(settings)
        with serving(app, settings) as url, requests.Session() as browser:
            browser.trust_env = False
            long_chat = _fill(browser, url)
            pages = {
                "a new chat": "/new",
                f"a chat of {2 * EXCHANGES} messages": f"/conversations/{long_chat}",
                "the same, all of them shown": f"/conversations/{long_chat}?from=1",
                "the first page of all chats": "/conversations",
                "the last page of all chats": f"/conversations?page={CHATS // PAGE_SIZE}",
                "a search that finds every message": "/conversations?q=pod",
                "a search that finds nothing": "/conversations?q=zebra",
                "your data": "/data",
            }
            sys.stdout.write(f"{'':34} {'median ms':>9} {'most ms':>9} {'page kB':>9} {'loaded kB':>9}\n")
            for name, address in pages.items():
                sys.stdout.write(f"{_measured(browser, url, name, address)}\n")
    return 0


@contextmanager
def serving(app: FastAPI, settings: Settings) -> Iterator[str]:
    """Serve the app as `python -m frontend` does."""
    listener = socket.create_server(("127.0.0.1", 0))
    server = uvicorn.Server(server_config(app, settings))
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
    thread.start()
    while not server.started and thread.is_alive():
        thread.join(0.01)
    try:
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"
    finally:
        server.should_exit = True
        thread.join()


def _fill(browser: requests.Session, url: str) -> str:
    """Give the browser's session its chats; the long one's id."""
    browser.get(url)
    chats = "".join(to_json([*(_chat(number, 5) for number in range(CHATS - 1)), _chat(CHATS, EXCHANGES)]))
    file = {"file": ("chats.json", chats)}
    browser.post(f"{url}/data/import", files=file).raise_for_status()
    found = re.search(r'<li id="chat-([0-9a-f]+)"', browser.get(f"{url}/conversations").text)
    if found is None:
        raise RuntimeError("no chat was imported")
    return found[1]


def _chat(number: int, length: int) -> ConversationRecord:
    at = BEGIN + timedelta(minutes=number)
    return ConversationRecord(
        title=f"What is a pod, and what is node {number}?",
        last_used_at=at,
        next_position=length + 1,
        exchanges=tuple(_exchanges(length, at)),
    )


def _exchanges(length: int, at: datetime) -> Iterator[ExchangeRecord]:
    passages = [{"id": f"p{n}", "text": PASSAGE, "score": 0.5, "filling": n > 2} for n in range(1, 6)]
    citations = [
        {"start": start, "end": start + 20, "passage": passage, "passage_start": start, "passage_end": start + 20}
        for start, passage in ((0, "p1"), (50, "p2"))
    ]
    origin = {"replica_id": "7f3c9a1e" * 4, "node_id": "ab" * 28, "nodeName": "node-a", "podName": "pod-a"}
    told: dict[str, Any] = {"usage": {"prompt_tokens": 400, "completion_tokens": 40}, "model": "models/mini"}
    told |= {"timing_ms": {"first_token": 40.0, "total": 420.5}, "grounded": 0.9, "config_version": "c0ffee12"}
    told |= {"grounding": {"passages": passages}, "citations": citations}
    for position in range(1, length + 1):
        message = f"What is a pod, and why does it matter to question {position}?"
        yield ExchangeRecord(
            position=position, message=message, sent_at=at, reply=REPLY * 3, replied_at=at, origin=origin | told
        )


def _measured(browser: requests.Session, url: str, name: str, address: str) -> Measured:
    times = []
    for _ in range(ROUNDS):
        begin = time.perf_counter()
        page = browser.get(url + address)
        times.append((time.perf_counter() - begin) * 1_000)
        page.raise_for_status()
    loaded: dict[str, bytes] = {}
    awaited = set(re.findall(r'(?:href|src)="(/static/[^"]+)"', page.text))
    while awaited:
        loaded |= {each: browser.get(url + each).content for each in awaited}
        named = re.findall(rb'^import .*?"\./([^"]+)"|url\("([^"]+)"\)', b"\n".join(loaded.values()), re.M)
        awaited = {f"/static/{(module or image).decode()}" for module, image in named} - loaded.keys()
    weight = len(page.content) + sum(map(len, loaded.values()))
    return Measured(name, statistics.median(times), max(times), len(page.content) / 1e3, weight / 1e3)


if __name__ == "__main__":
    sys.exit(main())
