"""One reply, many readers: each reads all of it, it is written once, and never without a reader."""

import asyncio
from collections.abc import AsyncGenerator

import pytest

from serve_app import shared_replies
from serve_app.shared_replies import SharedReplies


class Writer:
    """Writes "abc", the rest of it once told to."""

    def __init__(self) -> None:
        self.begun = 0
        self.ended = 0
        self.go_on = asyncio.Event()

    async def __call__(self) -> AsyncGenerator[str]:
        self.begun += 1
        try:
            yield "a"
            await self.go_on.wait()
            yield "b"
            yield "c"
        finally:
            self.ended += 1


async def read(pieces: AsyncGenerator[str]) -> str:
    return "".join([piece async for piece in pieces])


async def test_a_second_reader_reads_it_from_its_start_while_it_is_written() -> None:
    replies, writer = SharedReplies[str](), Writer()
    first = replies.join("x", writer).read()
    assert await anext(first) == "a"
    second = asyncio.create_task(read(replies.join("x", writer).read()))
    await asyncio.sleep(0)
    writer.go_on.set()
    assert await read(first) == "bc"
    assert await second == "abc"
    assert await read(replies.join("x", writer).read()) == "abc", "and once more when it is complete"
    assert (writer.begun, writer.ended) == (1, 1)


async def test_it_is_cancelled_when_its_last_reader_leaves() -> None:
    replies, writer = SharedReplies[str](), Writer()
    first, second = replies.join("x", writer).read(), replies.join("x", writer).read()
    assert (await anext(first), await anext(second)) == ("a", "a")
    await first.aclose()
    await asyncio.sleep(0.01)
    assert writer.ended == 0
    await second.aclose()
    again = replies.join("x", writer).read()
    assert await anext(again) == "a"
    assert (writer.begun, writer.ended) == (2, 1)
    await again.aclose()


async def test_a_reader_who_is_cancelled_while_it_waits_has_left() -> None:
    replies, writer = SharedReplies[str](), Writer()
    reader = asyncio.create_task(read(replies.join("x", writer).read()))
    await asyncio.sleep(0.01)
    reader.cancel()
    with pytest.raises(asyncio.CancelledError):
        await reader
    await asyncio.sleep(0.01)
    assert writer.ended == 1


async def test_all_readers_are_told_of_an_error_and_who_asks_again_gets_another() -> None:
    async def fail() -> AsyncGenerator[str]:
        yield "a"
        raise ValueError

    replies = SharedReplies[str]()
    readers = [replies.join("x", fail).read() for _ in range(2)]
    for reader in readers:
        with pytest.raises(ValueError):
            await read(reader)
    writer = Writer()
    writer.go_on.set()
    assert await read(replies.join("x", writer).read()) == "abc"


async def test_complete_replies_are_kept_for_a_while_and_not_too_many(monkeypatch: pytest.MonkeyPatch) -> None:
    replies, writer = SharedReplies[str](), Writer()
    writer.go_on.set()
    for number in range(shared_replies._MOST + 5):
        await read(replies.join(number, writer).read())
    assert len(replies._replies) <= shared_replies._MOST + 1
    monkeypatch.setattr(shared_replies, "_KEEP_S", -1)
    await read(replies.join("x", writer).read())
    assert list(replies._replies) == ["x"]
