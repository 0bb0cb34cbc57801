"""The choice of the next token equals transformers' logits processors and warpers, in transformers' order."""

import math
from collections.abc import Sequence
from typing import Any

import pytest
import torch
from torch import Tensor
from transformers import (
    LogitsProcessorList,
    MinLengthLogitsProcessor,
    NoRepeatNGramLogitsProcessor,
    RepetitionPenaltyLogitsProcessor,
    TemperatureLogitsWarper,
    TopKLogitsWarper,
    TopPLogitsWarper,
)

from serve_app.engine.errors import ReplyFailed
from serve_app.engine.sampling import Context, choose_candidate, draw, kept, process, sample, uniform
from serve_app.engine.trie import make_trie
from serve_app.messages import Candidate, Sampling
from tests.support.checkpoints import EOS

VOCABULARY = 1000  # far more than the 128 candidates that are sorted at first
# Spread of the logits: a few likely tokens; a nucleus around the 128; nearly all tokens alike, so past the 128.
SPREADS = {"peaked": 6.0, "mixed": 2.0, "flat": 0.3}


def random_logits(spread: float, seed: int = 0) -> Tensor:
    return torch.randn(VOCABULARY, generator=torch.Generator().manual_seed(seed)) * spread


def written(length: int, seed: int = 0) -> list[int]:
    """A reply of few different tokens, so that n-grams repeat."""
    tokens = torch.randint(2, 5, (length - 1,), generator=torch.Generator().manual_seed(seed)).tolist()
    return [0, *tokens]


def transformers_processed(row: Tensor, context: Context) -> Tensor:
    sampling = context.sampling
    processors = LogitsProcessorList([RepetitionPenaltyLogitsProcessor(sampling.repetition_penalty)])
    if sampling.no_repeat_ngram_size:
        processors.append(NoRepeatNGramLogitsProcessor(sampling.no_repeat_ngram_size))
    processors.append(MinLengthLogitsProcessor(sampling.min_length, EOS))
    return _run(processors, row, context.tokens)


def transformers_warped(row: Tensor, sampling: Sampling) -> Tensor:
    warpers = LogitsProcessorList([TemperatureLogitsWarper(sampling.temperature)])
    if sampling.top_k:
        warpers.append(TopKLogitsWarper(sampling.top_k))
    if sampling.top_p < 1:
        warpers.append(TopPLogitsWarper(sampling.top_p))
    return _run(warpers, row, [0])


def _run(processors: LogitsProcessorList, row: Tensor, tokens: Sequence[int]) -> Tensor:
    processed: Tensor = processors(torch.LongTensor([tokens]), torch.FloatTensor(row[None].clone()))
    return processed[0]


# --- processors -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"repetition_penalty": 1.7},
        {"repetition_penalty": 0.5},
        *({"no_repeat_ngram_size": size} for size in (1, 2, 3, 4, 50)),
        {"min_length": 13},
        {"repetition_penalty": 1.2, "no_repeat_ngram_size": 2, "min_length": 20},
    ],
    ids=str,
)
@pytest.mark.parametrize("length", [1, 2, 12, 13, 40])
def test_processors_equal_transformers(settings: dict[str, Any], length: int) -> None:
    context = Context(Sampling(**settings), written(length))
    row = random_logits(2.0, seed=length)
    expected = transformers_processed(row, context)
    process(row, context, EOS)
    assert torch.equal(row, expected)


def test_each_row_has_its_own_settings() -> None:
    logits = torch.stack([random_logits(1.0, seed) for seed in range(3)])
    contexts = [
        Context(Sampling(), [0]),
        Context(Sampling(repetition_penalty=3, no_repeat_ngram_size=1), written(30)),
        Context(Sampling(min_length=5), written(3)),
    ]
    rows = zip(logits, contexts, strict=True)
    expected = [int(transformers_processed(row, context).argmax()) for row, context in rows]
    assert sample(logits, contexts, EOS) == expected


