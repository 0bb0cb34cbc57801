"""A reply on its way out over HTTP, whatever its form: its beginning, its events, its end. /chat and /v1 share it."""

import asyncio
import logging
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import aclosing
from typing import TypeVar

from fastapi.responses import StreamingResponse

from serve_app.errors import RequestError
from serve_app.messages import ChatReply, Origin

logger = logging.getLogger("ray.serve.godel")

T = TypeVar("T")


async def opened(pieces: AsyncGenerator[T]) -> tuple[T, AsyncGenerator[T]]:
    """The first piece, and all of them, that one included.

    It is awaited before the answer begins, so that a refusal still has its status code.
    """
    first = await anext(pieces)

    async def all_of_them() -> AsyncGenerator[T]:
        async with aclosing(pieces):
            yield first
            async for piece in pieces:
                yield piece

    return first, all_of_them()


async def interleaved(streams: Sequence[AsyncGenerator[T]]) -> AsyncGenerator[tuple[int, T]]:
    """The pieces of all streams as they come, each with its stream's place. The first error ends all of them."""
    coming = {asyncio.ensure_future(anext(stream)): place for place, stream in enumerate(streams)}
    try:
        while coming:
            arrived, _ = await asyncio.wait(coming, return_when=asyncio.FIRST_COMPLETED)
            for task in sorted(arrived, key=coming.__getitem__):
                place = coming.pop(task)
                try:
                    piece = task.result()
                except StopAsyncIteration:
                    continue
                coming[asyncio.ensure_future(anext(streams[place]))] = place
                yield place, piece
    finally:
        for task in coming:
            task.cancel()
        await asyncio.gather(*coming, return_exceptions=True)
        for stream in streams:
            await stream.aclose()


def event_stream(
    events: AsyncGenerator[str],
    error_event: Callable[[str, str], str],
    request_id: str,
    headers: dict[str, str],
) -> StreamingResponse:
    """error_event: of an error's type and message, as the last event; the status line is out by then (law 4)."""

    async def to_the_end() -> AsyncGenerator[str]:
        try:
            async with aclosing(events):
                async for event in events:
                    yield event
        except RequestError as error:
            yield error_event(error.type, str(error))
        except Exception:
            logger.exception("request %s failed", request_id)
            yield error_event("internal_error", "the reply could not be completed")

    return StreamingResponse(
        to_the_end(),
        media_type="text/event-stream",
        headers=headers | {"Cache-Control": "no-store", "X-Accel-Buffering": "no"},
    )


def origin_headers(writer: Origin | ChatReply) -> dict[str, str]:
    return {"x-replica-id": writer.replica_id, "x-node-id": writer.node_id}
