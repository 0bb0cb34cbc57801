"""The tables of bench.overload, of a service that answers some and refuses the others."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from aiohttp import web

from bench import overload

SLOTS = 4


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(overload, "SECONDS", 0.4)
    monkeypatch.setattr(overload, "PAUSE_S", 0.05)
    monkeypatch.setattr(overload, "_PROBE_S", 0.5)


@asynccontextmanager
async def _service(per_client: int) -> AsyncIterator[str]:
    """Has SLOTS, and lets a client have so many of them at a time."""
    held: list[str] = []

    async def chat(request: web.Request) -> web.Response:
        client = request.headers["x-session-id"]
        if len(held) == SLOTS or held.count(client) == per_client:
            return web.Response(status=429)
        held.append(client)
        await asyncio.sleep(0.01)
        held.remove(client)
        return web.json_response({})

    application = web.Application()
    application.router.add_post("/chat", chat)
    runner = web.AppRunner(application)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    try:
        yield site.name
    finally:
        await runner.cleanup()


def _table(printed: str) -> list[dict[str, str]]:
    names, _, *rows = ([cell.strip() for cell in line.strip("| ").split("|")] for line in printed.splitlines())
    return [dict(zip(names, row, strict=True)) for row in rows]


def test_goodput_and_recovery(capsys: pytest.CaptureFixture[str]) -> None:
    async def measure() -> None:
        async with _service(per_client=SLOTS) as url:
            await overload.measure(url, [2, 40])

    asyncio.run(measure())
    few, many = _table(capsys.readouterr().out)
    assert float(few["refusals/s"]) == 0 < float(few["good/s"])
    assert float(many["refusals/s"]) > 0 < float(many["good/s"])
    assert few["failed"] == many["failed"] == "0"
    assert float(few["back after"].removesuffix(" s")) < 2
    assert float(many["load, cores"]) > 0


@pytest.mark.parametrize("per_client", [1, SLOTS], ids=["fair", "unfair"])
def test_fairness(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, per_client: int) -> None:
    monkeypatch.setattr(overload, "OTHERS", SLOTS - 1)

    async def measure() -> None:
        async with _service(per_client) as url:
            await overload.measure_fairness(url, [40])

    asyncio.run(measure())
    alone, crowded = _table(capsys.readouterr().out)
    assert alone["answered"] == "1.000"
    assert (crowded["answered"] == "1.000") == (per_client == 1)
