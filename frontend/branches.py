"""Pure: a conversation as a tree. Each exchange follows an earlier one, its parent; a branch leads from root to leaf.

Exchanges are known by their positions, which grow: a parent's is below its children's. Those with one parent are
versions of each other: the same message answered anew, or another message in its place. A tree is given as the parent
of each exchange; a parent that is 0, or no longer there, makes a root.
"""

from collections.abc import Mapping

Parents = Mapping[int, int]


def newest(parents: Parents) -> int:
    """The exchange that was written last, always a leaf; 0 where there is none."""
    return max(parents, default=0)


def newest_through(parents: Parents, position: int) -> int:
    """The leaf that was written last of those whose branches lead through `position`, which is there."""
    through = {position}
    for each in sorted(parents):
        if parents[each] in through:
            through.add(each)
    return max(through)


def branch(parents: Parents, leaf: int) -> tuple[int, ...]:
    """The positions from the root to `leaf`."""
    way = []
    while leaf in parents:
        way.append(leaf)
        leaf = parents[leaf]
    return tuple(reversed(way))


def versions(parents: Parents, position: int) -> tuple[int, ...]:
    """`position`, which is there, and its versions, oldest first."""
    return tuple(each for each in sorted(parents) if parents[each] == parents[position])
