"""Replies on their way out: several at once, errors before and after the first piece, and who leaves early."""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import aclosing

import pytest

from serve_app.errors import NoReplica
from serve_app.reply_stream import event_stream, interleaved, opened


class Source:
    """Pieces that are given to it; an exception among them is raised."""

    def __init__(self, *pieces: str | Exception) -> None:
        self._pieces: asyncio.Queue[str | Exception | None] = asyncio.Queue()
        self.closed = False
        for piece in pieces:
            self.give(piece)

    def give(self, piece: str | Exception | None) -> None:
        """None: it ends."""
        self._pieces.put_nowait(piece)

    async def read(self) -> AsyncGenerator[str]:
        try:
            while (piece := await self._pieces.get()) is not None:
                if isinstance(piece, Exception):
                    raise piece
                yield piece
        finally:
            self.closed = True


async def test_the_first_piece_is_read_at_once_and_comes_again() -> None:
    source = Source("a", "b")
    source.give(None)
    first, pieces = await opened(source.read())
    assert first == "a"
    assert [piece async for piece in pieces] == ["a", "b"]


async def test_an_error_before_the_first_piece_is_raised_at_once() -> None:
    with pytest.raises(NoReplica):
        await opened(Source(NoReplica("none")).read())


async def test_pieces_of_several_come_as_they_are_made() -> None:
    one, two = Source(), Source()
    both = interleaved([one.read(), two.read()])
    made = []
    for source, piece in ((two, "b"), (one, "a"), (two, None), (one, "c")):
        source.give(piece)
        if piece:
            made.append(await anext(both))
    assert made == [(1, "b"), (0, "a"), (0, "c")]
    one.give(None)
    assert [piece async for piece in both] == []


async def test_one_error_ends_all() -> None:
    one, two = Source("a"), Source(NoReplica("none"))
    with pytest.raises(NoReplica):
        async for _ in interleaved([one.read(), two.read()]):
            pass
    assert one.closed and two.closed


async def test_who_leaves_closes_all() -> None:
    one, two = Source("a"), Source()
    async with aclosing(interleaved([one.read(), two.read()])) as both:
        assert await anext(both) == (0, "a")
    assert one.closed and two.closed


@pytest.mark.parametrize(
    ("error", "last"), [(NoReplica("none"), "no_replica none"), (RuntimeError("a secret"), "internal_error")]
)
async def test_an_error_in_a_stream_is_its_last_event(error: Exception, last: str) -> None:
    stream = event_stream(Source("a", error).read(), lambda type_, message: f"{type_} {message}", "id", {})
    events = [str(event) async for event in stream.body_iterator]
    assert events[0] == "a"
    assert events[-1].startswith(last) and "secret" not in events[-1]
