"""What HTTP and Serve cost: the same closed loop on the served project, and straight on an engine in this process."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from transformers import AutoTokenizer

from bench.load import WARM_UP, Answer, Ask, Request, closed_loop
from bench.services import AskOverHttp, ask_chat, ask_whole, asking, shipped_config
from serve_app.checkpoint import Checkpoint
from serve_app.engine.engine import Engine
from serve_app.messages import Sampling
from serve_app.model import make_engine
from serve_app.settings import AppArgs

CLIENTS = 16  # as many as serve_config.yaml's slots
_BUDGET_S = 600.0
_JOIN_S = 1.0  # the engine's best case: its reader is hardly ever woken

# How this project is asked: for replies as JSON, or as streams of which every token is a message through all processes.
WAYS: dict[str, AskOverHttp] = {
    "whole replies": ask_whole,
    "streams": ask_chat,
}


@dataclass(frozen=True)
class Overhead:
    """Requests a second of the engine alone and of the service around it; ratio: served / engine."""

    system: str
    way: str  # of WAYS
    round: int
    clients: int
    requests: int
    engine_per_s: float
    served_per_s: float
    ratio: float

    @classmethod
    def of(cls, system: str, way: str, round_: int, requests: int, engine_s: float, served_s: float) -> "Overhead":
        """engine_s, served_s: seconds for all requests."""
        per_s = round(requests / engine_s, 3), round(requests / served_s, 3)
        return cls(system, way, round_, CLIENTS, requests, *per_s, round(engine_s / served_s, 3))


def engine_seconds(model: Path, dtype: str, bursts: Sequence[Sequence[Request]]) -> list[float]:
    """Seconds that GodelModel's engine takes for the requests of each burst, asked for by CLIENTS at once."""
    args = AppArgs.model_validate(shipped_config()["applications"][0]["args"] | {"dtype": dtype})
    checkpoint = Checkpoint(name=model.name, requested=model.name, folder=model)
    engine = make_engine(checkpoint, args)
    try:
        return asyncio.run(_warm_seconds(_straight(engine, model, [WARM_UP, *bursts]), bursts))
    finally:
        engine.close()


async def _warm_seconds(ask: Ask, bursts: Sequence[Sequence[Request]]) -> list[float]:
    await closed_loop(ask, WARM_UP, CLIENTS)
    return [await closed_loop(ask, requests, CLIENTS) for requests in bursts]


async def served_seconds(url: str, way: str, requests: Sequence[Request]) -> float:
    """Seconds that the running service takes for them, asked for by CLIENTS at once."""
    async with asking(WAYS[way], url) as ask:
        return await closed_loop(ask, requests, CLIENTS)


def _straight(engine: Engine, model: Path, bursts: Sequence[Sequence[Request]]) -> Ask:
    tokenizer: Any = AutoTokenizer.from_pretrained(model)
    prompts: dict[Request, list[int]] = {one: tokenizer.encode(one.prompt) for requests in bursts for one in requests}

    async def ask(request: Request) -> Answer:
        sampling = Sampling(min_length=request.length, max_length=request.length)
        reply = engine.submit(prompts[request], sampling, budget_s=_BUDGET_S, join_s=_JOIN_S)
        return Answer(len(prompts[request]), sum([len(tokens) async for tokens in reply]))

    return ask
