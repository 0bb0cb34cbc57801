"""The GPU's path, with the recording of graphs faked: what was recorded is simply run again."""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from serve_app.engine.backends.cuda_graphs import GraphedStep
from serve_app.engine.backends.eager import Eager
from serve_app.engine.backends.linear import Float32Linear, HalfLinear
from serve_app.engine.t5 import T5
from serve_app.engine.weights import from_transformers
from serve_app.messages import Sampling
from tests.engine.support import SteppedEngine, random_prompts, read
from tests.support.checkpoints import initial_t5, random_t5


def run_again(work: Callable[[], None]) -> Callable[[], None]:
    """Stands in for `cuda_graph`: runs once while it is recorded, as that does."""
    work()
    return work


async def replies(backend: Eager, *, slots: int = 6) -> list[list[int]]:
    """Eight replies that join and leave one by one."""
    engine = SteppedEngine(from_transformers(random_t5(seed=3), backend), slots=slots, max_prompt=48, max_reply=40)
    asked = [
        engine.ask(prompt, Sampling(max_length=8 + 4 * i))
        for i, prompt in enumerate(random_prompts([46, 1, 7, 30, 12, 3, 20, 9]))
    ]
    while not engine.idle:
        engine.step()
    return [await read(reply) for reply in asked]


@pytest.mark.parametrize("slots", [5, 6, 8])
async def test_recorded_steps_write_what_others_write(slots: int) -> None:
    """Through all recorded sizes, moves between slots, and idle slots whose results are ignored."""
    assert await replies(Eager(capture=run_again), slots=slots) == await replies(Eager(), slots=slots)


def test_each_size_is_recorded_once_and_before_the_first_reply() -> None:
    recorded: list[int] = []

    def step(tokens: Tensor) -> Tensor:
        recorded.append(len(tokens))
        return tokens[:, None] * 2

    def remember(work: Callable[[], None]) -> Callable[[], None]:
        work()
        return work

    graphed = GraphedStep(step, remember, slots=6, device=torch.device("cpu"))
    graphed.record()
    assert recorded == [1, 2, 4, 6]
    recorded.clear()
    for count, size in ((1, 1), (2, 2), (3, 4), (4, 4), (5, 6), (6, 6)):
        assert graphed(list(range(count))).flatten().tolist() == [2 * token for token in range(count)]
        assert recorded.pop() == size


async def test_a_slot_that_idled_long_remembers_nothing() -> None:
    """The lengths of idle slots keep growing, past the cache's end; unclamped, they would put a NaN into it."""
    engine = SteppedEngine(
        from_transformers(random_t5(seed=3), Eager(capture=run_again)), slots=4, max_prompt=48, max_reply=16
    )
    prompts = random_prompts([5, 9, 14])
    for prompt in prompts * 8:  # three run, so that slot 3 idles
        reply = engine.ask(prompt, Sampling(max_length=16))
        while not engine.idle:
            engine.step()
        await read(reply)
    together = [engine.ask(prompt, Sampling(max_length=16)) for prompt in [*prompts, [7, 8, 1]]]
    while not engine.idle:
        engine.step()
    alone = SteppedEngine(from_transformers(random_t5(seed=3)), slots=1, max_prompt=48, max_reply=16)
    expected = alone.ask([7, 8, 1], Sampling(max_length=16))
    while not alone.idle:
        alone.step()
    assert await read(together[3]) == await read(expected)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_halves_are_close_to_float32(dtype: torch.dtype) -> None:
    model = initial_t5(d_model=64, d_kv=16, d_ff=128)
    (prompt,) = random_prompts([20])
    logits = []
    for backend in (Eager(), Eager(lambda w, _, relu: HalfLinear(dtype, w, relu), kv_dtype=dtype, capture=run_again)):
        t5 = T5(from_transformers(model, backend), slots=2, max_prompt=32, max_reply=16)
        t5.fill(0, t5.encode([prompt])[0])
        logits.append(torch.cat([t5.step([token]).clone() for token in (0, 5, 9, 33)]))
    assert bool((torch.cosine_similarity(logits[0], logits[1], dim=-1) > 0.999).all())


def test_float32_is_the_default() -> None:
    assert isinstance(Eager().linear(torch.ones(2, 2), width=2), Float32Linear)
