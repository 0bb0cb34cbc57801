"""Laws 4 and 5, and who may join: the engine around a model that echoes its prompt."""

import asyncio
import importlib
import logging
import pkgutil
import threading
from collections.abc import Sequence
from typing import Any

import pytest
from torch import Tensor

import serve_app.engine
from serve_app.engine.errors import EngineFailed, QueueFull
from serve_app.engine.weights import Weights
from serve_app.messages import Candidate, Sampling
from tests.engine.conftest import Journal, MakeEngine, MakeStepped
from tests.engine.support import LONG_S, PATIENCE_S, Clock, Echo, SteppedEngine, answer, following, read

EOS = 1
ENDLESS = [7, 8, 9]  # echoed over and over
SHORT = Sampling(max_length=8)  # seven tokens and the start token
LONG = Sampling().model_copy(update={"max_length": 1_000_000})  # more than a request may ask for


# --- joining --------------------------------------------------------------------------------------------------------


async def test_a_newcomer_joins_those_who_run_at_the_next_step(stepped: MakeStepped) -> None:
    engine = stepped()
    first = aiter(engine.ask([2, 3, 4, 5, EOS], SHORT))
    engine.step()
    assert await following(first) == [2]
    second = aiter(engine.ask([12, 13, EOS], SHORT))
    engine.step()
    assert (await following(first), await following(second)) == ([3], [12])
    assert engine.active == 2


async def test_who_leaves_makes_room_at_the_next_step(stepped: MakeStepped) -> None:
    engine = stepped(slots=1)
    first, second = engine.ask([2, EOS], SHORT), engine.ask([12, EOS], SHORT)
    for _ in range(2):
        engine.step()
    assert (engine.active, engine.waiting) == (0, 1)
    engine.step()
    assert engine.active == 1
    engine.step()
    assert (await read(first), await read(second)) == ([2], [12])


async def test_long_prompts_that_join_do_not_stop_who_runs(stepped: MakeStepped) -> None:
    """At most `prefill_tokens` are encoded between two steps, so one joins at a time here."""
    engine = stepped(slots=4, prefill_tokens=150)
    stream = aiter(engine.ask(ENDLESS, LONG))
    engine.step()
    for token in (4, 5, 6):
        engine.ask([token] * 100, LONG)
    for active in (2, 3, 4):
        await following(stream)
        engine.step()
        assert engine.active == active


async def test_a_decoding_step_follows_every_prefill(stepped: MakeStepped, journal: Journal) -> None:
    """Seven join one who runs: never more than the bound of prompt tokens between two of its tokens, none skipped."""
    engine = stepped(slots=8, prefill_tokens=20)
    stream = aiter(engine.ask(ENDLESS, LONG))
    engine.step()
    for length, token in zip((20, 15, 5, 30, 10, 1, 10), range(10, 17), strict=True):
        engine.ask([token] * length, LONG)
    for _ in range(6):
        engine.step()
    rounds = [(3, 1), (20, 2), (20, 4), (30, 5), (11, 7), (10, 8), (0, 8)]
    expected = [[("encode", tokens), ("step", slots)] for tokens, slots in rounds]
    assert journal == [entry for entries in expected for entry in entries if entry[1]]
    assert [await following(stream) for _ in rounds] == [[7], [8], [9], [7], [8], [9], [7]]


async def test_the_nearest_deadline_is_served_first(stepped: MakeStepped) -> None:
    engine = stepped(slots=1)
    patient, urgent = (engine.ask(ENDLESS, LONG, budget_s=budget) for budget in (100, 50))
    engine.step()
    assert await following(aiter(urgent)) == [7]
    assert (engine.active, engine.waiting, patient.ending) == (1, 1, None)


