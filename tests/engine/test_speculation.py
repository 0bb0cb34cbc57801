"""Guesses from the prompt: what is guessed, what it may cost, and that no reply shows it (laws 2 and 3)."""

import random
from collections.abc import Callable, Sequence
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from bench.quality import evaluation_prompts
from serve_app.checkpoint import load_model, load_tokenizer, resolve
from serve_app.engine.backends.compiled import Compiled
from serve_app.engine.backends.eager import Eager
from serve_app.engine.backends.linear import Int8Linear
from serve_app.engine.backends.protocols import Backend
from serve_app.engine.speculation import FIXED, MOST, REPLY, Guesser
from serve_app.engine.token_stream import Ending, TokenStream
from serve_app.engine.weights import Weights, from_transformers
from serve_app.messages import Sampling
from serve_app.settings import AppArgs
from tests.engine.conftest import Journal, MakeStepped
from tests.engine.support import LONG_S, Echo, SteppedEngine, following, needs_compiled, random_prompts, read
from tests.support.checkpoints import EOS, random_t5

START = 0
PROMPT = [5, 6, 7, 8, 5, 6, 9, 10, 11, 12, 13, 14, 15, EOS]

# --- the guesses ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("reply", "guesses"),
    [
        ([8], [5, 6, 9, 10]),
        ([6], [9, 10, 11, 12]),  # of equal matches the last
        ([3, 8, 5, 6], [9, 10, 11, 12]),  # longer matches first
        ([3, 5, 6, 7], [8, 5, 6, 9]),
        ([14], [15]),  # and not the end of the prompt
        ([15], []),
        ([20], []),
    ],
)
def test_what_follows_the_longest_match_is_guessed(reply: list[int], guesses: list[int]) -> None:
    guesser = Guesser(PROMPT, [START, *reply], EOS)
    guesser.probability = 1
    assert guesser.guess(4, replies=1) == guesses


def test_a_copy_is_followed_and_left_where_it_ends() -> None:
    reply, seen = [START], []
    guesser = Guesser(PROMPT, reply, EOS)
    for token in (5, 6, 7, 20, 13):
        reply.append(token)
        guesser.learn(reply)
        guesser.probability = 1
        seen.append(guesser.guess(2, replies=1))
    assert seen == [[6, 9], [9, 10], [8, 5], [], [14, 15]]


def test_the_more_came_true_the_more_is_guessed_and_the_less_the_more_replies_share_a_step() -> None:
    prompt = [*range(2, 60), EOS]
    reply = [START, 2]
    guesser = Guesser(prompt, reply, EOS)
    lengths = []
    for token in range(3, 30):
        reply.append(token)
        guesser.learn(reply)
        lengths.append([len(guesser.guess(MOST, replies)) for replies in (1, 4, 16, 1000)])
    assert lengths == sorted(lengths)
    assert all(alone >= four >= sixteen >= many for alone, four, sixteen, many in lengths)
    assert lengths[-1] == [MOST] * 4


def decode(prompt: Sequence[int], reply: Sequence[int], replies: int) -> tuple[int, int, int]:
    """What the engine does with a reply that is known beforehand -> its steps, guesses and accepted ones."""
    written = [START]
    guesser = Guesser(prompt, written, EOS)
    steps = guessed = accepted = 0
    while len(written) <= len(reply):
        guesses = guesser.guess(min(MOST, len(reply) - len(written)), replies)
        steps, guessed = steps + 1, guessed + len(guesses)
        for guess in [*guesses, None]:
            written.append(reply[len(written) - 1])
            guesser.learn(written)
            if guess != written[-1]:
                break
            accepted += 1
    return steps, guessed, accepted


tokens = st.integers(2, 9)


@given(prompt=st.lists(tokens, min_size=1, max_size=60), reply=st.lists(tokens, min_size=1, max_size=40))
def test_steps_and_accepted_guesses_make_the_reply(prompt: list[int], reply: list[int]) -> None:
    steps, guessed, accepted = decode([*prompt, EOS], reply, replies=1)
    assert steps + accepted == len(reply)
    assert accepted <= guessed <= MOST * steps


