"""Pure: texts, cut where citations begin and end.

Citations come from the backend and are not trusted: one that does not fit the texts is left out.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import NamedTuple

from frontend.origin import Citation


class Piece(NamedTuple):
    """A part of a text, and the number of the span that it is; None between spans."""

    text: str
    span: int | None


def fitting(citations: Iterable[Citation], reply: str, passages: Mapping[str, str]) -> list[Citation]:
    """Those of the backend's `citations` that hold: in order, without overlap, within the reply and the passages.

    `passages` are texts by id.
    """
    kept: list[Citation] = []
    for citation in citations:
        begins = kept[-1].end if kept else 0
        there = passages.get(citation.passage, "")
        if begins <= citation.start < citation.end <= len(reply) and (
            citation.passage_start < citation.passage_end <= len(there)
        ):
            kept.append(citation)
    return kept


def merged(spans: Iterable[tuple[int, int]]) -> list[tuple[int, int]]:
    """The same characters as spans in order that do not overlap; a passage may be cited twice."""
    apart: list[tuple[int, int]] = []
    for start, end in sorted(spans):
        if apart and start <= apart[-1][1]:
            apart[-1] = (apart[-1][0], max(end, apart[-1][1]))
        else:
            apart.append((start, end))
    return apart


def cut(text: str, spans: Sequence[tuple[int, int]]) -> Iterator[Piece]:
    """All of `text` in pieces, none of them empty; `spans` are in order, within the text, and do not overlap."""
    done = 0
    for number, (start, end) in enumerate(spans):
        if done < start:
            yield Piece(text[done:start], None)
        yield Piece(text[start:end], number)
        done = end
    if done < len(text):
        yield Piece(text[done:], None)
