"""A reply that is one of given candidates: the laws of the engine, and transformers as the reference."""

import asyncio
import logging
from collections.abc import Callable
from typing import Any

import pytest
import torch

from serve_app.engine.backends.compiled import Compiled
from serve_app.engine.backends.eager import Eager
from serve_app.engine.backends.linear import HalfLinear, Int8Linear
from serve_app.engine.backends.protocols import Backend
from serve_app.engine.engine import Engine
from serve_app.engine.errors import EngineFailed, QueueFull
from serve_app.engine.sampling import scores
from serve_app.engine.t5 import T5
from serve_app.engine.token_stream import Ending, TokenStream
from serve_app.engine.trie import MAX_TOKENS, Trie, make_trie
from serve_app.engine.weights import Weights, from_transformers
from serve_app.messages import Candidate, Sampling
from tests.engine.backends.test_cuda_graphs import run_again
from tests.engine.conftest import Journal, MakeEngine, MakeStepped
from tests.engine.support import (
    LONG_S,
    Clock,
    Echo,
    SteppedEngine,
    answer,
    following,
    needs_compiled,
    random_candidates,
    random_prompts,
    read,
)
from tests.engine.test_parity import MODELS
from tests.support.checkpoints import EOS, PAD, initial_t5, random_t5

GREEDY = Sampling(max_length=16)
SAMPLED = Sampling(max_length=16, do_sample=True, temperature=2.0, top_p=1.0, seed=3)
LONG = Sampling().model_copy(update={"max_length": 1_000_000})  # more than a request may ask for
ENDLESS = [7, 8, 9]
PLAIN = [Candidate((5, 6, EOS)), Candidate((5, 8, EOS)), Candidate((9, EOS))]


def reference(model: Any, prompt: list[int], candidates: list[Candidate]) -> torch.Tensor:
    """Each candidate alone through transformers, teacher-forced: its log-probability among the tokens that the others
    allow at each place, plus its bonus."""
    totals = []
    for candidate in candidates:
        tokens = candidate.token_ids
        inputs = {"input_ids": torch.tensor([prompt]), "decoder_input_ids": torch.tensor([[PAD, *tokens[:-1]]])}
        with torch.no_grad():
            logits = model(**inputs).logits[0].double()
        total = candidate.bonus
        for place, token in enumerate(tokens):
            allowed = {c.token_ids[place] for c in candidates if c.token_ids[:place] == tokens[:place]}
            total += float(logits[place, token] - logits[place, sorted(allowed)].logsumexp(dim=0))
        totals.append(total)
    return torch.tensor(totals, dtype=torch.float64)


@torch.inference_mode()
def computed(weights: Weights, prompt: list[int], candidates: list[Candidate]) -> torch.Tensor:
    model = T5(weights, slots=1, max_prompt=64, max_reply=32)
    trie = make_trie(candidates, weights.shape.start_token)
    return scores(model.trie_logits(trie, model.encode([prompt])[0]), trie)


def tokens_of(candidate: Candidate) -> list[int]:
    """As a reply has them."""
    return list(candidate.token_ids[:-1])


# --- against transformers -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("config", MODELS.values(), ids=MODELS.keys())
async def test_scores_and_choice_equal_transformers(config: dict[str, Any]) -> None:
    model = random_t5(seed=3, **config)
    weights = from_transformers(model)
    engine = Engine(weights, slots=4, max_prompt=64, max_reply=32)
    choices = set()
    try:
        for number, prompt in enumerate(random_prompts([1, 9, 30, 50])):
            candidates = random_candidates(24, seed=number)
            expected = reference(model, prompt, candidates)
            torch.testing.assert_close(computed(weights, prompt, candidates), expected, rtol=1e-4, atol=1e-4)
            best = candidates[int(expected.argmax())]
            assert await answer(engine, prompt, GREEDY, candidates=candidates) == (tokens_of(best), "stop")
            choices.add(best)
    finally:
        engine.close()
    assert len(choices) > 1


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_halves_are_close_to_float32(dtype: torch.dtype) -> None:
    model = initial_t5(d_model=64, d_kv=16, d_ff=128)
    (prompt,), candidates = random_prompts([20]), random_candidates(24)
    halves = Eager(lambda w, _, relu: HalfLinear(dtype, w, relu), kv_dtype=dtype, capture=run_again)
    close = computed(from_transformers(model, halves), prompt, candidates)
    torch.testing.assert_close(close, reference(model, prompt, candidates), rtol=0, atol=0.2)


