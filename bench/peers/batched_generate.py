"""The plain Ray Serve way: `@serve.batch` over transformers' `generate`, in the dtype that is fastest here."""

import asyncio
from pathlib import Path
from typing import Any

from ray import serve
from ray.serve import Application
from starlette.requests import Request

from bench.peers import Asked, Reply
from bench.peers.on_serve import application
from bench.peers.transformers_t5 import BEST_DTYPE, TransformersT5


class BatchedGenerate:
    def __init__(self, model: str) -> None:
        self._model = TransformersT5(Path(model), BEST_DTYPE)

    async def __call__(self, request: Request) -> Reply:
        reply: Reply = await self.answer(await request.json())
        return reply

    # Serve's guide: a power of two, and the wait far below what the limit of the latency (3 s) leaves after a batch.
    @serve.batch(max_batch_size=4, batch_wait_timeout_s=0.05)
    async def answer(self, batch: list[Asked]) -> list[Reply]:
        return await asyncio.to_thread(self._model, batch)


def build(args: dict[str, Any]) -> Application:
    return application(BatchedGenerate, args)
