"""Questions -> replies, exactly as the server answers: its own `Chat`, over an engine in this process, without HTTP."""

import asyncio
import logging
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any
from uuid import uuid4

import torch
import yaml

from serve_app.chat import Chat
from serve_app.chat_config import ConfigFile
from serve_app.checkpoint import ROOT, load_tokenizer, resolve
from serve_app.in_process import InProcess
from serve_app.messages import (
    ChatReply,
    ChatRequest,
    GenerationOverrides,
    Origin,
)
from serve_app.model import make_engine
from serve_app.settings import AppArgs, ChatConfig

AT_ONCE = 8  # requests; half of the slots, as the service's autoscaling aims at

_HERE = Origin("in-process", "in-process", "in-process", "in-process")


@dataclass(frozen=True)
class Asked:
    dialog: tuple[str, ...]
    knowledge: str | None  # None: the configured one
    generation: GenerationOverrides


@dataclass(frozen=True)
class Answered:
    reply: ChatReply
    seconds: float  # ranking and fitting the prompt included


class Answerer:
    """A model and the shipped configuration. Use `close` to end its engine."""

    def __init__(self, model: str) -> None:
        """model: a folder, or a hub id. Raises ModelError where it cannot be had, ConfigError."""
        logging.getLogger("ray.serve.godel").setLevel(logging.WARNING)  # else a line for each reply
        args = _app_args(model)
        checkpoint = resolve(args)
        config_file = ConfigFile(ROOT / args.chat_config, args.max_reply_tokens)
        torch.set_num_threads(args.threads or 1)  # as serve_config.yaml gives a replica
        self._engine = make_engine(checkpoint, args)
        self._chat = Chat(args, checkpoint, load_tokenizer(checkpoint), config_file, InProcess(self._engine))

    @property
    def config(self) -> ChatConfig:
        return self._chat.config_file.current.config

    def close(self) -> None:
        self._engine.close()

    async def answer(self, asked: Asked) -> Answered:
        """Raises RequestError."""
        started = time.perf_counter()
        request = ChatRequest(dialog=list(asked.dialog), knowledge=asked.knowledge, generation=asked.generation)
        reply = None
        async for piece in self._chat.reply(request, uuid4().hex, streamed=False).read():
            reply = piece.reply
        if reply is None:
            raise RuntimeError("the reply ended without a last piece")
        return Answered(reply, time.perf_counter() - started)

    async def answer_all(self, asked: Sequence[Asked], on_answer: Callable[[int], None]) -> list[Answered]:
        """`AT_ONCE` at a time. on_answer gets how many are done, after each."""
        free = asyncio.Semaphore(AT_ONCE)
        done = 0

        async def answer(each: Asked) -> Answered:
            nonlocal done
            async with free:
                answered = await self.answer(each)
            done += 1
            on_answer(done)
            return answered

        return list(await asyncio.gather(*map(answer, asked)))


def _app_args(model: str) -> AppArgs:
    served: dict[str, Any] = yaml.safe_load((ROOT / "serve_config.yaml").read_text())["applications"][0]["args"]
    # No prompt's encoding is kept: the same question in another mode would find it, and seem faster.
    changes = {"model": model, "revision": None, "fallback_model": None, "encoding_cache_mb": 0, "weights_cache_mb": 0}
    return AppArgs.model_validate(served | changes)
