"""Per-request choice of the next token: transformers' logits processors, in transformers' order, then the draw.

Randomness is counter-based: the number that decides token i of a reply depends on the seed and on i alone. So a reply
is the same in any company, on any replica, and across a failover that continues it from its first i tokens (law 3).
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

# Sorting a vocabulary of 32,128 costs more than a decoding layer; nearly always the nucleus is among the first few.
_CANDIDATES = 128


@dataclass(frozen=True)
class Choice:
    """What the choice of a reply's next token depends on, besides the logits."""

    sampling: Sampling
    written: list[int]  # the start token, then the reply so far: what transformers calls decoder_input_ids

    def __post_init__(self) -> None:
        if not self.sampling.greedy and self.sampling.seed is None:
            raise ValueError("seed: must be set by whoever asks, so that the reply can be continued elsewhere")

    @property
    def uniform(self) -> float:
        """The number in [0, 1) that decides this token (Philox, Salmon et al. 2011)."""
        philox = np.random.Philox(key=self.sampling.seed, counter=len(self.written))
        return float(np.random.Generator(philox).random())


def sample(logits: Tensor, choices: Sequence[Choice], eos_token: int) -> list[int | None]:
    """The next token of each row of `logits` [n, vocabulary], which is changed in place.

    None: there is none, as the row holds a NaN or plus infinity, or nothing else than minus infinity.
    """
    for row, choice in zip(logits, choices, strict=True):
        process(row, choice, eos_token)
    largest, likeliest = logits.max(dim=-1)  # a NaN counts as larger than anything, so looking at one number suffices
    tokens: list[int | None] = likeliest.tolist()
    for index, (choice, logit) in enumerate(zip(choices, largest.tolist(), strict=True)):
        if not math.isfinite(logit):
            tokens[index] = None
        elif not choice.sampling.greedy:
            tokens[index] = draw(logits[index], choice.sampling, choice.uniform)
    return tokens


def choose_candidate(logits: Tensor, trie: Trie, choice: Choice, prefix: tuple[int, ...] = ()) -> tuple[int, ...]:
    """The tokens of one of a trie's candidates, given the logits of its branches [branches, vocabulary].

    prefix: how it must begin. It was chosen elsewhere from these same candidates, so it is chosen here from all of
    them, too; only if that comes out otherwise, since another machine rounds otherwise, from those that begin with it.
    Raises ReplyFailed where a candidate's score is not a number, or all are minus infinity.
    """
    candidates = [candidate.token_ids for candidate in trie.candidates]
    totals = scores(logits, trie)
    if not math.isfinite(totals.max()):
        raise ReplyFailed(NOT_FINITE)
    tokens = candidates[_best_or_drawn(totals, choice)]
    if tokens[: len(prefix)] != prefix:
        totals[torch.tensor([other[: len(prefix)] != prefix for other in candidates])] = -math.inf
        tokens = candidates[_best_or_drawn(totals, choice)]
    return tokens


def _best_or_drawn(scores: Tensor, choice: Choice) -> int:
    return int(scores.argmax()) if choice.sampling.greedy else draw(scores, choice.sampling, choice.uniform)


def scores(logits: Tensor, trie: Trie) -> Tensor:
    """[branches, vocabulary] -> of each candidate its bonus, and its log-probability within the trie: [candidates]."""
    totals = [candidate.bonus for candidate in trie.candidates]
    for branch, row in zip(trie.branches, logits.cpu(), strict=True):
        chances = row[list(branch.ways)].double().log_softmax(dim=-1).tolist()
        for chance, candidates in zip(chances, branch.ways.values(), strict=True):
            for index in candidates:
                totals[index] += chance
    return torch.tensor(totals, dtype=torch.float64)


def process(row: Tensor, choice: Choice, eos_token: int) -> None:
    """Repetition penalty (Keskar et al. 2019), no-repeat n-grams (Paulus et al. 2017), minimum length; in place."""
    sampling, written = choice.sampling, choice.written
    if sampling.repetition_penalty != 1:
        seen = torch.tensor(sorted(set(written)))
        scores = row[seen]
        row[seen] = torch.where(scores < 0, scores * sampling.repetition_penalty, scores / sampling.repetition_penalty)
    if sampling.no_repeat_ngram_size:
        row[repeating(written, sampling.no_repeat_ngram_size)] = -math.inf
    if len(written) < sampling.min_length:
        row[eos_token] = -math.inf


def repeating(written: list[int], size: int) -> list[int]:
    """The tokens that would complete an n-gram of `size` that was written before."""
    start = len(written) - size + 1
    if start < 0:
        return []
    tail = written[start:]
    return [written[i + size - 1] for i in range(start) if written[i : i + size - 1] == tail]


def draw(row: Tensor, sampling: Sampling, uniform: float) -> int:
    """Sample from `row` [vocabulary] by inverting the cumulative distribution of what top-k and top-p keep."""
    scores, tokens = kept(row / sampling.temperature, sampling)
    cumulative = scores.softmax(dim=-1).double().cumsum(dim=-1)
    index = int(torch.searchsorted(cumulative, uniform * cumulative[-1], right=True))
    return int(tokens[min(index, len(tokens) - 1)])


def kept(scores: Tensor, sampling: Sampling) -> tuple[Tensor, Tensor]:
    """The scores and ids of the tokens that top-k, then top-p (Holtzman et al. 2020) keep, likeliest first."""
    top_k = min(sampling.top_k or len(scores), len(scores))
    if sampling.top_p == 1:  # off: in fp32 the mass may reach 1 before the last token
        best, tokens = scores.topk(top_k)
        return best, tokens
    width = min(_CANDIDATES, top_k)
    best, tokens = scores.topk(width)
    mass = (best - _log_mass(scores, top_k)).exp().cumsum(dim=-1)
    if width < top_k and mass[-1] < sampling.top_p:
        best, tokens = scores.topk(top_k)
        mass = (best - best.logsumexp(dim=-1)).exp().cumsum(dim=-1)
    # A token stays as long as the mass before it has not reached p; so the first always stays.
    count = 1 + int((mass[:-1] < sampling.top_p).sum())
    return best[:count], tokens[:count]


def _log_mass(scores: Tensor, top_k: int) -> Tensor:
    considered = scores if top_k == len(scores) else scores.topk(top_k).values
    return considered.logsumexp(dim=-1)
