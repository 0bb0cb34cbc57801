"""Candidates -> their trie: which nodes it keeps, and what the scores made of it are."""

import math
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from serve_app.engine.sampling import choose_candidate, scores
from serve_app.engine.trie import Trie, make_trie
from serve_app.messages import Candidate, Sampling

START, EOS = 0, 1
VOCABULARY = 6

TokenIds = tuple[int, ...]

# Of four tokens, so that many begin alike; each ends with </s>, as the engine asks.
some_candidates = st.lists(st.lists(st.integers(2, 5), max_size=5), min_size=1, max_size=12, unique_by=tuple).map(
    lambda replies: [Candidate((*reply, EOS), bonus=len(reply) / 7) for reply in replies]
)


def prefixes(trie: Trie) -> list[TokenIds]:
    """Of each node, the tokens that lead to it."""
    found: list[TokenIds] = [()]
    for token, parent in zip(trie.tokens[1:], trie.parents, strict=True):
        found.append((*found[parent], token))
    return found


def some_logits(after: TokenIds) -> Tensor:
    """A model's: what comes next depends on all that came before."""
    return torch.randn(VOCABULARY, generator=torch.Generator().manual_seed(hash(after) % 2**31))


def followed(trie: Trie) -> Tensor:
    """What `T5.trie_logits` gives."""
    return torch.stack([some_logits(prefixes(trie)[branch.node]) for branch in trie.branches])


@given(some_candidates)
def test_its_nodes_are_what_two_candidates_share_and_parents_come_first(candidates: list[Candidate]) -> None:
    trie = make_trie(candidates, START)
    beginnings = [c.token_ids[:length] for c in candidates for length in range(1, len(c.token_ids))]
    shared = {beginning for beginning in beginnings if beginnings.count(beginning) > 1}
    assert sorted(prefixes(trie)) == sorted([(), *shared])
    assert trie.tokens[0] == START
    assert trie.depths == [len(prefix) for prefix in prefixes(trie)]
    assert all(parent < node for node, parent in enumerate(trie.parents, start=1))


@given(some_candidates)
def test_at_its_branches_candidates_part_into_the_ways_that_they_go(candidates: list[Candidate]) -> None:
    trie = make_trie(candidates, START)
    for branch in trie.branches:
        prefix = prefixes(trie)[branch.node]
        for token, together in branch.ways.items():
            for index in together:
                assert candidates[index].token_ids[: len(prefix) + 1] == (*prefix, token)
        passing = [i for i, c in enumerate(candidates) if c.token_ids[: len(prefix)] == prefix]
        assert sorted(index for together in branch.ways.values() for index in together) == passing
        assert len(branch.ways) > 1 or branch.node == 0
    assert trie.branches[0].node == 0


@given(some_candidates)
def test_a_score_is_the_log_probability_among_allowed_tokens_plus_the_bonus(candidates: list[Candidate]) -> None:
    """Token by token over the whole of each candidate, as one would without a trie."""
    expected = []
    for candidate in candidates:
        total = candidate.bonus
        for depth, token in enumerate(candidate.token_ids):
            before = candidate.token_ids[:depth]
            allowed = {c.token_ids[depth] for c in candidates if c.token_ids[:depth] == before}
            logits = some_logits(before).double()
            total += float(logits[token] - logits[sorted(allowed)].logsumexp(dim=0))
        expected.append(total)
    trie = make_trie(candidates, START)
    torch.testing.assert_close(scores(followed(trie), trie), torch.tensor(expected, dtype=torch.float64))


@given(some_candidates)
def test_without_bonuses_the_scores_are_probabilities(candidates: list[Candidate]) -> None:
    trie = make_trie([Candidate(c.token_ids) for c in candidates], START)
    assert scores(followed(trie), trie).exp().sum() == pytest.approx(1)


# --- the choice -----------------------------------------------------------------------------------------------------


def chosen(candidates: list[Candidate], sampling: Sampling, prefix: TokenIds = ()) -> TokenIds:
    trie = make_trie(candidates, START)
    return choose_candidate(followed(trie), trie, sampling, prefix)


@given(some_candidates)
def test_greedy_chooses_the_best(candidates: list[Candidate]) -> None:
    trie = make_trie(candidates, START)
    assert chosen(candidates, Sampling()) == candidates[int(scores(followed(trie), trie).argmax())].token_ids


@given(some_candidates, st.integers(0, 2**63 - 1), st.booleans())
def test_a_choice_that_goes_on_after_its_own_beginning_is_the_same(
    candidates: list[Candidate], seed: int, do_sample: bool
) -> None:
    sampling = Sampling(do_sample=do_sample, seed=seed, temperature=1.5, top_p=1)
    whole = chosen(candidates, sampling)
    for length in range(len(whole)):
        assert chosen(candidates, sampling, whole[:length]) == whole


@given(some_candidates, st.integers(0, 2**63 - 1), st.booleans(), st.data())
def test_a_choice_begins_with_what_was_written_elsewhere_whatever_it_is(
    candidates: list[Candidate], seed: int, do_sample: bool, data: st.DataObject
) -> None:
    other = data.draw(st.sampled_from(candidates)).token_ids
    prefix = other[: data.draw(st.integers(0, len(other) - 1))]
    assert chosen(candidates, Sampling(do_sample=do_sample, seed=seed), prefix)[: len(prefix)] == prefix


def test_drawn_candidates_are_distributed_as_their_scores_say() -> None:
    """At a temperature, which is of the whole scores; 99.9 % of such tests pass by chance."""
    candidates = [Candidate((*reply, EOS), 0.3 * len(reply)) for reply in ([2], [2, 3], [2, 3, 4], [5], [3, 3])]
    trie = make_trie(candidates, START)
    expected = (scores(followed(trie), trie) / 2).softmax(dim=-1) * 3000
    sampled = [Sampling(do_sample=True, temperature=2, top_p=1, seed=seed) for seed in range(3000)]
    drawn = [chosen(candidates, sampling) for sampling in sampled]
    observed = torch.tensor([drawn.count(candidate.token_ids) for candidate in candidates])
    assert ((observed - expected) ** 2 / expected).sum() < 18.5  # chi-square, 4 degrees of freedom


@pytest.mark.parametrize(("settings", "kept"), [({"top_k": 1}, 1), ({"top_k": 2}, 2), ({"top_p": 0.6}, 2), ({}, 3)])
def test_top_k_and_top_p_are_of_candidates(settings: dict[str, Any], kept: int) -> None:
    candidates = [Candidate((token, EOS), math.log(share)) for token, share in ((2, 0.5), (3, 0.3), (4, 0.2))]
    trie = make_trie(candidates, START)
    samplings = [Sampling(**{"do_sample": True, "top_p": 1, "seed": seed} | settings) for seed in range(200)]
    level = torch.zeros(1, VOCABULARY)
    drawn = {choose_candidate(level, trie, sampling) for sampling in samplings}
    assert drawn == {candidate.token_ids for candidate in candidates[:kept]}