@needs_compiled
def test_compiled_int8_is_as_close_to_eager_int8_as_rounding_lets_it_be() -> None:
    """Their products are equal bit for bit; norms, the encoder's attention and sums of layers are rounded otherwise."""
    model = initial_t5(d_model=64, d_kv=16, d_ff=128)
    (prompt,), candidates = random_prompts([20]), random_candidates(24)
    ours, theirs = (
        computed(from_transformers(model, made), prompt, candidates) for made in (Compiled(), Eager(Int8Linear))
    )
    torch.testing.assert_close(ours, theirs, rtol=1e-2, atol=1e-2)
    torch.testing.assert_close(ours, reference(model, prompt, candidates), rtol=0, atol=0.2)


# --- the laws, in every backend ----------------------------------------------------------------------------------


async def test_a_choice_is_the_same_alone_and_in_any_company(weights: Weights) -> None:
    """Law 2. Others write freely and choose beside it, join and leave, or are cancelled."""
    prompts = random_prompts(range(2, 50, 3))
    choosing = {number: random_candidates(12, seed=number) for number in range(0, len(prompts), 2)}
    for sampling in (GREEDY, SAMPLED):
        expected = []
        for number, prompt in enumerate(prompts):
            engine = SteppedEngine(weights, slots=1, max_prompt=64, max_reply=32)
            expected.append(await finished(engine, [engine.ask(prompt, sampling, candidates=choosing.get(number, ()))]))
        engine = SteppedEngine(weights, slots=len(prompts), max_prompt=64, max_reply=32, prefill_tokens=64)
        replies = []
        for number, prompt in enumerate(prompts):
            replies.append(engine.ask(prompt, sampling, candidates=choosing.get(number, ())))
            if number % 3 == 0:
                engine.ask(prompt, GREEDY, candidates=choosing.get(number, ())).cancel()
            if number % 2:
                engine.step()
        together = await finished(engine, replies)
        assert together == [reply for (reply,) in expected]
        assert len({tokens for tokens, _ in together[::2]}) > 1


async def finished(engine: SteppedEngine, replies: list[TokenStream]) -> list[tuple[tuple[int, ...], Ending | None]]:
    while not engine.idle:
        engine.step()
    return [(tuple(await read(reply)), reply.ending) for reply in replies]


async def test_a_seed_makes_a_drawn_choice_repeatable_on_any_replica(
    weights: Weights, make_backend: Callable[[], Backend]
) -> None:
    """Law 3. The other replica is of another size, and busy."""
    same = from_transformers(random_t5(d_kv=12), make_backend())
    other = SteppedEngine(same, slots=3, max_prompt=50, max_reply=90)
    other.ask(random_prompts([9])[0], GREEDY)
    other.step()
    engine = SteppedEngine(weights, slots=1, max_prompt=64, max_reply=32)
    (prompt,), candidates = random_prompts([12]), random_candidates(12)
    replies: list[list[Any]] = [[], []]
    for seed in range(20):
        sampling = SAMPLED.model_copy(update={"seed": seed})
        for asked, found in zip((engine, other), replies, strict=True):
            found += await finished(asked, [asked.ask(prompt, sampling, candidates=candidates)])
    assert replies[0] == replies[1]
    assert len(set(replies[0])) > 3


@pytest.mark.parametrize("sampling", [GREEDY, SAMPLED], ids=["greedy", "sampled"])
async def test_after_a_failover_the_rest_of_the_same_choice_is_written(weights: Weights, sampling: Sampling) -> None:
    engine = Engine(weights, slots=2, max_prompt=64, max_reply=32)
    (prompt,), candidates = random_prompts([12]), random_candidates(12)
    try:
        tokens, ending = await answer(engine, prompt, sampling, candidates=candidates)
        assert len(tokens) > 1
        for split in range(len(tokens) + 1):
            rest = await answer(engine, prompt, sampling, tokens[:split], candidates)
            assert rest == (tokens[split:], ending)
    finally:
        engine.close()


