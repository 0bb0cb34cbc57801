"""Full-text search: what a query asks for, how each kind of database is asked, and which words of a hit are marked.

A query is nothing but words: quotes, operators and other signs only separate them. An exchange is a hit where its
message and reply together hold every word, or a longer word that begins with it, in any case. So is a title.

SQLite has an FTS5 index over the exchanges, which triggers keep up to date; PostgreSQL a GIN index over the terms of
each. Both are made by the migration 0006, and hold the owner as a word, so that the other sessions' hits are passed by.
That would not do in PostgreSQL, which gathers all that begins with a word before it looks at the others: so the terms
there begin with two digits of the owner, and a word's hits are those of a 256th of all sessions.
"""

import re
import unicodedata
from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

from sqlalchemy import ColumnElement, Text, and_, cast, column, literal, literal_column, select, table
from sqlalchemy.dialects.postgresql import TSQUERY

from frontend.models import Exchange

MAX_QUERY_CHARS = 200
MAX_WORDS = 12
EXCERPT_CHARS = 220
LEAD_CHARS = 60  # of an excerpt, at most, before its first marked word

FTS = "exchanges_search"

# As far as the index of the migration 0006 reads: a tsvector holds a megabyte.
_SEARCHED = "(left(message, 65536) || ' ' || left(coalesce(reply, ''), 65536))"

_WORD = re.compile(r"[^\W_]+")


class Piece(NamedTuple):
    """A part of a text, and whether it is a word that was searched for."""

    text: str
    hit: bool


def words(query: str) -> tuple[str, ...]:
    """The words that a query asks for, each once, at most `MAX_WORDS`."""
    return tuple(dict.fromkeys(match.group().lower() for match in _WORD.finditer(query)))[:MAX_WORDS]


def matches(dialect: str, owner: str, wanted: Sequence[str]) -> ColumnElement[bool]:
    """The condition on exchanges that are the owner's and hold all of `wanted`, by the index.

    `owner` is made by `owner_of`, and `wanted` are words of `words`, so neither needs escaping.
    """
    if dialect == "sqlite":
        index = table(FTS, column("rowid"))
        beginnings = " AND ".join(f'"{word}" *' for word in wanted)
        query = f'owner : "{owner}" AND {{message reply}} : ({beginnings})'
        hits = select(index.c.rowid).where(literal_column(FTS).op("MATCH")(literal(query)))
        # The plus keeps SQLite from fetching all hits to sort them: it goes through the owner's in their order instead.
        return (Exchange.owner == owner) & literal_column("+exchanges.id").in_(hits)
    query = " & ".join((f"'#{owner}'", *(f"'{owner[:2]}{word}':*" for word in wanted)))
    return literal_column("exchange_terms(exchanges.owner, message, reply)").op("@@")(
        cast(literal(query, Text), TSQUERY)
    )


def holds(dialect: str, wanted: Sequence[str]) -> ColumnElement[bool] | None:
    """The condition on exchanges that hold all of `wanted`, by their texts; None where the database cannot do that.

    By regular expressions, which take a tenth of the time that it takes to find out a text's terms.
    """
    if dialect == "sqlite":
        return None
    begins = (literal_column(_SEARCHED).op("~*")(literal(f"(^|[^[:alnum:]]){word}")) for word in wanted)
    return and_(*begins)


def holder(wanted: Sequence[str]) -> Callable[[str], bool]:
    """Says of texts whether they hold all of `wanted`, in any case, with any accents. For titles: it has no index."""
    beginnings = [re.compile(rf"(?<![^\W_]){re.escape(_folded(word))}") for word in wanted]

    def has_all(text: str) -> bool:
        folded = _folded(text)
        return all(beginning.search(folded) for beginning in beginnings)

    return has_all


def excerpt(text: str, wanted: Sequence[str]) -> tuple[Piece, ...]:
    """A part of `text` about the first of its words that were searched for, these apart; empty where it has none."""
    hits = list(_hits(text, wanted))
    if not hits:
        return ()
    first, _ = hits[0]
    begin = _word_start(text, max(0, first - LEAD_CHARS), first)
    end = min(len(text), begin + EXCERPT_CHARS)
    pieces = list(_cut(text, begin, end, [(a, b) for a, b in hits if b <= end]))
    before, after = Piece("… ", False), Piece(" …", False)
    return tuple([before] * (begin > 0) + pieces + [after] * (end < len(text)))


def _hits(text: str, wanted: Sequence[str]) -> Iterator[tuple[int, int]]:
    beginnings = tuple(_folded(word) for word in wanted)
    for match in _WORD.finditer(text):
        if _folded(match.group()).startswith(beginnings):
            yield match.span()


def _folded(word: str) -> str:
    """Without case and accents, as SQLite's index compares."""
    if word.isascii():
        return word.lower()
    return "".join(c for c in unicodedata.normalize("NFKD", word) if not unicodedata.combining(c)).lower()


def _word_start(text: str, earliest: int, latest: int) -> int:
    """Where a word begins, from `earliest` on: an excerpt does not begin in the middle of one."""
    if earliest == 0:
        return 0
    space = text.find(" ", earliest, latest)
    return earliest if space < 0 else space + 1


def _cut(text: str, begin: int, end: int, hits: Sequence[tuple[int, int]]) -> Iterator[Piece]:
    done = begin
    for a, b in hits:
        if done < a:
            yield Piece(text[done:a], False)
        yield Piece(text[a:b], True)
        done = b
    if done < end:
        yield Piece(text[done:end], False)
