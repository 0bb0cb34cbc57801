"""The candidates of a reply as a trie of tokens: where they part, and what leads there. Pure; knows no tensors.

A candidate's score is what the model says of it at the trie's branches, among the tokens that are allowed there.
Everywhere else its next token is certain, so the model need not be asked: of thirty sentences' five hundred tokens some
thirty matter. (The plain sum of a candidate's log-probabilities would prefer whatever is short and usual.)
"""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

from serve_app.messages import Candidate

# What the candidates of one reply may take together. The nodes of their trie attend to each other, so this bounds the
# memory of that, too: heads * MAX_TOKENS ** 2 numbers at the very worst.
MAX_TOKENS = 1024


@dataclass(frozen=True)
class Branch:
    """A node after which candidates part; the first node counts as one, though there be a single candidate."""

    node: int
    ways: dict[int, list[int]]  # the next token -> the candidates that go on with it


@dataclass(frozen=True)
class Trie:
    """The nodes which two candidates or more share. A node stands behind its parent; node 0 is the start of all."""

    candidates: tuple[Candidate, ...]
    tokens: list[int]  # of each node, the start token first
    parents: list[int]  # of each node but the first
    depths: list[int]
    branches: list[Branch]


def make_trie(candidates: Sequence[Candidate], start_token: int) -> Trie:
    """Candidates differ, and none is the beginning of another: each ends with </s>."""
    tokens, parents, depths, branches = [start_token], [], [0], []
    passing = [list(range(len(candidates)))]  # by node: the candidates that lead through it
    for node, through in enumerate(passing):  # which grows meanwhile
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
