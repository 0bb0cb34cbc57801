"""What a model replies to prompts, written by the engine that serves it, and how near that is to what was wanted."""

import asyncio
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from transformers import PreTrainedTokenizerBase
from transformers import T5ForConditionalGeneration as T5

from serve_app.engine.backends.select import select_backend
from serve_app.engine.engine import Engine
from serve_app.engine.weights import from_transformers
from serve_app.messages import Sampling
from serve_app.settings import AppArgs
from training.pairs import Pair

_BUDGET_S = 3600.0  # for one reply: no person waits for it


@dataclass(frozen=True)
class Score:
    """Means over the replies."""

    exact: float  # share of those that are the wanted text
    token_f1: float


def score(
    model: T5, tokenizer: PreTrainedTokenizerBase, pairs: Sequence[Pair], args: AppArgs, max_length: int
) -> Score:
    """Of greedy replies of at most `max_length` tokens, the start token included."""
    written = asyncio.run(_write(model, pairs, args, max_length))
    texts = [
        (_text(tokenizer, reply), _text(tokenizer, pair.reply.tolist()))
        for reply, pair in zip(written, pairs, strict=True)
    ]
    return Score(
        exact=sum(reply == wanted for reply, wanted in texts) / len(texts),
        token_f1=sum(token_f1(reply, wanted) for reply, wanted in texts) / len(texts),
    )


def token_f1(reply: str, wanted: str) -> float:
    """Harmonic mean of the shares of words that the two have in common (Rajpurkar et al. 2016); 0 to 1."""
    words, wanted_words = Counter(_words(reply)), Counter(_words(wanted))
    shared = (words & wanted_words).total()
    if not shared:
        return float(words == wanted_words)
    return 2 * shared / (words.total() + wanted_words.total())


def _words(text: str) -> list[str]:
    return re.findall(r"\w+", text.lower())


def _text(tokenizer: PreTrainedTokenizerBase, ids: list[int]) -> str:
    return str(tokenizer.decode(ids, skip_special_tokens=True, clean_up_tokenization_spaces=False)).strip()


async def _write(model: T5, pairs: Sequence[Pair], args: AppArgs, max_length: int) -> list[list[int]]:
    engine = Engine(
        from_transformers(model, select_backend(args.dtype, args.device)),
        slots=args.slots,
        max_prompt=args.max_prompt_tokens,
        max_reply=max_length,
        prefill_tokens=args.prefill_tokens,
    )
    free = asyncio.Semaphore(args.slots)

    async def write(pair: Pair) -> list[int]:
        async with free:
            reply = engine.submit(pair.prompt.tolist(), Sampling(max_length=max_length), budget_s=_BUDGET_S)
            return [token async for tokens in reply for token in tokens]

    try:
        return list(await asyncio.gather(*map(write, pairs)))
    finally:
        engine.close()
