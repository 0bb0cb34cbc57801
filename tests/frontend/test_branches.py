"""A conversation as a tree: what every such tree has in common."""

from hypothesis import given
from hypothesis import strategies as st

from frontend import branches


@st.composite
def trees(draw: st.DrawFn) -> dict[int, int]:
    """Some of the parents are gone, as those of the oldest exchanges are."""
    positions = draw(st.sets(st.integers(1, 40), min_size=1, max_size=15))
    return {each: draw(st.integers(0, each - 1)) for each in positions}


def test_a_chat_that_was_never_edited_is_one_branch() -> None:
    parents = {1: 0, 2: 1, 3: 2}
    assert branches.newest(parents) == 3
    assert branches.branch(parents, 3) == (1, 2, 3)
    assert [branches.newest_through(parents, each) for each in (1, 2, 3)] == [3, 3, 3]
    assert branches.branch({}, branches.newest({})) == ()


@given(trees())
def test_every_exchange_is_reached_through_the_versions(parents: dict[int, int]) -> None:
    """From the branch that is shown, step by step to any other."""
    reached: set[int] = set()
    to_show = {branches.newest(parents)}
    while to_show:
        shown = branches.branch(parents, branches.newest_through(parents, to_show.pop()))
        reached |= set(shown)
        to_show |= {each for position in shown for each in branches.versions(parents, position)} - reached
    roots_of = {branches.branch(parents, each)[0] for each in reached}
    together = {each for root in roots_of for each in branches.versions(parents, root)}
    assert reached == {each for each in parents if branches.branch(parents, each)[0] in together}


@given(trees())
def test_the_newest_branch_through_an_exchange_goes_to_a_leaf(parents: dict[int, int]) -> None:
    for position in parents:
        leaf = branches.newest_through(parents, position)
        assert leaf not in parents.values()
        assert position in branches.branch(parents, leaf)
