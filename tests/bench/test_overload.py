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
    monkeypatch.setattr(overload, "SECONDS", 1.5)
    monkeypatch.setattr(overload, "PAUSE_S", 0.05)
    monkeypatch.setattr(overload, "_WINDOW_S", 0.1)


@asynccontextmanager
async def _service(*, is_fair: bool = True) -> AsyncIterator[str]:
    """Has SLOTS, half of them for one client; or, where it is not fair, nothing for others once that one has come."""
    held: list[str] = []
    came: set[str] = set()

    async def chat(request: web.Request) -> web.Response:
        client = request.headers["x-session-id"]
        came.add(client)
        is_full = held.count("greedy") >= SLOTS / 2 if client == "greedy" and is_fair else len(held) == SLOTS
        if is_full or (client != "greedy" and "greedy" in came and not is_fair):
            return web.Response(status=429)
        held.append(client)
        await asyncio.sleep(0.01)
        held.remove(client)
        return web.json_response({"usage": {"completion_tokens": 20}, "replica_id": "r"})

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
        async with _service() as url:
            await overload.measure(url, [2, 40])

    asyncio.run(measure())
    few, many = _table(capsys.readouterr().out)
    assert float(few["refusals/s"]) == 0 < float(few["good/s"])
    assert float(many["refusals/s"]) > 0 < float(many["good/s"])
    assert few["newcomers' p95"] == "-"
    assert 0 < float(many["newcomers' p95"].removesuffix(" ms")) < 1000
    assert few["failed"] == many["failed"] == "0"
    assert float(few["back after"].removesuffix(" s")) < 2
    assert float(many["load, cores"]) > 0


@pytest.mark.parametrize("is_fair", [True, False], ids=["fair", "unfair"])
def test_fairness(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, is_fair: bool) -> None:
    monkeypatch.setattr(overload, "OTHERS", SLOTS // 2)

    async def measure() -> None:
        async with _service(is_fair=is_fair) as url:
            await overload.measure_fairness(url, [40])

    asyncio.run(measure())
    alone, crowded = _table(capsys.readouterr().out)
    assert alone["answered"] == "1.000"
    assert (crowded["answered"] == "1.000") == is_fair