async def test_equal_prompts_are_encoded_once(stepped: MakeStepped, journal: Journal) -> None:
    """Those that join together share with the cache off too; who comes later shares while it is on."""
    for limit, encoded in ((0, [5, 5]), (10**6, [5])):
        journal.clear()
        engine = stepped(slots=3, encoding_cache_bytes=limit)
        replies = []
        for joining in (2, 1):
            replies += [engine.ask([2, 3, 4, 5, EOS], SHORT) for _ in range(joining)]
            engine.step()
        while not engine.idle:
            engine.step()
        assert [await read(reply) for reply in replies] == [[2, 3, 4, 5]] * 3
        assert [tokens for what, tokens in journal if what == "encode"] == encoded


async def test_a_prompt_whose_encoding_is_kept_costs_no_budget(stepped: MakeStepped, journal: Journal) -> None:
    engine = stepped(slots=4, prefill_tokens=10, encoding_cache_bytes=10**6)
    engine.ask([5] * 10, LONG)
    engine.step()
    for prompt in ([6] * 10, [5] * 10, [5] * 10):
        engine.ask(prompt, LONG)
    engine.step()
    assert journal == [("encode", 10), ("step", 1), ("encode", 10), ("step", 4)]


async def test_reading_a_prefix_delays_no_other_request(stepped: MakeStepped) -> None:
    """After a failover many requests come at once, each with a long prefix."""
    engine = stepped(slots=2)
    other = aiter(engine.ask(ENDLESS, LONG))
    engine.step()
    continued = engine.submit([20, 21, 22, 23, EOS], SHORT, prefix=[20, 21], budget_s=LONG_S)
    assert await following(other) == [7]
    for token in (8, 9, 7, 8, 9):
        engine.step()
        assert await following(other) == [token]
    assert (await read(continued), continued.ending) == ([22, 23], "stop")


async def test_everyone_gets_their_own_reply(stepped: MakeStepped) -> None:
    engine = stepped(slots=3)
    prompts = [[*range(10 * i, 10 * i + 9 - i), EOS] for i in range(1, 6)]
    replies = [engine.ask(prompt, Sampling(max_length=64)) for prompt in prompts[:3]]
    while not engine.idle:
        engine.step()
        if len(replies) < len(prompts):
            replies.append(engine.ask(prompts[len(replies)], Sampling(max_length=64)))
    assert [await read(reply) for reply in replies] == [prompt[:-1] for prompt in prompts]


async def test_more_than_may_wait_are_refused(stepped: MakeStepped) -> None:
    """As many wait as run; a burst counts the free slots, whether they are filled already or not."""
    engine = stepped(slots=2)
    first, *_ = [engine.ask(ENDLESS, LONG) for _ in range(4)]
    for _ in range(2):
        with pytest.raises(QueueFull, match="2 slots"):
            engine.ask(ENDLESS, LONG)
        engine.step()
    first.cancel()
    engine.step()
    engine.ask(ENDLESS, LONG)
    assert (engine.active, engine.waiting) == (2, 2)


@pytest.mark.parametrize(
    ("prompt", "prefix", "max_length", "complaint"),
    [
        ([], [], 8, "prompt: 0 tokens"),
        ([5] * 101, [], 8, "prompt: 101 tokens, but it must be 1 to 100"),
        ([64], [], 8, "prompt: a token id is outside"),
        ([-1], [], 8, "prompt: a token id is outside"),
        ([5], [64], 8, "prefix: a token id is outside"),
        ([5], [], 33, "max_length: 33 is more than this engine's 32"),
    ],
)
async def test_what_does_not_fit_is_refused_with_the_fields_name(
    stepped: MakeStepped, prompt: list[int], prefix: list[int], max_length: int, complaint: str
) -> None:
    engine = stepped(max_reply=32)
    with pytest.raises(ValueError, match=complaint):
        engine.submit(prompt, Sampling(max_length=max_length), prefix=prefix, budget_s=LONG_S)
    assert engine.idle


# --- leaving --------------------------------------------------------------------------------------------------------


