"""`python -m bench.speculation`: what guessing tokens from the prompt saves where replies copy, and costs where not.

For models/mini, the free replies to the dialogues in quality.jsonl. For random weights of GODEL-base's shape, which
copy nothing, replies whose every guess is wrong, and what one more row takes in a step. Prompts are encoded before.

In processor time of one thread, with and without by turns, medians: other work on the machine changes that least.
"""

import asyncio
import logging
import statistics
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from unittest.mock import patch

import torch

from bench.quality import evaluation_prompts
from bench.systems import VOCABULARY, make_checkpoint
from serve_app.checkpoint import Checkpoint, load_model, load_tokenizer, resolve
from serve_app.engine.backends.select import select_backend
from serve_app.engine.engine import Engine
from serve_app.engine.measures import Totals
from serve_app.engine.speculation import MOST, Guesser
from serve_app.engine.t5 import T5
from serve_app.engine.weights import Weights, from_transformers
from serve_app.messages import Sampling
from serve_app.settings import AppArgs

SLOTS, WINDOW, LONGEST_REPLY = 16, 512, 64
PROMPT, REPLY = 300, 32  # tokens, of the random model
ROUNDS = 5
log = logging.getLogger("bench")


@dataclass(frozen=True)
class Measured:
    seconds: float  # of one round
    did: Totals  # in it


def measure(
    engines: Sequence[Engine], prompts: Sequence[list[int]], at_once: int, sampling: Sampling
) -> list[Measured]:
    """Of each engine. Raises ValueError where their replies differ."""

    async def write(engine: Engine) -> list[list[int]]:
        free = asyncio.Semaphore(at_once)

        async def reply(prompt: list[int]) -> list[int]:
            async with free:
                stream = engine.submit(prompt, sampling, budget_s=3600)
                return [token async for tokens in stream for token in tokens]

        return list(await asyncio.gather(*map(reply, prompts)))

    seconds: list[list[float]] = [[] for _ in engines]
    for _ in range(ROUNDS):
        replies, did = [], []
        for engine, times in zip(engines, seconds, strict=True):
            before, began = engine.totals.copy(), time.process_time()
            replies.append(asyncio.run(write(engine)))
            times.append(time.process_time() - began)
            did.append(engine.totals.since(before))
        if any(other != replies[0] for other in replies):
            raise ValueError("the replies are not the same with guesses as without")
    # The first round has encoded the prompts.
    return [Measured(statistics.median(times[1:]), each) for times, each in zip(seconds, did, strict=True)]


def make_engines(weights: Weights) -> list[Engine]:
    """Without guesses, and with them."""
    return [
        Engine(
            weights,
            slots=SLOTS,
            max_prompt=WINDOW,
            max_reply=LONGEST_REPLY,
            encoding_cache_bytes=2**28,
            speculative=speculative,
        )
        for speculative in (False, True)
    ]


def report(name: str, at_once: int, replies: int, without: Measured, guessing: Measured) -> None:
    log.info(
        "%-21s %2d at once: %.2f ms a reply beside %.2f without: %.2f; %.2f tokens a step, %d of %d guesses right",
        name,
        at_once,
        1000 * guessing.seconds / replies,
        1000 * without.seconds / replies,
        guessing.seconds / without.seconds,
        guessing.did.tokens / sum(number * steps for number, steps in enumerate(guessing.did.steps)),
        guessing.did.accepted,
        guessing.did.guessed,
    )


def copied_replies(checkpoint: Checkpoint) -> None:
    prompts = evaluation_prompts(load_tokenizer(checkpoint))
    engines = make_engines(from_transformers(load_model(checkpoint), select_backend("int8", "cpu")))
    drawn = Sampling(max_length=LONGEST_REPLY, do_sample=True, temperature=0.8, top_p=0.95, seed=1)
    greedy = Sampling(max_length=LONGEST_REPLY)
    for name, sampling, at_once in (("greedy", greedy, 1), ("greedy", greedy, SLOTS), ("sampled", drawn, 1)):
        report(f"models/mini, {name}", at_once, len(prompts), *measure(engines, prompts, at_once, sampling))
    for engine in engines:
        engine.close()


class AlwaysWrong(Guesser):
    """Finds a match for every token, and guesses what never comes."""

    def __init__(self, prompt: Sequence[int], reply: Sequence[int], eos_token: int) -> None:
        super().__init__([VOCABULARY - 1] * MOST, reply, eos_token)

    def _find(self, reply: Sequence[int]) -> int:
        return 0


def wrong_guesses(weights: Weights) -> None:
    prompts = torch.randint(2, VOCABULARY, (SLOTS, PROMPT), generator=torch.Generator().manual_seed(1)).tolist()
    sampling = Sampling(max_length=REPLY, min_length=REPLY)
    with patch("serve_app.engine.engine.Guesser", AlwaysWrong):
        engines = make_engines(weights)
        for at_once, asked in ((1, prompts[:3]), (SLOTS, prompts)):
            report("GODEL-base, all wrong", at_once, len(asked), *measure(engines, asked, at_once, sampling))
        for engine in engines:
            engine.close()


@torch.inference_mode()
def rows(weights: Weights) -> None:
    """Steps of several rows a slot, for FIXED and REPLY of serve_app/engine/speculation.py."""
    t5 = T5(weights, slots=SLOTS, max_prompt=WINDOW, max_reply=LONGEST_REPLY)
    for slot in range(SLOTS):
        t5.fill(slot, torch.randn(PROMPT, weights.shape.d_model))
    times: dict[tuple[int, int], list[float]] = {(slots, each): [] for slots in (1, SLOTS) for each in (1, 2, 4, 8)}
    for _ in range(3 * ROUNDS):
        for (slots, each), found in times.items():
            began = time.thread_time()
            t5.step([5] * slots * each, [each] * slots)
            found.append(1000 * (time.thread_time() - began))
            for slot in range(slots):
                t5.drop(slot, each)
    step = {case: statistics.median(found) for case, found in times.items()}
    for slots in (1, SLOTS):
        log.info(
            "GODEL-base, ms a step of %2d replies: %s",
            slots,
            ", ".join(f"{step[slots, each]:.1f} with {each} rows each" for each in (1, 2, 4, 8)),
        )
    row = (step[1, 4] - step[1, 1]) / 3
    reply = (step[SLOTS, 1] - step[1, 1]) / (SLOTS - 1)
    log.info("a row takes %.2f ms; FIXED %.1f, REPLY %.2f", row, (step[1, 1] - reply) / row, reply / row)


def main() -> None:
    logging.basicConfig(format="%(message)s")
    log.setLevel(logging.INFO)
    torch.set_num_threads(1)
    copied_replies(resolve(AppArgs(model="models/mini")))
    with tempfile.TemporaryDirectory() as folder:
        make_checkpoint(Path(folder))
        model = load_model(Checkpoint(name="base", requested="base", folder=Path(folder)))
    weights = from_transformers(model, select_backend("int8", "cpu"))
    del model
    rows(weights)
    wrong_guesses(weights)


if __name__ == "__main__":
    main()
