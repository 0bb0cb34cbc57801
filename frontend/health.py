"""The backend's health, asked for at most once every few seconds and never waited for longer than the caller likes."""

import asyncio
import time
from collections.abc import Callable

import requests
from pydantic import BaseModel

from frontend.settings import Settings
from frontend.words import _


class Model(BaseModel):
    """Which model the backend uses, and why if it is not the one asked for."""

    name: str = ""
    requested: str = ""
    fallback: bool = False
    reason: str | None = None

    @property
    def fallback_sentence(self) -> str:
        """That the fallback answers; empty where the model does that was asked for."""
        if not self.fallback:
            return ""
        if not self.requested:
            return _("The fallback model {name} answers.", name=self.name)
        return _("The fallback model {name} answers in place of {other}.", name=self.name, other=self.requested)


class Health(BaseModel):
    """What GET /health says. `status` is `ok`, `idle` (the next message starts a replica), `starting`, or
    `unavailable` (also when nothing answered)."""

    status: str
    model: Model = Model()
    config_version: str | None = None
    config_error: str | None = None
    ready_replicas: int = 0


def ask_health(settings: Settings) -> Health:
    """How the backend is; `unavailable` when nothing, or nothing sensible, answers. Blocks."""
    try:
        with requests.Session() as session:
            session.trust_env = False  # as in `backend.py`: no proxy of the environment
            url, timeout = f"{settings.backend_url}/health", settings.health_timeout_seconds
            return Health.model_validate(session.get(url, timeout=timeout, allow_redirects=False).json())
    except (requests.RequestException, OSError, ValueError):
        return Health(status="unavailable")


class HealthWatch:
    """Shares one question to the backend among all pages that want to know."""

    def __init__(self, ask: Callable[[], Health], settings: Settings) -> None:
        self._ask_backend = ask
        self._cache_seconds = settings.health_cache_seconds
        self._known: Health | None = None
        self._asked_at = float("-inf")
        self._question: asyncio.Task[None] | None = None

    async def current(self, max_wait: float) -> Health | None:
        """What is known after at most `max_wait` seconds: fresh from a quick backend, else the last answer, or None."""
        if time.monotonic() - self._asked_at < self._cache_seconds:
            return self._known
        if self._question is None or self._question.done():
            self._question = asyncio.create_task(self._ask())
        await asyncio.wait([self._question], timeout=max_wait)  # `wait` leaves the task running for the others
        return self._known

    def forget(self) -> None:
        """A reply has failed: the last answer is out of date, and the next caller is to have a new one."""
        self._asked_at = float("-inf")

    async def close(self) -> None:
        """Let a question that is under way end."""
        if self._question is not None:
            await asyncio.wait([self._question])

    async def _ask(self) -> None:
        self._known = await asyncio.to_thread(self._ask_backend)
        self._asked_at = time.monotonic()