async def test_a_reply_says_why_it_ended(stepped: MakeStepped) -> None:
    engine = stepped()
    complete, cut = engine.ask([2, 3, EOS], SHORT), engine.ask(ENDLESS, SHORT)
    while not engine.idle:
        engine.step()
    assert (await read(complete), complete.ending) == ([2, 3], "stop")
    assert (await read(cut), cut.ending) == ([7, 8, 9, 7, 8, 9, 7], "length")


async def test_cancelling_frees_the_slot_within_one_step(stepped: MakeStepped) -> None:
    engine = stepped(slots=1)
    cancelled, next_one = engine.ask(ENDLESS, LONG), aiter(engine.ask([12, EOS], SHORT))
    engine.step()
    cancelled.cancel()
    engine.step()
    assert await following(next_one) == [12]
    assert (engine.active, engine.waiting) == (1, 0)


async def test_cancelling_leaves_the_others_replies_alone(stepped: MakeStepped) -> None:
    engine = stepped(slots=3)
    prompts = [[10, 11, 12, 13, EOS], [20, 21, 22, 23, EOS], [30, 31, 32, 33, EOS]]
    replies = [engine.ask(prompt, SHORT) for prompt in prompts]
    engine.step()
    replies[0].cancel()
    while not engine.idle:
        engine.step()
    assert [await read(reply) for reply in replies[1:]] == [prompt[:-1] for prompt in prompts[1:]]


async def test_who_cancels_while_waiting_is_never_encoded(weights: Weights, monkeypatch: pytest.MonkeyPatch) -> None:
    models: list[Echo] = []

    def remembered(weights: Weights, *, slots: int, max_prompt: int, max_reply: int) -> Echo:
        models.append(Echo(weights, slots=slots, max_prompt=max_prompt, max_reply=max_reply))
        return models[-1]

    monkeypatch.setattr("serve_app.engine.engine.T5", remembered)
    engine = SteppedEngine(weights, slots=1, max_prompt=100, max_reply=100)
    engine.ask([2, 3, EOS], SHORT)
    engine.ask(ENDLESS, SHORT).cancel()
    while not engine.idle:
        engine.step()
    assert models[0].encoded == [[2, 3, EOS]]


async def test_the_deadline_ends_a_reply_that_runs(stepped: MakeStepped) -> None:
    clock = Clock()
    engine = stepped(clock=clock)
    late, other = engine.ask(ENDLESS, LONG, budget_s=10), aiter(engine.ask(ENDLESS, LONG))
    engine.step()
    clock.now += 9.9
    engine.step()
    clock.now += 0.1
    engine.step()
    assert (await read(late), late.ending) == ([7, 8], "deadline")
    assert engine.active == 1
    assert [await following(other) for _ in range(3)] == [[7], [8], [9]]


async def test_the_deadline_ends_a_reply_that_waits(stepped: MakeStepped) -> None:
    clock = Clock()
    engine = stepped(slots=1, clock=clock)
    engine.ask(ENDLESS, LONG)
    engine.step()
    late = engine.ask(ENDLESS, LONG, budget_s=1)
    engine.step()
    assert engine.waiting == 1
    clock.now += 1
    engine.step()
    assert (await read(late), late.ending) == ([], "deadline")
    assert (engine.active, engine.waiting) == (1, 0)


async def test_a_budget_that_is_used_up_already_ends_at_once(stepped: MakeStepped) -> None:
    engine = stepped()
    late = engine.ask(ENDLESS, LONG, budget_s=0)
    engine.step()
    assert (await read(late), late.ending) == ([], "deadline")


def test_a_reader_whose_event_loop_is_closed_loses_its_slot(stepped: MakeStepped) -> None:
    engine = stepped()

    async def ask() -> None:
        engine.ask(ENDLESS, LONG)

    asyncio.run(ask())
    engine.step()
    engine.step()
    assert engine.idle


