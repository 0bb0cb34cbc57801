"""Clients that leave: at every stage of a request, from the middle of its head to the middle of its reply."""

import asyncio
import json
import random
from urllib.parse import urlsplit

_AT_ONCE = 40  # more than one replica of the shipped configuration has slots, so that some leave the queue
_PATIENCE_S = 60.0
_LATEST_S = 0.3  # a client leaves so long after its last byte, at most

_STAGES = ("head", "body", "at once", "later", "after the first event")


def leave_at_random(url: str, count: int, seed: int) -> None:
    """Send `count` requests for long replies, and leave each at some moment."""
    asyncio.run(_leave_all(url, count, random.Random(seed)))


async def _leave_all(url: str, count: int, rng: random.Random) -> None:
    turns = asyncio.Semaphore(_AT_ONCE)

    async def leave_one() -> None:
        async with turns:
            await _leave(url, rng)

    await asyncio.gather(*(leave_one() for _ in range(count)))


async def _leave(url: str, rng: random.Random) -> None:
    stage = rng.choice(_STAGES)
    head, body = _request(url, stream=stage == "after the first event" or rng.random() < 0.5)
    reader, writer = await asyncio.open_connection(urlsplit(url).hostname, urlsplit(url).port)
    try:
        if stage == "head":
            writer.write(head[: rng.randrange(len(head))])
        elif stage == "body":
            writer.write(head + body[: rng.randrange(len(body))])
        else:
            writer.write(head + body)
        await writer.drain()
        if stage == "later":
            await asyncio.sleep(rng.uniform(0, _LATEST_S))
        elif stage == "after the first event":
            async with asyncio.timeout(_PATIENCE_S):
                await reader.read(1)
    finally:
        # Half of them slam the door: a reset, in place of the end of the stream.
        if rng.random() < 0.5:
            writer.transport.abort()
        else:
            writer.close()


def _request(url: str, *, stream: bool) -> tuple[bytes, bytes]:
    generation = {"quote": False, "max_length": 250, "min_length": 250, "do_sample": True}
    body = json.dumps({"dialog": ["What is a pod?"], "stream": stream, "generation": generation}).encode()
    head = (
        f"POST /chat HTTP/1.1\r\nHost: {urlsplit(url).netloc}\r\nContent-Type: application/json\r\n"
        f"Content-Length: {len(body)}\r\n\r\n"
    )
    return head.encode(), body