def cost(replies: int, steps: int, guessed: int) -> float:
    """In the time of a guess's row, for one of so many replies."""
    return steps * (FIXED + REPLY * replies) / replies + guessed


@given(replies=st.sampled_from([1, 2, 4, 8, 16, 64]), reply=st.lists(tokens, min_size=12, max_size=40))
def test_where_every_guess_is_wrong_it_costs_three_percent_at_most(replies: int, reply: list[int]) -> None:
    """After each of its tokens the prompt has one that never comes."""
    prompt = [token for pair in zip(range(2, 10), range(12, 20), strict=True) for token in pair] * 2
    steps, guessed, accepted = decode([*prompt, EOS], reply, replies)
    assert (steps, accepted) == (len(reply), 0)
    assert cost(replies, steps, guessed) <= 1.03 * cost(replies, steps, 0)


@pytest.mark.parametrize("replies", [1, 4, 16, 64])
def test_where_guesses_come_true_by_chance_it_costs_three_percent_at_most(replies: int) -> None:
    """With whatever probability; where that is high it saves time."""
    chance = random.Random(0)
    prompt = [*range(2, 60), EOS]
    ratios = []
    for tenths in range(11):
        spent = without = 0.0
        for _ in range(200):
            reply = [2]
            while len(reply) < 32:  # the next token of the prompt, or any
                reply.append(reply[-1] + 1 if chance.random() * 10 < tenths else chance.randrange(2, 28))
            steps, guessed, _ = decode(prompt, reply, replies)
            spent, without = spent + cost(replies, steps, guessed), without + cost(replies, len(reply), 0)
        ratios.append(spent / without)
    assert max(ratios) <= 1.03
    assert ratios[-1] < 0.75


# --- the engine, around a model that echoes its prompt --------------------------------------------------------------

LONG = Sampling().model_copy(update={"max_length": 10_000})
ECHOED = [*range(2, 42), EOS]


@pytest.fixture
def guessing(stepped: MakeStepped, weights: Weights, monkeypatch: pytest.MonkeyPatch) -> MakeStepped:
    """Stepped engines that speculate, whatever the backend."""
    monkeypatch.setattr(type(weights.backend), "rows_are_exact", True)
    return lambda **sizes: stepped(**{"speculative": True} | sizes)


async def test_a_copied_reply_takes_few_steps_and_each_token_is_counted_once(guessing: MakeStepped) -> None:
    engine = guessing()
    reply = engine.ask(ECHOED, LONG)
    while not engine.idle:
        engine.step()
    assert (await read(reply), reply.ending) == (ECHOED[:-1], "stop")
    totals = engine.totals
    assert totals.tokens == reply.times.tokens == len(ECHOED)
    assert sum(totals.steps) == len(ECHOED) - totals.accepted < len(ECHOED) / 3
    assert totals.accepted == totals.guessed, "the prompt ends where the reply does, and all before is copied"


@pytest.mark.parametrize("max_length", [2, 3, 11, 12, 13, 22])
async def test_guesses_end_at_max_length(guessing: MakeStepped, journal: Journal, max_length: int) -> None:
    engine = guessing(slots=1)
    reply = engine.ask(ECHOED, Sampling(max_length=max_length))
    while not engine.idle:
        engine.step()
    assert (await read(reply), reply.ending) == (ECHOED[: max_length - 1], "length")
    assert sum(rows for what, rows in journal if what == "step") == max_length - 1, "no row is beyond the reply"


async def test_the_tokens_of_a_step_arrive_together(guessing: MakeStepped) -> None:
    engine = guessing()
    reply = aiter(engine.ask(ECHOED, LONG))
    pieces = []
    for _ in range(4):
        engine.step()
        pieces.append(await following(reply))
    assert [token for piece in pieces for token in piece] == ECHOED[: sum(map(len, pieces))]
    assert len(pieces[0]) == 1 < len(pieces[-1])