async def test_throughput_counts_the_last_seconds(stepped: MakeStepped) -> None:
    clock = Clock()
    engine = stepped(clock=clock)
    assert engine.tokens_per_second == 0
    for _ in range(2):
        engine.ask(ENDLESS, LONG)
    for _ in range(10):
        engine.step()
    assert engine.tokens_per_second == 4  # 20 tokens in a window of 5 s
    clock.now += 6
    assert engine.tokens_per_second == 0


# --- progress ---------------------------------------------------------------------------------------------------------


async def test_an_idle_engine_is_not_stalled_and_one_with_work_is_since_its_last_step(stepped: MakeStepped) -> None:
    clock = Clock()
    engine = stepped(slots=2, clock=clock)
    clock.now += 100
    assert engine.stalled_s == 0
    first, second = engine.ask([2, 3, EOS], SHORT), engine.ask([4, EOS], SHORT)
    assert engine.stalled_s == 0, "work that has just come has not waited"
    clock.now += 7
    assert engine.stalled_s == 7
    engine.step()
    assert engine.stalled_s == 0
    clock.now += 2
    engine.ask([5, EOS], SHORT).cancel()
    assert engine.stalled_s == 2, "a newcomer does not hide that the others wait"
    while not engine.idle:
        engine.step()
    clock.now += 50
    assert engine.stalled_s == 0
    assert (await read(first), await read(second)) == ([2, 3], [4])


@pytest.mark.parametrize("hangs_in", ["encode", "step", "trie_logits"])
async def test_a_model_that_hangs_is_seen_while_it_hangs_and_not_afterwards(running: MakeEngine, hangs_in: str) -> None:
    entered, may_go_on = threading.Event(), threading.Event()
    original = getattr(Echo, hangs_in)

    class Hanging(Echo):
        pass

    def hang(self: Echo, *args: Any) -> Any:
        entered.set()
        assert may_go_on.wait(PATIENCE_S)
        return original(self, *args)

    setattr(Hanging, hangs_in, hang)
    engine = running(Hanging)
    candidates = [Candidate((2, 3, EOS))] if hangs_in == "trie_logits" else []
    reply = asyncio.create_task(answer(engine, [2, 3, EOS], SHORT, candidates=candidates))
    assert await asyncio.to_thread(entered.wait, PATIENCE_S)
    seen = engine.stalled_s
    engine.submit(ENDLESS, SHORT, budget_s=LONG_S).cancel()
    await asyncio.sleep(0.02)
    assert engine.stalled_s >= seen + 0.02
    may_go_on.set()
    assert await reply == ([2, 3], "stop")
    async with asyncio.timeout(PATIENCE_S):
        while engine.stalled_s:
            await asyncio.sleep(0)


async def test_an_engine_that_hangs_can_be_closed_and_its_readers_are_told(running: MakeEngine) -> None:
    """Serve closes it while it stops the replica, whose processor the next one needs."""
    entered, may_go_on = threading.Event(), threading.Event()

    class Hanging(Echo):
        def step(self, tokens: Sequence[int], counts: Sequence[int] | None = None) -> Tensor:
            entered.set()
            assert may_go_on.wait(PATIENCE_S)
            return super().step(tokens, counts)

    engine = running(Hanging)
    runs, waits = engine.submit(ENDLESS, LONG, budget_s=LONG_S), engine.submit(ENDLESS, LONG, budget_s=LONG_S)
    assert await asyncio.to_thread(entered.wait, PATIENCE_S)
    await asyncio.to_thread(engine.close, patience_s=0.01)
    for reply in (runs, waits):
        with pytest.raises(EngineFailed, match="closed while a step hung"):
            await read(reply)
    assert (engine.active, engine.waiting, engine.stalled_s) == (0, 0, 0)
    may_go_on.set()


# --- the thread -----------------------------------------------------------------------------------------------------