# --- what is kept ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("spread", SPREADS.values(), ids=SPREADS.keys())
@pytest.mark.parametrize("top_k", [0, 1, 5, 127, 128, 129, 400, 2 * VOCABULARY])
@pytest.mark.parametrize("top_p", [0.01, 0.5, 0.9, 0.99, 1.0])
def test_the_kept_tokens_and_their_probabilities_equal_transformers(spread: float, top_k: int, top_p: float) -> None:
    sampling = Sampling(do_sample=True, seed=0, temperature=0.7, top_k=top_k, top_p=top_p)
    row = random_logits(spread)
    expected = transformers_warped(row, sampling)
    scores, tokens = kept(row / sampling.temperature, sampling)
    assert set(tokens.tolist()) == set(expected.isfinite().nonzero().flatten().tolist())
    probabilities = torch.zeros(VOCABULARY).scatter(0, tokens, scores.softmax(dim=-1))
    torch.testing.assert_close(probabilities, expected.softmax(dim=-1))


def test_the_nucleus_is_found_on_both_sides_of_the_first_candidates() -> None:
    """The test above sees the fast path and the fallback, for the same top_p."""
    counts = {len(kept(random_logits(spread), Sampling(top_p=0.9))[1]) for spread in SPREADS.values()}
    assert min(counts) < 128 < max(counts)


def test_tokens_that_were_ruled_out_stay_out() -> None:
    row = torch.full((VOCABULARY,), -math.inf)
    row[[7, 70]] = torch.tensor([0.0, 1.0])
    sampling = Sampling(do_sample=True, seed=0, top_k=10, top_p=1)
    assert {draw(row, sampling, step / 50) for step in range(50)} == {7, 70}


def test_equal_scores_are_told_apart_the_same_way_each_time() -> None:
    """Where transformers keeps all that tie with the k-th, exactly k stay here; which ones never changes."""
    sampling = Sampling(do_sample=True, seed=0, top_k=3, top_p=1)
    first = kept(torch.zeros(VOCABULARY), sampling)[1].tolist()
    assert len(set(first)) == 3
    assert all(kept(torch.zeros(VOCABULARY), sampling)[1].tolist() == first for _ in range(5))
    assert len(kept(torch.zeros(VOCABULARY), Sampling(top_p=0.2495))[1]) == VOCABULARY / 4


# --- the draw -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("varied", ["position", "seed"])
@pytest.mark.parametrize("settings", [{"top_p": 1.0}, {"top_p": 0.8}, {"top_k": 6, "temperature": 1.5}], ids=str)
def test_draws_are_distributed_as_transformers_probabilities(varied: str, settings: dict[str, Any]) -> None:
    """Pearson's chi-square over the positions of one reply, and over the replies of many seeds."""
    row = random_logits(1.5)[:12]
    sampling = Sampling(do_sample=True, seed=11, **settings)
    draws = 3000
    if varied == "position":
        contexts = [Context(sampling, [0] * length) for length in range(1, draws + 1)]
    else:
        contexts = [Context(sampling.model_copy(update={"seed": seed}), [0]) for seed in range(draws)]
    numbers = [uniform(context.sampling, len(context.tokens)) for context in contexts]
    drawn = torch.tensor([draw(row, sampling, number) for number in numbers])
    expected = transformers_warped(row, sampling).softmax(dim=-1) * draws
    observed = torch.bincount(drawn, minlength=len(row))
    possible = expected > 0
    assert observed[~possible].sum() == 0
    statistic = ((observed - expected)[possible] ** 2 / expected[possible]).sum()
    assert statistic < chi_square_quantile(int(possible.sum()) - 1)


def chi_square_quantile(freedom: int, normal_quantile: float = 3.09) -> float:
    """99.9 % of the statistic lies below (Wilson and Hilferty 1931)."""
    spread = 2 / (9 * freedom)
    return freedom * (1 - spread + normal_quantile * math.sqrt(spread)) ** 3