async def test_who_cancels_between_two_steps_gets_no_more(guessing: MakeStepped) -> None:
    engine = guessing()
    replies = [engine.ask(ECHOED, LONG) for _ in range(2)]
    for _ in range(3):
        engine.step()
    replies[0].cancel()
    engine.step()
    assert engine.active == 1
    while not engine.idle:
        engine.step()
    assert await read(replies[1]) == ECHOED[:-1]


async def test_a_row_behind_a_wrong_guess_harms_nobody(guessing: MakeStepped, monkeypatch: pytest.MonkeyPatch) -> None:
    """It may have no finite logits, as it continues a text that nobody wrote. Where it is right, its reply fails, with
    all tokens before."""

    class Failing(Echo):
        """After token 13 nothing is finite; after 8, all slots once again begin with 30."""

        def step(self, tokens: Sequence[int], counts: Sequence[int] | None = None) -> torch.Tensor:
            logits = super().step(tokens, counts)
            for row, token in zip(logits, tokens, strict=True):
                if token == 13:
                    row[:] = torch.nan
                if token == 8:
                    row[30] = 2
            return logits

    monkeypatch.setattr("serve_app.engine.engine.T5", Failing)
    engine = guessing(slots=2)
    wrong = [2, 3, 4, 5, 6, 7, 8, 13, 14, 15, 16, 17, 18, EOS]  # 13 is guessed, and is not what comes
    right = [20, 21, 22, 23, 24, 25, 13, 14, EOS]
    replies = [engine.ask(prompt, LONG) for prompt in (wrong, right)]
    while not engine.idle:
        engine.step()
    assert await read(replies[0]) == [2, 3, 4, 5, 6, 7, 8, 30, 14, 15, 16, 17, 18]
    seen: list[int] = []
    with pytest.raises(Exception, match="not finite"):
        async for some in replies[1]:
            seen += some
    assert seen == [20, 21, 22, 23, 24, 25, 13]


# --- the same replies, bit for bit ----------------------------------------------------------------------------------

SLOTS = 8
STYLES: list[dict[str, Any]] = [
    {},
    {"repetition_penalty": 1.3},
    {"no_repeat_ngram_size": 2},
    {"min_length": 24},
    {"do_sample": True, "temperature": 1.3, "top_p": 0.9},
    {"do_sample": True, "top_k": 20, "repetition_penalty": 1.2},
    {"do_sample": True, "min_length": 20, "no_repeat_ngram_size": 2},
]
ASKED = [
    (prompt, Sampling.model_validate({"max_length": 24 + i, "seed": i} | STYLES[i % len(STYLES)]))
    for i, prompt in enumerate(
        [*random_prompts(range(3, 40, 3)), [5, 6, 7] * 9, [9] * 20, [4, 5] * 8, *random_prompts([30] * 5, seed=2)]
    )
]
Reply = tuple[list[int], Ending | None]


@pytest.fixture(scope="module", params=["relu", "gated-gelu"])
def exact(request: pytest.FixtureRequest) -> Weights:
    """Of the backend that claims exact rows."""
    return from_transformers(random_t5(d_kv=12, feed_forward_proj=request.param), Compiled())


@pytest.fixture
def texts(monkeypatch: pytest.MonkeyPatch) -> dict[tuple[int, ...], list[int]]:
    """Prompt -> the text that the engine's guesses are taken from. A random model does not copy its prompt."""
    texts: dict[tuple[int, ...], list[int]] = {}

    def guesser(prompt: Sequence[int], reply: Sequence[int], eos_token: int) -> Guesser:
        return Guesser(texts.get(tuple(prompt), prompt), reply, eos_token)

    monkeypatch.setattr("serve_app.engine.engine.Guesser", guesser)
    return texts


