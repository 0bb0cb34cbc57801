"""Citations that fit their texts, and texts cut at them."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from frontend.marks import Piece, cut, fitting, merged
from frontend.origin import Citation, Origin

REPLY = "A pod is small. 🙂"
PASSAGES = {"p1": "A pod is small."}
GOOD = {"start": 0, "end": 15, "passage": "p1", "passage_start": 0, "passage_end": 15}

spans = st.lists(st.tuples(st.integers(0, 30), st.integers(1, 9)).map(lambda span: (span[0], sum(span))))


def kept(*citations: Any) -> list[Citation]:
    """Of what a backend sends, the citations that are shown."""
    return fitting(Origin.model_validate({"citations": list(citations)}).citations, REPLY, PASSAGES)


def test_what_fits_is_kept() -> None:
    (citation,) = kept(GOOD)
    assert citation.model_dump() == GOOD
    assert [each.start for each in kept(GOOD, GOOD | {"start": 16, "end": 17})] == [0, 16]


@pytest.mark.parametrize(
    "wrong",
    [
        {"start": -1},
        {"start": 15},
        {"start": "0"},
        {"start": 0.0},
        {"start": True},
        {"start": None},
        {"end": 0},
        {"end": 18},
        {"end": 10**30},
        {"passage": "p2"},
        {"passage": 1},
        {"passage": ["p1"]},
        {"passage_start": -1},
        {"passage_start": 15},
        {"passage_end": 16},
    ],
)
def test_what_does_not_fit_is_left_out_and_the_others_stay(wrong: dict[str, Any]) -> None:
    assert [each.model_dump() for each in kept(GOOD | wrong, GOOD)] == [GOOD]


def test_those_out_of_order_or_overlapping_are_left_out() -> None:
    second = GOOD | {"start": 2, "end": 5}
    assert [each.start for each in kept(second, GOOD, second, second | {"start": 4})] == [2]
    assert [each.start for each in kept(second, second | {"start": 5, "end": 6})] == [2, 5]


@given(spans)
def test_merged_spans_hold_the_same_characters_in_order_and_apart(spans: list[tuple[int, int]]) -> None:
    apart = merged(spans)
    assert {n for span in apart for n in range(*span)} == {n for span in spans for n in range(*span)}
    assert all(end < start for (_, end), (start, _) in zip(apart, apart[1:], strict=False))


@given(st.text(min_size=40, max_size=40), spans)
def test_the_pieces_are_the_text(text: str, spans: list[tuple[int, int]]) -> None:
    spans = merged(spans)
    pieces = list(cut(text, spans))
    assert "".join(piece.text for piece in pieces) == text
    assert [piece.text for piece in pieces if piece.span is not None] == [text[start:end] for start, end in spans]
    assert all(piece.text for piece in pieces)


def test_pieces_know_their_span() -> None:
    assert list(cut("ab cd ef", [(0, 2), (6, 8)])) == [Piece("ab", 0), Piece(" cd ", None), Piece("ef", 1)]
    assert list(cut("", [])) == []
