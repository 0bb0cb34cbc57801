"""Answers each request in the language that its browser asks for."""

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Receive, Scope, Send

from frontend import words

MAX_CHARS = 500  # of a header that is looked at: browsers send some fifty


def wanted(header: str) -> list[str]:
    """The languages of an Accept-Language header (RFC 9110), the most wanted first."""
    weighted = [_weighted(each) for each in header[:MAX_CHARS].split(",")]
    return [tag for tag, weight in sorted(weighted, key=lambda each: -each[1]) if weight > 0]


def _weighted(item: str) -> tuple[str, float]:
    tag, _, parameter = item.partition(";")
    try:
        return tag.strip(), float(parameter.strip().removeprefix("q=") or 1)
    except ValueError:
        return tag.strip(), 0


class ReadersLanguage:
    """ASGI middleware that chooses it."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            words.choose(wanted(Headers(scope=scope).get("accept-language", "")))
        await self._app(scope, receive, send)
