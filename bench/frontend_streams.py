"""How long one frontend process holds a piece of a reply back: many streams at once from a stub backend.

Three processes: the stub, which sends each reader a piece every 20 to 50 ms with the time it was sent in it; the
frontend, as `python -m frontend`; and this one, the browsers. All clocks are the machine's monotonic one. Pieces that
arrive together count each by its own time.
"""

import argparse
import asyncio
import json
import multiprocessing
import os
import random
import re
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path

import aiohttp
import psutil

from launcher.preflight import free_port

STREAMS = 200
PIECES = 300  # of a reply: some ten seconds
PAUSE_SECONDS = (0.020, 0.050)  # between two pieces of one reply
RAMP_SECONDS = 2.0  # over which the streams begin
TARGET_MS = 50.0  # for the 95th percentile

_STAMP = re.compile(rb"<(\d+\.\d+)>")
_SENDING_CHUNKS = (
    b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\nConnection: close\r\n\r\n"
)


@dataclass(frozen=True)
class Delays:
    """Of every piece: milliseconds from the stub's write to the browser's read. cpu_us: of the frontend, a piece."""

    streams: int
    complete: int  # replies that arrived whole
    pieces: int
    pieces_per_s: float
    p50_ms: float
    p95_ms: float
    max_ms: float
    cpu_us: float
    cpu_share: float  # of one core, while replies were written
    load: float  # the machine's average over the minute before: well above 0, something else was at work

    @property
    def holds(self) -> bool:
        """Whether all arrived, within TARGET_MS."""
        return self.complete == self.streams and self.p95_ms <= TARGET_MS


# ---- the stub backend


def _serve(listener: socket.socket, pieces: int) -> None:
    async def serve() -> None:
        server = await asyncio.start_server(lambda r, w: _answer(r, w, pieces), sock=listener, backlog=2048)
        await server.serve_forever()

    asyncio.run(serve())


async def _answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, pieces: int) -> None:
    head = await reader.readuntil(b"\r\n\r\n")
    if head.startswith(b"GET"):
        body = json.dumps({"status": "ok", "model": {"name": "stub"}}).encode()
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\nConnection: close\r\n\r\n%s" % (len(body), body))
    else:
        writer.write(_SENDING_CHUNKS)
        text = ""
        for _ in range(pieces):
            await asyncio.sleep(random.uniform(*PAUSE_SECONDS))
            piece = f"<{time.monotonic():.6f}> "
            text += piece
            writer.write(_chunk("token", {"text": piece}))
        writer.write(_chunk("done", {"response": text, "replica_id": "stub"}) + b"0\r\n\r\n")
    await writer.drain()
    writer.close()


def _chunk(event: str, data: dict[str, str]) -> bytes:
    content = f"event: {event}\ndata: {json.dumps(data)}\n\n".encode()
    return b"%x\r\n%s\r\n" % (len(content), content)


@contextmanager
def _backend(pieces: int) -> Iterator[str]:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        process = multiprocessing.get_context("fork").Process(target=_serve, args=(listener, pieces), daemon=True)
        process.start()
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"
        process.terminate()
        process.join()


# ---- the frontend


@contextmanager
def _frontend(backend_url: str, streams: int, folder: str) -> Iterator[tuple[str, psutil.Process]]:
    port = free_port()
    settings = {
        "FRONTEND_PORT": str(port),
        "FRONTEND_BACKEND_URL": backend_url,
        "FRONTEND_DATABASE_URL": f"sqlite:///{folder}/chats.sqlite3",
        "FRONTEND_MAX_REPLIES": str(streams),
        "FRONTEND_LOG_LEVEL": "error",
        "FRONTEND_RATE_ADDRESS_FACTOR": "10000",  # all browsers are at one address
        "FRONTEND_RATE_SESSIONS": "10000/minute",
    }
    log = Path(folder) / "frontend.log"
    with log.open("wb") as out:
        process = subprocess.Popen([sys.executable, "-m", "frontend"], env=os.environ | settings, stderr=out)
    try:
        yield f"http://127.0.0.1:{port}", psutil.Process(process.pid)
    finally:
        process.terminate()
        process.wait()
        sys.stderr.write(log.read_text()[-4_000:])


