"""Law 2: a request's result does not depend on who shares its batch."""

import random

import pytest

from serve_app.engine.token_stream import Ending, TokenStream
from serve_app.engine.weights import Weights
from serve_app.messages import Sampling
from tests.engine.support import SteppedEngine, random_prompts, read

SLOTS = 16
PROMPTS = random_prompts(range(2, 2 + 3 * SLOTS, 3))
GREEDY = [Sampling(max_length=5 + 3 * i, repetition_penalty=1 + i % 3 / 10) for i in range(SLOTS)]
SAMPLED = [
    Sampling(
        max_length=5 + 3 * i,
        do_sample=True,
        temperature=0.7 + i / 10,
        top_k=(0, 20)[i % 2],
        top_p=(0.8, 0.95, 1)[i % 3],
        no_repeat_ngram_size=(0, 2)[i % 2],
        seed=i,
    )
    for i in range(SLOTS)
]


async def alone(weights: Weights, prompt: list[int], sampling: Sampling) -> tuple[list[int], Ending | None]:
    engine = SteppedEngine(weights, slots=1, max_prompt=64, max_reply=64)
    reply = engine.ask(prompt, sampling)
    while not engine.idle:
        engine.step()
    return await read(reply), reply.ending


async def together(
    weights: Weights, samplings: list[Sampling], order: random.Random
) -> dict[int, tuple[list[int], Ending | None]]:
    """Requests join two a step, in any order; every fourth is cancelled somewhere on its way -> the others' replies."""
    engine = SteppedEngine(weights, slots=SLOTS, max_prompt=64, max_reply=64, prefill_tokens=64)
    replies: dict[int, TokenStream] = {}
    to_cancel: dict[int, int] = {}  # request -> steps until then
    coming = order.sample(range(SLOTS), SLOTS)
    while coming or not engine.idle:
        for index in coming[:2]:
            replies[index] = engine.ask(PROMPTS[index], samplings[index])
            if index % 4 == 0:
                to_cancel[index] = order.randrange(1, 6)
        coming = coming[2:]
        engine.step()
        for index in to_cancel:
            to_cancel[index] -= 1
            if to_cancel[index] == 0:
                replies[index].cancel()
    return {i: (await read(reply), reply.ending) for i, reply in replies.items() if i not in to_cancel}


@pytest.mark.parametrize("samplings", [GREEDY, SAMPLED], ids=["greedy", "sampled"])
@pytest.mark.parametrize("seed", range(3))
async def test_a_reply_is_the_same_alone_and_among_fifteen_that_come_and_go(
    weights: Weights, samplings: list[Sampling], seed: int
) -> None:
    replies = await together(weights, samplings, random.Random(seed))
    assert len(replies) == 12
    for index, reply in replies.items():
        assert reply == await alone(weights, PROMPTS[index], samplings[index])
