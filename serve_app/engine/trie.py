"""The candidates of a reply as a trie (prefix tree) of tokens. Pure; knows no tensors.

A candidate's score is the sum of its log-probabilities at the trie's branches, each among the tokens allowed there.
Elsewhere only one token is allowed, so the model need not compute it: of the five hundred tokens of thirty sentences
some thirty matter. (The sum over all tokens and the whole vocabulary would favour short and common sentences.)
"""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

from serve_app.messages import Candidate

# The most tokens of all candidates of a reply. A trie's nodes attend to each other, so this also bounds the memory of
# their attention: heads * MAX_TOKENS ** 2 numbers at worst.
MAX_TOKENS = 1024


@dataclass(frozen=True)
class Branch:
    """A node with several allowed next tokens; also node 0, even if there is a single candidate."""

    node: int
    ways: dict[int, list[int]]  # next token -> the candidates that continue with it


@dataclass(frozen=True)
class Trie:
    """The token prefixes that at least two candidates share. A node comes after its parent; node 0 is the root."""

    candidates: tuple[Candidate, ...]
    tokens: list[int]  # of each node, the start token first
    parents: list[int]  # of each node but the first
    depths: list[int]
    branches: list[Branch]


def make_trie(candidates: Sequence[Candidate], start_token: int) -> Trie:
    """Requires that candidates differ and that none is a prefix of another: each ends with </s>."""
    tokens, parents, depths, branches = [start_token], [], [0], []
    passing = [list(range(len(candidates)))]  # by node: the candidates that pass through it
    for node, through in enumerate(passing):  # the loop appends to it
        ways = defaultdict(list)
        for index in through:
            ways[candidates[index].token_ids[depths[node]]].append(index)
        if len(ways) > 1 or node == 0:
            branches.append(Branch(node, dict(ways)))
        for token, together in ways.items():
            if len(together) > 1:
                tokens.append(token)
                parents.append(node)
                depths.append(depths[node] + 1)
                passing.append(together)
    return Trie(tuple(candidates), tokens, parents, depths, branches)
