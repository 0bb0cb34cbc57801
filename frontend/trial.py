"""Tries a question: what the model would read, and its reply in quote mode and free. Nothing of it is kept."""

import asyncio
from collections.abc import Awaitable
from dataclasses import dataclass
from typing import TypeVar

from pydantic import BaseModel

from frontend.backend_json import BackendJson
from frontend.errors import BackendError
from frontend.origin import Count, Grounding, Origin
from frontend.settings import Settings

T = TypeVar("T", bound=BaseModel)


class Preview(BaseModel):
    """The answer of POST /preview."""

    prompt: str = ""
    prompt_tokens: Count = 0
    window: Count = 0
    grounding: Grounding = Grounding()
    config_version: str = ""


class TriedReply(Origin):
    """The answer of POST /chat."""

    response: str = ""


@dataclass(frozen=True)
class Trial:
    """A question and what came of it; an error where something did not."""

    question: str
    preview: Preview | BackendError
    quoted: TriedReply | BackendError
    free: TriedReply | BackendError


async def try_question(backend: BackendJson, question: str, settings: Settings, asker: str) -> Trial:
    """All three at once; each may fail by itself. asker: for whom."""

    def ask(path: str, answer: type[T], **more: object) -> Awaitable[T | BackendError]:
        body = {"dialog": [question]} | more
        return _or_error(backend.post(path, body, answer, seconds=settings.read_timeout_seconds, asker=asker))

    preview, quoted, free = await asyncio.gather(
        ask("/preview", Preview),
        ask("/chat", TriedReply, generation={"quote": True}),
        ask("/chat", TriedReply, generation={"quote": False}),
    )
    return Trial(question, preview, quoted, free)


async def _or_error(asking: Awaitable[T]) -> T | BackendError:
    try:
        return await asking
    except BackendError as error:
        return error
