"""The backend's client of everything but replies: one JSON object for another."""

import json
from collections.abc import Mapping
from typing import TypeVar

import aiohttp
from pydantic import BaseModel

from frontend.backend import content_of, failures_mapped, open_session
from frontend.errors import Refused, Unavailable
from frontend.problems import MAX_ERROR_BYTES, refusal
from frontend.settings import Settings
from frontend.tracing import carried
from frontend.words import _, later

MAX_ANSWER_BYTES = 16_000_000  # a configuration's knowledge may be long
AWAY = later("It cannot be reached at the moment.")

T = TypeVar("T", bound=BaseModel)


class BackendJson:
    """Made in the event loop that it is used in; `close()` it in the end."""

    def __init__(self, settings: Settings) -> None:
        self._url = settings.backend_url
        self._session = open_session(settings)

    async def close(self) -> None:
        """End all connections."""
        await self._session.close()

    async def get(self, path: str, answer: type[T], *, seconds: float, key: str | None = None) -> T:
        """What is at `path`. key: of who asks, in place of the page's own.

        Raises BackendError, after `seconds` at the latest; Refused where that key is not good.
        """
        return await self._ask("GET", path, answer, seconds, _authorization(key))

    async def post(
        self, path: str, body: Mapping[str, object], answer: type[T], *, seconds: float, asker: str = ""
    ) -> T:
        """What comes of `body`. asker: for whom, as with a reply. Raises likewise."""
        return await self._ask("POST", path, answer, seconds, {"X-Session-Id": asker}, body)

    async def put(self, path: str, body: Mapping[str, object], answer: type[T], *, seconds: float, key: str) -> T:
        """What has become of `path`. Raises likewise."""
        return await self._ask("PUT", path, answer, seconds, _authorization(key), body)

    async def _ask(
        self,
        method: str,
        path: str,
        answer: type[T],
        seconds: float,
        headers: Mapping[str, str],
        body: Mapping[str, object] | None = None,
    ) -> T:
        with failures_mapped(Unavailable(_(AWAY), broken=True)):
            async with self._session.request(
                method,
                f"{self._url}{path}",
                data=None if body is None else json.dumps(body, ensure_ascii=False).encode(),
                headers={"Accept-Encoding": "identity", "Content-Type": "application/json", **headers, **carried()},
                allow_redirects=False,
                timeout=aiohttp.ClientTimeout(total=seconds),
            ) as response:
                if response.status == 401 and "Authorization" in headers:
                    raise Refused(_("This key is not known to the chat service, or has expired."))
                if response.status != 200:
                    raise refusal(response.status, response.headers, await content_of(response, MAX_ERROR_BYTES))
                return answer.model_validate_json(await content_of(response, MAX_ANSWER_BYTES))


def _authorization(key: str | None) -> dict[str, str]:
    return {} if key is None else {"Authorization": f"Bearer {key}"}