async def test_choosing_leaves_the_slots_alone(weights: Weights) -> None:
    """Recorded steps too, whose memory is used again."""
    (prompt, other), candidates = random_prompts([20, 31]), random_candidates(12)
    for same in (weights, from_transformers(random_t5(d_kv=12), Eager(capture=run_again))):
        engine = SteppedEngine(same, slots=2, max_prompt=64, max_reply=32)
        undisturbed = await finished(engine, [engine.ask(prompt, GREEDY)])
        reply = engine.ask(prompt, GREEDY)
        engine.step()
        while engine.active:
            engine.ask(other, GREEDY, candidates=candidates)
            engine.step()
        assert await finished(engine, [reply]) == undisturbed


async def test_a_gpu_chooses_what_a_cpu_chooses() -> None:
    """Its path with the recording of graphs faked."""
    model, candidates = random_t5(seed=3), random_candidates(12)
    for prompt in random_prompts([5, 20, 40]):
        found = []
        for backend in (Eager(), Eager(capture=run_again)):
            engine = SteppedEngine(from_transformers(model, backend), slots=3, max_prompt=64, max_reply=32)
            found.append(await finished(engine, [engine.ask(prompt, SAMPLED, candidates=candidates)]))
        assert found[0] == found[1]


# --- around a model that echoes its prompt ----------------------------------------------------------------------------


async def test_a_choice_comes_in_one_piece_and_takes_no_decoding_step(stepped: MakeStepped, journal: Journal) -> None:
    engine = stepped()
    reply = engine.ask([5, 8, EOS], GREEDY, candidates=PLAIN)
    engine.step()
    assert await following(aiter(reply)) == [5, 8]
    assert (reply.ending, engine.idle) == ("stop", True)
    assert journal == [("encode", 3), ("trie_logits", 3)]


async def test_a_choice_waits_for_no_slot(stepped: MakeStepped) -> None:
    engine = stepped(slots=2)
    first, *_ = (aiter(engine.ask(ENDLESS, LONG)) for _ in range(3))
    engine.step()
    reply = engine.ask([9, EOS], GREEDY, candidates=PLAIN)
    engine.step()
    assert (await read(reply), reply.ending) == ([9], "stop")
    assert [await following(first) for _ in range(2)] == [[7], [8]]
    assert (engine.active, engine.waiting) == (2, 1)


async def test_those_who_run_wait_for_a_bounded_number_of_choices(stepped: MakeStepped, journal: Journal) -> None:
    """A choice costs its prompt, once more a quarter of it, and its trie's nodes: here 16 + 4 + 2, later without 16."""
    engine = stepped(slots=8, prefill_tokens=50, encoding_cache_bytes=10**6)
    engine.ask(ENDLESS, LONG)
    engine.step()
    journal.clear()
    for token in (5, 6, *[7] * 9):
        engine.ask([token] * 15 + [EOS], GREEDY, candidates=PLAIN)
    rounds: list[list[str]] = []
    for _ in range(3):
        engine.step()
        rounds.append([what for what, _ in journal])
        journal.clear()
    assert rounds == [
        ["encode", "trie_logits", "trie_logits", "step"],
        ["encode", *["trie_logits"] * 5, "step"],
        [*["trie_logits"] * 4, "step"],
    ]


async def test_any_mixture_gets_each_their_own_reply(stepped: MakeStepped) -> None:
    engine = stepped(slots=2, prefill_tokens=12)
    prompts = [[10 * i + j for j in range(1, 6)][: 2 + i % 3] + [EOS] for i in range(1, 6)]
    candidates = [Candidate(tuple(prompt)) for prompt in prompts]
    replies = []
    for number, prompt in enumerate(prompts * 4):
        replies.append(engine.ask(prompt, GREEDY, candidates=candidates if number % 3 else ()))
        engine.step()
    assert await finished(engine, replies) == [(tuple(prompt[:-1]), "stop") for prompt in prompts * 4]


async def test_who_cancels_or_is_late_is_neither_encoded_nor_chosen_for(stepped: MakeStepped, journal: Journal) -> None:
    clock = Clock()
    engine = stepped(clock=clock)
    engine.ask([5, 6, EOS], GREEDY, candidates=PLAIN).cancel()
    late = engine.ask([5, 6, EOS], GREEDY, budget_s=1, candidates=PLAIN)
    clock.now += 1
    engine.step()
    assert (await read(late), late.ending) == ([], "deadline")
    assert (journal, engine.idle) == ([], True)