async def test_a_decoding_step_does_not_block_the_event_loop(running: MakeEngine) -> None:
    """The step ends only when the event loop has gone on meanwhile."""
    entered, may_end = threading.Event(), threading.Event()

    class Slow(Echo):
        def step(self, tokens: Sequence[int], counts: Sequence[int] | None = None) -> Tensor:
            entered.set()
            if not may_end.wait(PATIENCE_S):
                raise TimeoutError("the event loop stood still")
            return super().step(tokens, counts)

    reply = asyncio.create_task(answer(running(Slow), [2, 3, EOS], SHORT))
    assert await asyncio.to_thread(entered.wait, PATIENCE_S)
    may_end.set()
    assert await reply == ([2, 3], "stop")


async def test_an_idle_engine_wakes_up(running: MakeEngine) -> None:
    engine = running()
    for prompt in ([2, EOS], [3, EOS]):
        assert await answer(engine, prompt, SHORT) == (prompt[:-1], "stop")


@pytest.mark.parametrize("fails_in", ["encode", "fill", "step", "move"])
async def test_when_the_engine_fails_every_reader_is_told(
    running: MakeEngine, caplog: pytest.LogCaptureFixture, fails_in: str
) -> None:
    """A failing move once left the reader whose reply was just complete waiting for ever."""
    all_asked = threading.Event()

    class Failing(Echo):
        def step(self, tokens: Sequence[int], counts: Sequence[int] | None = None) -> Tensor:
            assert all_asked.wait(PATIENCE_S)
            return super().step(tokens, counts)

    def fail(*_: object, **__: object) -> None:
        raise RuntimeError("CUDA error: device-side assert triggered")

    setattr(Failing, fails_in, fail)
    engine = running(Failing, slots=2)
    with caplog.at_level(logging.CRITICAL, logger="ray.serve.godel"):
        replies = [engine.submit(ENDLESS, sampling, budget_s=LONG_S) for sampling in (SHORT, LONG, LONG)]
        all_asked.set()
        results = await asyncio.gather(*map(read, replies), return_exceptions=True)
    completed = fails_in == "move"
    assert [isinstance(result, EngineFailed) for result in results] == [not completed, True, True]
    assert "device-side assert" in str(engine.failure)
    assert (engine.active, engine.waiting) == (0, 0)
    with pytest.raises(EngineFailed, match="device-side assert"):
        engine.submit(ENDLESS, SHORT, budget_s=LONG_S)


async def test_what_the_engine_logs_reaches_serves_log_files(running: MakeEngine) -> None:
    """Serve's replicas write what reaches the logger ray.serve, and nothing else; the engine itself knows no Ray."""
    seen: list[logging.LogRecord] = []

    class Failing(Echo):
        def step(self, tokens: Sequence[int], counts: Sequence[int] | None = None) -> Tensor:
            raise RuntimeError("broken")

    class File(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            seen.append(record)

    handler = File()
    logging.getLogger("ray.serve").addHandler(handler)
    try:
        with pytest.raises(EngineFailed):
            await answer(running(Failing), ENDLESS, SHORT)
    finally:
        logging.getLogger("ray.serve").removeHandler(handler)
    assert [record.getMessage() for record in seen] == ["the engine's step loop failed"]
    for module in pkgutil.walk_packages(serve_app.engine.__path__, "serve_app.engine."):
        logger = getattr(importlib.import_module(module.name), "logger", None)
        assert logger is None or logger.name.startswith("ray.serve."), module.name


async def test_closing_ends_the_thread_and_fails_who_runs_and_who_waits(running: MakeEngine) -> None:
    engine = running(slots=1)
    runs, waits = engine.submit(ENDLESS, LONG, budget_s=LONG_S), engine.submit(ENDLESS, LONG, budget_s=LONG_S)
    await following(aiter(runs))
    await asyncio.to_thread(engine.close)
    for reply in (runs, waits):
        with pytest.raises(EngineFailed):
            await read(reply)
    with pytest.raises(EngineFailed, match="closed"):
        engine.submit(ENDLESS, LONG, budget_s=LONG_S)
    assert "engine" not in {thread.name for thread in threading.enumerate()}


async def test_closing_twice_is_harmless(running: MakeEngine) -> None:
    running().close()
