"""CTranslate2's Translator in int8 behind `@serve.batch`."""

import asyncio
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import ctranslate2
from ray import serve
from ray.serve import Application
from starlette.requests import Request
from transformers import AutoTokenizer

from bench.peers import Asked, Reply
from bench.peers.on_serve import application


class CTranslate2T5:
    """Greedy; one batch at a time gets all cores, as CTranslate2's guide advises where latency counts."""

    def __init__(self, folder: Path) -> None:
        converted = folder.with_name(f"{folder.name}-ct2-int8")
        if not converted.exists():
            ctranslate2.converters.TransformersConverter(str(folder)).convert(str(converted), quantization="int8")
        self._tokenizer: Any = AutoTokenizer.from_pretrained(folder)
        self._translator = ctranslate2.Translator(
            str(converted), device="cpu", compute_type="int8", intra_threads=os.cpu_count()
        )

    def __call__(self, batch: Sequence[Asked]) -> list[Reply]:
        prompts = [self._tokenizer.tokenize(asked["prompt"]) for asked in batch]
        lengths = [asked["length"] for asked in batch]
        results = self._translator.translate_batch(
            prompts,
            beam_size=1,
            min_decoding_length=max(lengths),
            max_decoding_length=max(lengths),
            # A reply that is complete leaves the batch, as one that wrote </s> would.
            callback=lambda step: step.step + 1 >= lengths[step.batch_id],
        )
        return [self._reply(len(p), r.hypotheses[0]) for p, r in zip(prompts, results, strict=True)]

    def _reply(self, prompt_tokens: int, pieces: list[str]) -> Reply:
        response: str = self._tokenizer.decode(self._tokenizer.convert_tokens_to_ids(pieces), skip_special_tokens=True)
        return {"response": response, "prompt_tokens": prompt_tokens, "reply_tokens": len(pieces)}


class BatchedCTranslate2:
    def __init__(self, model: str) -> None:
        self._model = CTranslate2T5(Path(model))

    async def __call__(self, request: Request) -> Reply:
        reply: Reply = await self.answer(await request.json())
        return reply

    # Serve's guide: a power of two, and the wait far below what the limit of the latency (3 s) leaves after a batch.
    @serve.batch(max_batch_size=8, batch_wait_timeout_s=0.05)
    async def answer(self, batch: list[Asked]) -> list[Reply]:
        return await asyncio.to_thread(self._model, batch)


def build(args: dict[str, Any]) -> Application:
    return application(BatchedCTranslate2, args)