# ---- the browsers


async def _browsers(url: str, streams: int, frontend: psutil.Process) -> tuple[list[float], int, float, float]:
    """Delays in seconds, replies that were whole, seconds of processor time and of the clock."""
    delays: list[float] = []
    sessions = [
        aiohttp.ClientSession(connector=aiohttp.TCPConnector(), cookie_jar=aiohttp.CookieJar(unsafe=True))
        for _ in range(streams)
    ]
    try:
        await _until_ready(sessions[0], url)
        for session in sessions:  # each is a visitor of its own
            async with session.get(url) as page:
                await page.read()
        before, begun = _cpu_seconds(frontend), time.monotonic()
        readers = [_read(session, url, n / streams * RAMP_SECONDS, delays) for n, session in enumerate(sessions)]
        whole = sum(await asyncio.gather(*readers))
        return delays, whole, _cpu_seconds(frontend) - before, time.monotonic() - begun
    finally:
        for session in sessions:
            await session.close()


async def _until_ready(session: aiohttp.ClientSession, url: str) -> None:
    for _ in range(300):
        try:
            async with session.get(f"{url}/readyz") as answer:
                if answer.status == 200:
                    return
        except aiohttp.ClientConnectionError:
            pass  # it does not listen yet
        await asyncio.sleep(0.1)
    raise TimeoutError("the frontend did not start within 30 s")


async def _read(session: aiohttp.ClientSession, url: str, wait: float, delays: list[float]) -> bool:
    """One message and its reply; whether it was whole."""
    await asyncio.sleep(wait)
    rest, whole = b"", False
    async with session.post(f"{url}/messages", data={"text": "q"}, headers={"Accept": "text/event-stream"}) as answer:
        async for chunk in answer.content.iter_any():
            now = time.monotonic()
            *events, rest = (rest + chunk).split(b"\n\n")
            for event in events:
                if b"event: done" in event:
                    whole = True
                else:
                    delays += [now - float(stamp) for stamp in _STAMP.findall(event)]
    return whole


def _cpu_seconds(process: psutil.Process) -> float:
    times = process.cpu_times()
    return float(times.user + times.system)


def measure(streams: int, pieces: int) -> Delays:
    """Run all three and read off the delays."""
    load = os.getloadavg()[0]
    with (
        tempfile.TemporaryDirectory() as folder,
        _backend(pieces) as backend_url,
        _frontend(backend_url, streams, folder) as (url, frontend),
    ):
        delays, whole, cpu, seconds = asyncio.run(_browsers(url, streams, frontend))
    return Delays(
        streams=streams,
        complete=whole,
        pieces=len(delays),
        pieces_per_s=round(len(delays) / seconds, 1),
        p50_ms=_percentile_ms(delays, 0.5),
        p95_ms=_percentile_ms(delays, 0.95),
        max_ms=_percentile_ms(delays, 1.0),
        cpu_us=round(cpu / len(delays) * 1e6, 1),
        cpu_share=round(cpu / seconds, 3),
        load=round(load, 2),
    )


def _percentile_ms(seconds: list[float], share: float) -> float:
    return round(1_000 * sorted(seconds)[min(int(len(seconds) * share), len(seconds) - 1)], 1)


def main() -> int:
    """Print the measurement as JSON. Returns 1 when it misses the target."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--streams", type=int, default=STREAMS)
    parser.add_argument("--pieces", type=int, default=PIECES, help="of each reply")
    chosen = parser.parse_args()
    delays = measure(chosen.streams, chosen.pieces)
    sys.stdout.write(json.dumps(asdict(delays) | {"holds": delays.holds}, indent=1) + "\n")
    return 0 if delays.holds else 1


if __name__ == "__main__":
    sys.exit(main())
