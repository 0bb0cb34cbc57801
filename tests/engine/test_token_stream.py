"""From the step loop to the reader: what travels together, and when."""

import asyncio
import threading
from collections.abc import Callable
from typing import Any
from unittest.mock import patch

import pytest

from serve_app.engine.errors import EngineFailed, ReplyFailed
from serve_app.engine.token_stream import TokenStream, send
from tests.engine.support import read


def arrived(reply: TokenStream) -> list[list[int]]:
    """What has been handed out and not been read, once the event loop has run."""
    return [reply._arrived.get_nowait()[0] for _ in range(reply._arrived.qsize())]


async def written(reply: TokenStream, tokens: list[tuple[float, int]]) -> list[list[int]]:
    """Tokens as they are written, each with its time -> the lists in which they arrive."""
    for now, token in tokens:
        reply.put([token], None)
        send([reply], now)
    await asyncio.sleep(0)
    return arrived(reply)


async def test_each_token_arrives_by_itself_where_none_are_to_join() -> None:
    assert await written(TokenStream(join_s=0, submitted_at=0), [(7.0, 1), (7.0, 2), (7.1, 3)]) == [[1], [2], [3]]


async def test_the_first_token_arrives_at_once_and_later_ones_in_turns() -> None:
    tokens = [(10.3, 1), (10.7, 2), (11.0, 3), (11.1, 4), (11.9, 5), (14.2, 6)]
    assert await written(TokenStream(join_s=1, submitted_at=0), tokens) == [[1], [2, 3], [4, 5, 6]]


async def test_replies_that_began_apart_arrive_together() -> None:
    replies = [TokenStream(join_s=1, submitted_at=0) for _ in range(3)]
    for number, reply in enumerate(replies):
        await written(reply, [(5 + 0.2 * number, 1)])
    for now in (5.7, 5.9, 6.1):
        for reply in replies:
            reply.put([2], None)
        send(replies, now)
        await asyncio.sleep(0)
        assert [arrived(reply) for reply in replies] == ([[[2, 2, 2]]] * 3 if now > 6 else [[]] * 3)


async def test_an_ending_arrives_at_once_with_all_that_waits() -> None:
    reply = TokenStream(join_s=1000, submitted_at=0)
    for tokens, ending in (([1], None), ([2], None), ([3], "stop")):
        reply.put(tokens, ending)  # type: ignore[arg-type]  # a tuple of literals
        send([reply], 0.0)
    assert await read(reply) == [1, 2, 3]
    assert reply.ending == "stop"


async def test_many_replies_wake_their_event_loop_once() -> None:
    replies = [TokenStream(join_s=0, submitted_at=0) for _ in range(5)]
    for reply in replies:
        reply.put([1], "stop")
    loop = asyncio.get_running_loop()
    with patch.object(loop, "call_soon_threadsafe", wraps=loop.call_soon_threadsafe) as wake:
        send(replies, 0.0)
    assert wake.call_count == 1
    assert [await read(reply) for reply in replies] == [[1]] * 5


async def test_readers_in_several_event_loops_each_get_theirs() -> None:
    mine, theirs = TokenStream(join_s=0, submitted_at=0), _elsewhere(_new_reply)
    mine.put([1], "stop")
    theirs.put([2], "stop")
    send([theirs, mine], 0.0)
    assert await read(mine) == [1]
    assert theirs.cancelled  # its event loop has ended
    assert not mine.cancelled


@pytest.mark.parametrize("kind", [ReplyFailed, EngineFailed])
async def test_a_reply_that_cannot_be_finished_raises(kind: type[ReplyFailed | EngineFailed]) -> None:
    """Several streams may get the same error: each raises a copy, or their tracebacks would join."""
    failure, replies = kind("broken"), [TokenStream(join_s=0, submitted_at=0), TokenStream(join_s=0, submitted_at=0)]
    for reply in replies:
        reply.put([], failure)
    send(replies, 0.0)
    for reply in replies:
        with pytest.raises(kind, match="broken") as raised:
            await read(reply)
        assert raised.value is not failure
        assert (reply.ending, reply.failure) == (None, failure)


async def _new_reply() -> TokenStream:
    return TokenStream(join_s=0, submitted_at=0)


def _elsewhere(make: Callable[[], Any]) -> Any:
    """What `make` gives in an event loop of another thread, which then ends."""
    made: list[Any] = []
    thread = threading.Thread(target=lambda: made.append(asyncio.run(make())))
    thread.start()
    thread.join()
    return made[0]
