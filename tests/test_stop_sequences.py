"""Stop sequences: a text is cut at the first, whatever pieces it comes in, and nothing of one is ever shown."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from serve_app.stop_sequences import StopSequences

letters = st.text("abc", max_size=12)
stops_of_letters = st.lists(st.text("abc", min_size=1, max_size=3), max_size=4)


def shown(stops: list[str], *pieces: str) -> list[str]:
    """What is shown of each piece."""
    text = StopSequences(stops)
    return [text.grow(piece, is_last=place == len(pieces)) for place, piece in enumerate(pieces, start=1)]


def by_the_character(text: str, stops: list[str]) -> str:
    """The definition: read on until the text ends in a stop sequence, and leave that out."""
    for end in range(1, len(text) + 1):
        if found := [stop for stop in stops if text[:end].endswith(stop)]:
            return text[: end - max(map(len, found))]
    return text


@given(st.lists(letters, min_size=1, max_size=5), stops_of_letters)
def test_whatever_pieces_a_text_comes_in_it_ends_before_its_first_stop_sequence(
    pieces: list[str], stops: list[str]
) -> None:
    assert "".join(shown(stops, *pieces)) == by_the_character("".join(pieces), stops)


@given(st.lists(letters, min_size=1, max_size=5), stops_of_letters)
def test_what_is_shown_is_what_the_text_is_said_to_be(pieces: list[str], stops: list[str]) -> None:
    text = StopSequences(stops)
    given_out = "".join(text.grow(piece, is_last=False) for piece in pieces)
    assert text.text == given_out
    assert text.found == (by_the_character("".join(pieces), stops) != "".join(pieces))


@pytest.mark.parametrize(
    ("stops", "pieces", "expected"),
    [
        (["END"], ["one E", "ND two"], ["one ", ""]),
        (["END"], ["one E", "very"], ["one ", "Every"]),
        (["END"], ["one E"], ["one E"]),
        (["b", "abc"], ["abc"], ["a"]),
        (["ab", "b"], ["xab"], ["x"]),
        (["\n\n"], ["a\n", "\nb"], ["a", ""]),
        ([], ["one", " two"], ["one", " two"]),
    ],
)
def test_only_what_may_become_a_stop_sequence_is_held_back(
    stops: list[str], pieces: list[str], expected: list[str]
) -> None:
    assert shown(stops, *pieces) == expected
