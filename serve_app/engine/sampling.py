"""The next token of each reply: transformers' logits processors and warpers, in transformers' order, then the draw.

Randomness is counter-based: the number that decides token i of a reply depends on the seed and on i alone. So a reply
is the same in any batch, on any replica, and when another replica continues it after its first i tokens (law 3).
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from serve_app.engine.errors import ReplyFailed
from serve_app.engine.trie import Trie
from serve_app.messages import Sampling

NOT_FINITE = "the model's scores of what may come next are not finite numbers"

# Sorting a vocabulary of 32,128 costs more than a decoder layer; nearly always top-p keeps only some of the best few.
_FIRST_WIDTH = 128


@dataclass(frozen=True)
class Context:
    """What the next token of a reply depends on, besides its logits."""

    sampling: Sampling
    tokens: Sequence[int]  # the start token, then the reply so far: transformers' decoder_input_ids


def sample(logits: Tensor, contexts: Sequence[Context], eos_token: int) -> list[int | None]:
    """The next token of each row of `logits` [n, vocabulary], which is changed in place.

    None: the row has no next token, as it holds a NaN or plus infinity, or nothing else than minus infinity.
    """
    for row, context in zip(logits, contexts, strict=True):
        process(row, context, eos_token)
    likeliest, largest = _likeliest(logits)
    tokens: list[int | None] = [*likeliest]
    for index, (context, logit) in enumerate(zip(contexts, largest, strict=True)):
        if not math.isfinite(logit):
            tokens[index] = None
        elif not context.sampling.greedy:
            tokens[index] = draw(logits[index], context.sampling, uniform(context.sampling, len(context.tokens)))
    return tokens


def _likeliest(logits: Tensor) -> tuple[list[int], list[float]]:
    """The token with the largest logit of each row, and that logit. A NaN is the largest, so it shows where one is."""
    if logits.is_cpu:  # where numpy takes a quarter of PyTorch's time
        scores = logits.numpy()
        best = scores.argmax(axis=-1)
        return best.tolist(), scores[np.arange(len(best)), best].tolist()
    largest, likeliest = logits.max(dim=-1)
    return likeliest.tolist(), largest.tolist()


def choose_candidate(logits: Tensor, trie: Trie, sampling: Sampling, prefix: tuple[int, ...] = ()) -> tuple[int, ...]:
    """The token ids of one of a trie's candidates, given the logits at its branches [branches, vocabulary].

    prefix: the candidate must begin with it. Another replica has chosen it from the same candidates, so the choice is
    made from all of them again and gives the same one. Only where it does not, as another processor rounds otherwise,
    it is made from those that begin with the prefix.
    Raises ReplyFailed if a candidate's score is not a finite number.
    """
    candidates = [candidate.token_ids for candidate in trie.candidates]
    totals = scores(logits, trie)
    if not math.isfinite(totals.max()):
        raise ReplyFailed(NOT_FINITE)
    tokens = candidates[_best_or_drawn(totals, sampling)]
    if tokens[: len(prefix)] != prefix:
        totals[torch.tensor([other[: len(prefix)] != prefix for other in candidates])] = -math.inf
        tokens = candidates[_best_or_drawn(totals, sampling)]
    return tokens


def _best_or_drawn(scores: Tensor, sampling: Sampling) -> int:
    if sampling.greedy:
        return int(scores.argmax())
    return draw(scores, sampling, uniform(sampling, 1))  # one draw for the whole reply: that of its first token


def uniform(sampling: Sampling, position: int) -> float:
    """The number in [0, 1) that decides the token at `position`; 1 is the first one after the start token.

    By Philox (Salmon et al. 2011) from the seed and the position.
    """
    philox = np.random.Philox(key=sampling.seed, counter=position)
    return float(np.random.Generator(philox).random())


def scores(logits: Tensor, trie: Trie) -> Tensor:
    """Logits [branches, vocabulary] -> the scores of the candidates [candidates].

    A score is the candidate's bonus plus its log-probability among the tokens that the trie allows.
    """
    totals = [candidate.bonus for candidate in trie.candidates]
    for branch, row in zip(trie.branches, logits.cpu(), strict=True):
        log_probabilities = row[list(branch.ways)].double().log_softmax(dim=-1).tolist()
        for log_probability, candidates in zip(log_probabilities, branch.ways.values(), strict=True):
            for index in candidates:
                totals[index] += log_probability
    return torch.tensor(totals, dtype=torch.float64)


def process(row: Tensor, context: Context, eos_token: int) -> None:
    """Repetition penalty (Keskar et al. 2019), no-repeat n-grams (Paulus et al. 2017), minimum length; in place."""
    sampling, tokens = context.sampling, context.tokens
    if sampling.repetition_penalty != 1:
        seen = torch.tensor(sorted(set(tokens)))
        scores = row[seen]
        row[seen] = torch.where(scores < 0, scores * sampling.repetition_penalty, scores / sampling.repetition_penalty)
    if sampling.no_repeat_ngram_size:
        row[repeating(tokens, sampling.no_repeat_ngram_size)] = -math.inf
    if len(tokens) < sampling.min_length:
        row[eos_token] = -math.inf


def repeating(tokens: Sequence[int], size: int) -> list[int]:
    """The tokens that would complete an n-gram of `size` that `tokens` contain already."""
    start = len(tokens) - size + 1
    if start < 0:
        return []
    tail = tokens[start:]
    return [tokens[i + size - 1] for i in range(start) if tokens[i : i + size - 1] == tail]


def draw(row: Tensor, sampling: Sampling, uniform: float) -> int:
    """Sample from `row` [vocabulary] by inverting the cumulative distribution of what top-k and top-p keep."""
    scores, tokens = kept(row / sampling.temperature, sampling)
    cumulative = scores.softmax(dim=-1).double().cumsum(dim=-1)
    index = int(torch.searchsorted(cumulative, uniform * cumulative[-1], right=True))
    return int(tokens[min(index, len(tokens) - 1)])


def kept(scores: Tensor, sampling: Sampling) -> tuple[Tensor, Tensor]:
    """The scores and ids of the tokens that top-k, then top-p (Holtzman et al. 2020) keep, the likeliest first."""
    top_k = min(sampling.top_k or len(scores), len(scores))
    if sampling.top_p == 1:  # off: sums in fp32 may reach 1 before the last token
        best, tokens = scores.topk(top_k)
        return best, tokens
    width = min(_FIRST_WIDTH, top_k)
    best, tokens = scores.topk(width)
    mass = (best - _log_mass(scores, top_k)).exp().cumsum(dim=-1)
    if width < top_k and mass[-1] < sampling.top_p:
        best, tokens = scores.topk(top_k)
        mass = (best - best.logsumexp(dim=-1)).exp().cumsum(dim=-1)
    # A token is kept while the probabilities before it sum to less than p; so the first one always is.
    count = 1 + int((mass[:-1] < sampling.top_p).sum())
    return best[:count], tokens[:count]


def _log_mass(scores: Tensor, top_k: int) -> Tensor:
    considered = scores if top_k == len(scores) else scores.topk(top_k).values
    return considered.logsumexp(dim=-1)