def made(weights: Weights, **sizes: Any) -> SteppedEngine:
    return SteppedEngine(weights, **{"slots": SLOTS, "max_prompt": 64, "max_reply": 64, "max_waiting": 100} | sizes)


async def finish(engine: SteppedEngine, replies: Sequence[TokenStream]) -> list[Reply]:
    while not engine.idle:
        engine.step()
    return [(await read(reply), reply.ending) for reply in replies]


async def one_by_one(weights: Weights) -> list[Reply]:
    engine = made(weights, slots=1)
    return await finish(engine, [engine.ask(*asked) for asked in ASKED])


def spoilt(reply: Sequence[int], chance: random.Random) -> list[int]:
    return [token if chance.random() < 0.8 else chance.randrange(2, 64) for token in reply]


@needs_compiled
@pytest.mark.parametrize("seed", range(3))
async def test_replies_are_the_same_in_any_company(
    exact: Weights, texts: dict[tuple[int, ...], list[int]], seed: int
) -> None:
    """Greedy and sampled, with all settings, side by side; about four fifths of the guesses come true."""
    chance = random.Random(seed)
    expected = await one_by_one(exact)
    for (prompt, _), (reply, _) in zip(ASKED, expected, strict=True):
        texts[tuple(prompt)] = [*spoilt(reply, chance), EOS]
    engine = made(exact, speculative=True, prefill_tokens=60)
    replies: dict[int, TokenStream] = {}
    for index in chance.sample(range(len(ASKED)), len(ASKED)):
        replies[index] = engine.ask(*ASKED[index])
        cancelled = engine.ask(*chance.choice(ASKED)) if chance.random() < 0.3 else None
        for _ in range(chance.randrange(3)):
            engine.step()
        if cancelled:
            cancelled.cancel()
    assert await finish(engine, [replies[index] for index in range(len(ASKED))]) == expected
    assert 50 < engine.totals.accepted < engine.totals.guessed - 20


@needs_compiled
async def test_a_prefix_is_read_in_few_steps_and_continued_as_if_it_had_been_written_here(exact: Weights) -> None:
    for (prompt, sampling), (tokens, ending) in list(zip(ASKED, await one_by_one(exact), strict=True))[::3]:
        for split in range(0, len(tokens) + 1, 5):
            engine = made(exact, slots=1, speculative=True)
            reply = engine.submit(prompt, sampling, prefix=tokens[:split], budget_s=LONG_S)
            assert await finish(engine, [reply]) == [(tokens[split:], ending)]
            written = len(tokens) - split + (ending == "stop")
            assert engine.totals.tokens == written
            assert sum(engine.totals.steps) <= written + split // (1 + MOST)


@needs_compiled
async def test_the_shipped_model_copies_and_so_takes_half_the_steps() -> None:
    """What `python -m bench.speculation` measures, on a few of its prompts."""
    checkpoint = resolve(AppArgs(model="models/mini"))
    weights, tokenizer = from_transformers(load_model(checkpoint), Compiled()), load_tokenizer(checkpoint)
    prompts = evaluation_prompts(tokenizer)[:16]
    steps, replies = [], []
    for speculative in (False, True):
        engine = made(weights, slots=1, max_prompt=512, speculative=speculative)
        replies.append(await finish(engine, [engine.ask(prompt, Sampling(max_length=64)) for prompt in prompts]))
        steps.append(sum(engine.totals.steps))
    assert replies[0] == replies[1]
    assert steps[1] < 0.6 * steps[0]


@pytest.mark.parametrize("backend", [Eager, lambda: Eager(Int8Linear)], ids=["float32", "int8"])
async def test_without_exact_rows_nothing_is_guessed(backend: Callable[[], Backend]) -> None:
    engine = made(from_transformers(random_t5(), backend()), speculative=True)
    await finish(engine, [engine.ask([START, 9] * 10, Sampling(max_length=30))])  # the reply's first token stands there
    assert engine.totals.guessed == 0
