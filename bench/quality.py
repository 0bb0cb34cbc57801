"""`python -m bench.quality`: what int8 changes in the free replies of models/mini, to the dialogues in quality.jsonl.

Their prompts are of the form that the model was taught: four passages, by an earlier ranking.
"""

import asyncio
import json
import logging
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor
from transformers import PreTrainedTokenizerBase

from serve_app.checkpoint import load_model, load_tokenizer, resolve
from serve_app.engine.backends.protocols import Backend
from serve_app.engine.backends.select import Dtype, select_backend
from serve_app.engine.engine import Engine
from serve_app.engine.t5 import T5
from serve_app.engine.weights import Weights, from_transformers
from serve_app.messages import Sampling
from serve_app.prompt import render
from serve_app.settings import AppArgs

DIALOGUES = Path(__file__).parent / "quality.jsonl"  # one a line: its turns, and the passages it is given
INSTRUCTION = (
    "Instruction: given a dialog context and related knowledge, you need to answer the last question based on the "
    "knowledge."
)
WINDOW, LONGEST_REPLY, SLOTS = 512, 64, 16
log = logging.getLogger("bench")


@dataclass(frozen=True)
class Quality:
    """A dtype beside float32."""

    tokens_equal: float  # of greedy replies, position by position; whatever follows a difference mostly differs too
    replies_equal: float
    next_token_equal: float  # where both read the same text: float32's own reply
    cosine_mean: float  # of the logits there
    cosine_min: float


def evaluation_prompts(tokenizer: PreTrainedTokenizerBase) -> list[list[int]]:
    """Token ids, one for each dialogue."""
    dialogues = [json.loads(line) for line in DIALOGUES.read_text().splitlines()]
    return [tokenizer.encode(render(INSTRUCTION, each["dialog"], each["passages"])) for each in dialogues]


def measure(backends: Sequence[Backend]) -> list[Quality]:
    """Of each backend, on all dialogues."""
    checkpoint = resolve(AppArgs(model="models/mini"))
    model, prompts = load_model(checkpoint), evaluation_prompts(load_tokenizer(checkpoint))
    reference = from_transformers(model)
    expected = asyncio.run(_replies(reference, prompts))
    exact = _logits(reference, prompts, expected)
    found = []
    for backend in backends:
        rounded = from_transformers(model, backend)
        replies = asyncio.run(_replies(rounded, prompts))
        close = _logits(rounded, prompts, expected)
        found.append(_compare(list(zip(expected, replies, strict=True)), exact, close))
    return found


def _compare(replies: Sequence[tuple[list[int], list[int]]], exact: Tensor, close: Tensor) -> Quality:
    """Of float32's and another backend's replies, and the logits of both along float32's: [tokens, vocabulary]."""
    cosine = torch.cosine_similarity(exact, close, dim=-1)
    return Quality(
        tokens_equal=sum(a == b for pair in replies for a, b in zip(*pair, strict=False))
        / sum(max(map(len, pair)) for pair in replies),
        replies_equal=sum(a == b for a, b in replies) / len(replies),
        next_token_equal=float((exact.argmax(-1) == close.argmax(-1)).float().mean()),
        cosine_mean=float(cosine.mean()),
        cosine_min=float(cosine.min()),
    )


async def _replies(weights: Weights, prompts: Sequence[list[int]]) -> list[list[int]]:
    engine = Engine(weights, slots=SLOTS, max_prompt=WINDOW, max_reply=LONGEST_REPLY)
    free = asyncio.Semaphore(SLOTS)

    async def reply(prompt: list[int]) -> list[int]:
        async with free:
            stream = engine.submit(prompt, Sampling(max_length=LONGEST_REPLY), budget_s=3600)
            return [token async for tokens in stream for token in tokens]

    try:
        return list(await asyncio.gather(*map(reply, prompts)))
    finally:
        engine.close()


@torch.inference_mode()
def _logits(weights: Weights, prompts: Sequence[list[int]], replies: Sequence[list[int]]) -> Tensor:
    """Of every token of the replies: [tokens, vocabulary]."""
    t5 = T5(weights, slots=SLOTS, max_prompt=WINDOW, max_reply=LONGEST_REPLY)
    longest_first = sorted(zip(prompts, replies, strict=True), key=lambda pair: -len(pair[1]))
    logits = []
    for start in range(0, len(longest_first), SLOTS):
        together = longest_first[start : start + SLOTS]
        for slot, (prompt, _) in enumerate(together):
            t5.fill(slot, t5.encode([prompt])[0])
        read = [[weights.shape.start_token, *reply] for _, reply in together]
        for position in range(len(read[0])):
            logits.append(t5.step([each[position] for each in read if position < len(each)]).clone())
    return torch.cat(logits)


def main() -> None:
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    dtypes: tuple[Dtype, ...] = ("int8", "bfloat16", "float16")
    for dtype, found in zip(dtypes, measure([select_backend(dtype, "cpu") for dtype in dtypes]), strict=True):
        log.info(
            "%-9s equal to float32: %.1f %% of tokens, %.1f %% of replies, %.2f %% of next tokens; "
            "logits' cosine %.5f, least %.5f",
            dtype,
            100 * found.tokens_equal,
            100 * found.replies_equal,
            100 * found.next_token_equal,
            found.cosine_mean,
            found.cosine_min,
        )


if __name__ == "__main__":
    main()