async def test_the_queue_is_bounded_for_choices_too(stepped: MakeStepped) -> None:
    engine = stepped(slots=1)
    for _ in range(2):
        engine.ask([5, 6, EOS], GREEDY, candidates=PLAIN)
    with pytest.raises(QueueFull):
        engine.ask([5, 6, EOS], GREEDY, candidates=PLAIN)
    engine.step()
    engine.ask([5, 6, EOS], GREEDY, candidates=PLAIN)


async def test_a_choice_is_counted_while_it_is_made_and_its_tokens_afterwards(
    weights: Weights, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen = []

    class Watched(Echo):
        def trie_logits(self, trie: Trie, encoding: torch.Tensor) -> torch.Tensor:
            seen.append(engine.active)
            return super().trie_logits(trie, encoding)

    monkeypatch.setattr("serve_app.engine.engine.T5", Watched)
    engine = SteppedEngine(weights, slots=1, max_prompt=100, max_reply=100, clock=Clock())
    for _ in range(2):
        engine.ask([5, 8, EOS], GREEDY, candidates=PLAIN)
    engine.step()
    assert (seen, engine.active) == ([2, 1], 0)
    assert engine.tokens_per_second == 6 / 5  # in a window of 5 s


async def test_a_single_candidate_is_chosen(stepped: MakeStepped) -> None:
    engine = stepped()
    reply = engine.ask([9, 9, EOS], GREEDY, candidates=PLAIN[:1])
    engine.step()
    assert await read(reply) == [5, 6]


async def test_bonuses_decide_where_the_model_is_indifferent(stepped: MakeStepped) -> None:
    engine = stepped()
    for bonus, expected in ((-1.0, [5, 6]), (2.0, [9])):
        reply = engine.ask([60, EOS], GREEDY, candidates=[*PLAIN[:2], Candidate((9, EOS), bonus)])
        engine.step()
        assert await read(reply) == expected


async def test_when_choosing_fails_every_reader_is_told(running: MakeEngine, caplog: pytest.LogCaptureFixture) -> None:
    class Failing(Echo):
        def trie_logits(self, trie: Trie, encoding: torch.Tensor) -> torch.Tensor:
            raise RuntimeError("CUDA error: device-side assert triggered")

    engine = running(Failing, slots=2)
    with caplog.at_level(logging.CRITICAL, logger="ray.serve.godel"):
        replies = [
            engine.submit(ENDLESS, LONG, candidates=candidates, budget_s=LONG_S) for candidates in (PLAIN, PLAIN, ())
        ]
        results = await asyncio.gather(*map(read, replies), return_exceptions=True)
    assert [type(result) for result in results] == [EngineFailed] * 3
    assert "device-side assert" in str(engine.failure)
    assert (engine.active, engine.waiting) == (0, 0)


@pytest.mark.parametrize(
    ("candidates", "prefix", "complaint"),
    [
        ([(5, 6)], [], "candidates: each must end with the end-of-sequence token 1, and hold no other"),
        ([(5, EOS, 6, EOS)], [], "candidates: each must end with"),
        ([()], [], "candidates: each must end with"),
        ([(5, EOS), (5, EOS)], [], "candidates: two of them are the same"),
        ([(64, EOS)], [], "candidates: a token id is outside"),
        ([(-1, EOS)], [], "candidates: a token id is outside"),
        ([(5,) * 15 + (EOS,)], [], "candidates: one of 16 tokens, but max_length allows 15"),
        ([(n, m, EOS) for n in range(2, 42) for m in range(2, 42)], [], f"candidates: 4800 tokens .* {MAX_TOKENS}"),
        ([(5, 6, EOS), (7, EOS)], [5, 7], "prefix: none of the candidates begins with it"),
        ([(5, EOS)], [5, 6], "prefix: none of the candidates begins with it"),
    ],
    ids=lambda value: str(value)[:30],
)
async def test_candidates_that_do_not_fit_are_refused_with_their_name(
    stepped: MakeStepped, candidates: list[tuple[int, ...]], prefix: list[int], complaint: str
) -> None:
    engine = stepped()
    with pytest.raises(ValueError, match=complaint):
        engine.submit([5, EOS], GREEDY, candidates=[*map(Candidate, candidates)], prefix=prefix, budget_s=LONG_S)
    assert engine.idle
