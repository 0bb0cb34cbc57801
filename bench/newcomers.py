"""How soon a refusal goes out, seen from a process of its own, which a load's many clients do not slow down.

A newcomer is a client that asks once. Of those that are refused the seconds are kept that it took.
"""

import asyncio
import multiprocessing
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from multiprocessing.connection import Connection
from typing import Any
from uuid import uuid4

import requests

_PAUSE_S = 0.2
_GIVE_UP_S = 30.0


@asynccontextmanager
async def newcomers(url: str, body: dict[str, Any]) -> AsyncIterator[list[float]]:
    """While the block runs they ask for the same, one after the other; then the list holds the refusals' seconds."""
    here, there = multiprocessing.Pipe()
    process = multiprocessing.get_context("spawn").Process(target=_ask, args=(url, body, there))
    process.start()
    refusals_s: list[float] = []
    try:
        await asyncio.to_thread(here.recv)  # it is there
        yield refusals_s
        here.send("enough")
        refusals_s += await asyncio.to_thread(here.recv)
    finally:
        process.terminate()
        process.join()


def _ask(url: str, body: dict[str, Any], parent: Connection) -> None:
    parent.send("ready")
    refusals_s = []
    while not parent.poll(_PAUSE_S):
        began = time.perf_counter()
        headers = {"x-session-id": uuid4().hex}
        if requests.post(f"{url}/chat", json=body, headers=headers, timeout=_GIVE_UP_S).status_code == 429:
            refusals_s.append(time.perf_counter() - began)
    parent.send(refusals_s)
