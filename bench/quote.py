"""`python -m bench.quote`: seconds a reply with and without quote mode, from the question to the text, without HTTP.

For models/mini as it is, and for random weights of GODEL-base's shape. Those reply nonsense of any length, so their
free replies are made as long as the quoted ones. No prompt is encoded before.
"""

import asyncio
import logging
import statistics
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast
from uuid import uuid4

from transformers import PreTrainedTokenizerBase

from bench.systems import make_checkpoint
from serve_app.chat import Chat
from serve_app.chat_config import ConfigFile
from serve_app.checkpoint import ROOT, Checkpoint, load_tokenizer, resolve
from serve_app.in_process import InProcess
from serve_app.messages import ChatReply, ChatRequest
from serve_app.model import make_engine
from serve_app.settings import AppArgs

QUESTIONS = (
    "What is a pod?",
    "Which company made Kubernetes?",
    "What does the scheduler do?",
    "Where are passwords kept?",
    "On which port does Ray Serve listen?",
    "Who created Ray?",
    "What is an actor?",
    "When was the transformer introduced?",
    "How many parameters does GODEL base have?",
    "What is a hallucination?",
    "Why would one quantize a model?",
    "How do I update pods without downtime?",
    "Hello!",
    "Who are you?",
    "Thank you",
    "Who won the match yesterday?",
)
ARGS = AppArgs(slots=len(QUESTIONS), encoding_cache_mb=0, weights_cache_mb=0)
ROUNDS = 5
log = logging.getLogger("bench")


@dataclass(frozen=True)
class Measured:
    """Of all questions."""

    alone_s: float  # one reply, in the median
    first_token_s: float  # of it
    together_s: float  # all questions at once, in the median
    tokens: float  # of a reply, on average


async def ask(chat: Chat, question: str, generation: dict[str, Any]) -> ChatReply:
    asked = ChatRequest.model_validate({"dialog": [question], "generation": generation})
    pieces = [piece async for piece in chat.reply(asked, uuid4().hex, streamed=True).read()]
    return cast(ChatReply, pieces[-1].reply)  # the last one has it


async def ask_all(chat: Chat, generations: Sequence[dict[str, Any]]) -> list[ChatReply]:
    asked = zip(QUESTIONS, generations, strict=True)
    return list(await asyncio.gather(*(ask(chat, question, generation) for question, generation in asked)))


async def measure(chat: Chat, forced_lengths: bool) -> tuple[Measured, Measured]:
    """With quote mode, and without; they take turns, so that a drift of the machine's speed meets both."""
    quoted = [{"quote": True}] * len(QUESTIONS)
    lengths = [reply.usage.completion_tokens + 1 for reply in await ask_all(chat, quoted)]
    free: list[dict[str, Any]] = [
        {"quote": False} | ({"min_length": length, "max_length": length} if forced_lengths else {})
        for length in lengths
    ]
    await ask_all(chat, free)  # warms up
    replies: dict[int, list[ChatReply]] = {0: [], 1: []}
    together: dict[int, list[float]] = {0: [], 1: []}
    for _ in range(ROUNDS):
        for question, *generations in zip(QUESTIONS, quoted, free, strict=True):
            for mode, generation in enumerate(generations):
                replies[mode].append(await ask(chat, question, generation))
        for mode, generations in enumerate((quoted, free)):
            started = time.perf_counter()
            await ask_all(chat, generations)
            together[mode].append(time.perf_counter() - started)
    with_quotes, without = (
        Measured(
            statistics.median(reply.timing_ms.total for reply in replies[mode]) / 1000,
            statistics.median(reply.timing_ms.first_token for reply in replies[mode]) / 1000,
            statistics.median(together[mode]),
            statistics.mean(reply.usage.completion_tokens for reply in replies[mode]),
        )
        for mode in (0, 1)
    )
    return with_quotes, without


def report(name: str, checkpoint: Checkpoint, tokenizer: PreTrainedTokenizerBase, forced_lengths: bool) -> None:
    engine = make_engine(checkpoint, ARGS)
    config = ConfigFile(ROOT / ARGS.chat_config, ARGS.max_reply_tokens)
    chat = Chat(ARGS, checkpoint, tokenizer, config, InProcess(engine))
    try:
        quoted, free = asyncio.run(measure(chat, forced_lengths))
    finally:
        engine.close()
    for mode, found in (("quoted", quoted), ("free", free)):
        log.info(
            "%-18s %-7s %.4f s a reply (first token %.4f s), %.3f s for %d at once; %.1f tokens",
            name,
            mode,
            found.alone_s,
            found.first_token_s,
            found.together_s,
            len(QUESTIONS),
            found.tokens,
        )
    log.info(
        "%-18s quoted / free: %.2f alone, %.2f at once",
        name,
        quoted.alone_s / free.alone_s,
        quoted.together_s / free.together_s,
    )


def main() -> None:
    logging.basicConfig(format="%(message)s")
    log.setLevel(logging.INFO)
    for others in ("bm25s", "ray.serve"):  # which say a line for each knowledge and for each reply
        logging.getLogger(others).setLevel(logging.WARNING)
    mini = resolve(ARGS.model_copy(update={"model": "models/mini"}))
    tokenizer = load_tokenizer(mini)
    report("models/mini", mini, tokenizer, forced_lengths=False)
    with tempfile.TemporaryDirectory() as folder:
        make_checkpoint(Path(folder))
        base = Checkpoint(name="base", requested="base", folder=Path(folder))
        report("GODEL-base's shape", base, tokenizer, forced_lengths=True)


if __name__ == "__main__":
    main()