@pytest.mark.parametrize("number", [0.0, 0.25, 1 - 2**-53])
def test_any_uniform_number_draws_a_kept_token(number: float) -> None:
    row = random_logits(2.0)
    sampling = Sampling(do_sample=True, seed=0, top_k=4, top_p=1)
    assert draw(row, sampling, number) in row.topk(4).indices


def test_the_number_that_decides_depends_on_seed_and_position_alone() -> None:
    drawn = Sampling(do_sample=True, seed=5)
    assert uniform(drawn, 3) == uniform(drawn.model_copy(update={"temperature": 0.5}), 3)
    samplings = [Sampling(do_sample=True, seed=seed) for seed in (0, 1, 2**63 - 1)]
    assert len({uniform(sampling, position) for sampling in samplings for position in range(1, 50)}) == 3 * 49


# --- greedy ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "settings", [{}, {"do_sample": True, "temperature": 0}, {"temperature": 2, "top_k": 9}], ids=str
)
def test_greedy_takes_the_likeliest_and_needs_no_seed(settings: dict[str, Any]) -> None:
    row = random_logits(1.0)
    assert sample(row[None].clone(), [Context(Sampling(**settings), [0])], EOS) == [int(row.argmax())]


def test_of_equal_scores_greedy_takes_the_lowest_id_as_transformers_does() -> None:
    contexts = [Context(Sampling(), [0]), Context(Sampling(min_length=9), [0])]
    assert sample(torch.zeros(2, VOCABULARY), contexts, EOS) == [0, 0]
    logits = torch.zeros(1, VOCABULARY)
    logits[0, [300, 40, 900]] = 1
    assert sample(logits, [Context(Sampling(), [0])], EOS) == [40]


# --- logits that are not finite ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("sampling", [Sampling(), Sampling(do_sample=True, seed=1), Sampling(min_length=9)], ids=str)
@pytest.mark.parametrize("broken", [math.nan, math.inf])
def test_a_row_that_is_not_finite_has_no_next_token_and_the_others_have_theirs(
    sampling: Sampling, broken: float
) -> None:
    contexts = [Context(sampling, [0])] * 3
    logits = torch.stack([random_logits(1.0, seed) for seed in range(3)])
    first, _, last = sample(logits.clone(), contexts, EOS)
    logits[1, 17] = broken
    assert sample(logits, contexts, EOS) == [first, None, last]


def test_a_row_of_which_nothing_is_allowed_has_no_next_token() -> None:
    assert sample(torch.full((1, 9), -math.inf), [Context(Sampling(do_sample=True, seed=1), [0])], EOS) == [None]
    assert sample(torch.zeros(1, 3), [Context(Sampling(no_repeat_ngram_size=1), [0, 1, 2])], EOS) == [None]


def test_minus_infinity_rules_a_token_out_and_no_more() -> None:
    logits = torch.tensor([[-math.inf, 1.0, 2.0, -math.inf]])
    assert sample(logits, [Context(Sampling(), [0])], EOS) == [2]


@pytest.mark.parametrize("sampling", [Sampling(), Sampling(do_sample=True, seed=1)], ids=str)
def test_of_candidates_none_is_chosen_where_one_of_their_scores_is_no_number(sampling: Sampling) -> None:
    trie = make_trie([Candidate((5, 6, EOS)), Candidate((5, 7, EOS)), Candidate((8, EOS))], start_token=0)
    logits = torch.zeros(len(trie.branches), 20)
    assert choose_candidate(logits, trie, sampling)
    logits[1, 7] = -math.inf
    assert choose_candidate(logits, trie, sampling) != (5, 7, EOS)
    for broken in (math.nan, math.inf):
        logits[1, 7] = broken
        with pytest.raises(ReplyFailed, match="not finite"):
            choose_candidate(logits, trie, sampling)
