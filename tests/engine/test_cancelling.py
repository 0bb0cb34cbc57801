"""Law 5: cancelling frees the slot within one decoding step, at whatever stage, and leaves nothing behind (law 8)."""

import asyncio
import gc
import random
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import suppress

import pytest
from torch import Tensor

from serve_app.engine.backends.eager import Eager
from serve_app.engine.engine import Engine
from serve_app.engine.errors import QueueFull
from serve_app.engine.request import Request
from serve_app.engine.token_stream import TokenStream
from serve_app.engine.trie import Trie
from serve_app.engine.weights import from_transformers
from serve_app.messages import Candidate, Sampling
from tests.engine.conftest import MakeStepped
from tests.engine.support import LONG_S, PATIENCE_S, Echo, SteppedEngine, random_candidates, random_prompts, read
from tests.support.checkpoints import EOS, random_t5

ENDLESS = [7, 8, 9]
LONG = Sampling().model_copy(update={"max_length": 1_000_000})  # more than a request may ask for
SHORT = Sampling(max_length=8)
CANDIDATES = [Candidate((5, 6, EOS)), Candidate((5, 8, EOS))]


@pytest.fixture
def meanwhile(stepped: MakeStepped, monkeypatch: pytest.MonkeyPatch) -> Callable[..., SteppedEngine]:
    """A stepped engine whose model calls `act` while it is in `part`, the first time, and counts its decoding steps."""

    def make(part: str, act: Callable[[], None], steps: list[int]) -> SteppedEngine:
        class Acting(Echo):
            def encode(self, prompts: Sequence[Sequence[int]]) -> list[Tensor]:
                self._act("encode")
                return super().encode(prompts)

            def trie_logits(self, trie: Trie, encoding: Tensor) -> Tensor:
                self._act("trie_logits")
                return super().trie_logits(trie, encoding)

            def step(self, tokens: Sequence[int], counts: Sequence[int] | None = None) -> Tensor:
                steps.append(len(tokens))
                self._act("step")
                return super().step(tokens, counts)

            def _act(self, where: str) -> None:
                if where == part and not acted:
                    acted.append(where)
                    act()

        acted: list[str] = []
        monkeypatch.setattr("serve_app.engine.engine.T5", Acting)
        return stepped(slots=2)

    return make


@pytest.mark.parametrize("part", ["encode", "step"])
async def test_who_cancels_while_it_is_computed_takes_one_decoding_step_at_most(
    meanwhile: Callable[..., SteppedEngine], part: str
) -> None:
    steps: list[int] = []
    replies: list[TokenStream] = []
    engine = meanwhile(part, lambda: replies[0].cancel(), steps)
    replies += [engine.ask(ENDLESS, LONG), engine.ask([2, 3, 4, EOS], SHORT)]
    while not engine.idle:
        engine.step()
    assert steps == [2, 1, 1, 1]
    assert await read(replies[1]) == [2, 3, 4]


@pytest.mark.parametrize("part", ["encode", "trie_logits"])
async def test_who_cancels_while_it_is_chosen_for_is_gone_in_the_same_round(
    meanwhile: Callable[..., SteppedEngine], part: str
) -> None:
    replies: list[TokenStream] = []
    engine = meanwhile(part, lambda: replies[0].cancel(), [])
    replies += [engine.ask([5, 8, EOS], SHORT, candidates=CANDIDATES) for _ in range(2)]
    engine.step()
    assert engine.idle
    assert await read(replies[1]) == [5, 8]


async def test_who_cancels_among_many_that_wait_makes_room_in_the_queue(stepped: MakeStepped) -> None:
    engine = stepped(slots=1)
    engine.ask(ENDLESS, LONG)
    engine.step()
    waiting = engine.ask(ENDLESS, LONG)
    with pytest.raises(QueueFull):
        engine.ask(ENDLESS, LONG)
    waiting.cancel()
    engine.step()
    engine.ask(ENDLESS, LONG)
    assert (engine.active, engine.waiting) == (1, 1)


# --- two thousand come and go -----------------------------------------------------------------------------------------

PROMPTS = random_prompts([length % 30 + 2 for length in range(0, 400, 7)])
CHOICES = random_candidates(8)


async def visit(engine: Engine, chance: random.Random) -> str:
    """One who asks, and leaves at a moment of their own -> what came of it."""
    sampling = Sampling(max_length=chance.choice([8, 30]), do_sample=chance.random() < 0.5, seed=1)
    candidates = CHOICES if chance.random() < 0.3 else []
    budget_s = 0.0 if chance.random() < 0.05 else LONG_S
    try:
        reply = engine.submit(chance.choice(PROMPTS), sampling, candidates=candidates, budget_s=budget_s)
    except QueueFull:
        await asyncio.sleep(0.001)
        return "refused"
    patience = chance.choice([0, 0, 1, 2, 5, 100])  # messages until they leave
    try:
        if chance.random() < 0.2:
            await asyncio.sleep(chance.random() * 0.002)  # it waits, is encoded or decoded meanwhile
        if patience:
            with suppress(StopAsyncIteration):
                stream = aiter(reply)
                for _ in range(patience):
                    await asyncio.wait_for(anext(stream), PATIENCE_S)
    finally:
        reply.cancel()
    return reply.ending or "left"


def living() -> dict[str, int]:
    gc.collect()
    kinds = Counter(type(thing) for thing in gc.get_objects())
    return {kind.__name__: kinds[kind] for kind in (TokenStream, Request, Trie, Tensor)}


async def test_two_thousand_that_come_and_go_leave_nothing_behind() -> None:
    engine = Engine(
        from_transformers(random_t5(d_kv=12), Eager()),
        slots=4,
        max_prompt=32,
        max_reply=32,
        encoding_cache_bytes=20 * 16 * 32 * 4,  # of some twenty of the prompts
    )
    chance = random.Random(1)
    outcomes: Counter[str] = Counter()

    async def visitors(count: int) -> None:
        for _ in range(count):
            outcomes[await visit(engine, chance)] += 1

    async def crowd(count: int) -> None:
        await asyncio.gather(*(visitors(count // 10) for _ in range(10)))
        async with asyncio.timeout(PATIENCE_S):
            while engine.active or engine.waiting:
                await asyncio.sleep(0.001)

    try:
        before = living()
        await crowd(200)
        await crowd(2000)
        assert (engine.active, engine.waiting, engine.stalled_s, engine.failure) == (0, 0, 0, None)
        async with asyncio.timeout(PATIENCE_S):
            # The step loop holds the last replies until its round ends, a moment after they have left their slots.
            while any(living()[kind] > before[kind] for kind in ("TokenStream", "Request", "Trie")):
                await asyncio.sleep(0.001)
        assert living()["Tensor"] <= before["Tensor"] + 40, "the encodings that are kept, and no more"
        assert engine._encoder_cache._kept_bytes <= 20 * 16 * 32 * 4
        assert sum(outcomes.values()) == 2200
        assert min(outcomes[each] for each in ("stop", "length", "deadline", "left", "refused")) > 10
        # Nothing is left in a slot: later requests get what they would have got from a new engine.
        fresh = SteppedEngine(from_transformers(random_t5(d_kv=12), Eager()), slots=1, max_prompt=32, max_reply=32)
        for prompt in PROMPTS[:4]:
            reply = engine.submit(prompt, Sampling(max_length=30), budget_s=LONG_S)
            expected = fresh.ask(prompt, Sampling(max_length=30))
            while not fresh.idle:
                fresh.step()
            assert await read(reply) == await read(expected)
    finally:
        engine.close()
