"""How often something may be done: by one session, and by one address.

A session costs one request, so the address counts too: as that of several sessions, since many people can share one.
Counted in this process, or for all of them in Redis. While Redis is away each counts for itself; the page goes on.
"""

import logging
import math
import time
from collections.abc import Iterator
from enum import StrEnum
from ipaddress import IPv6Address, ip_address

from limits import RateLimitItem, parse_many
from limits.errors import StorageError
from limits.storage import MemoryStorage, RedisStorage
from limits.strategies import MovingWindowRateLimiter, RateLimiter
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request

from frontend.errors import TooFast
from frontend.quantities import duration
from frontend.session import BrowserSession
from frontend.settings import Settings
from frontend.words import _, later

log = logging.getLogger("frontend.rates")

REDIS_WAIT_SECONDS = 0.5  # a page must not hang because Redis does
REDIS_PAUSE_SECONDS = 5.0  # after it did not answer, before it is asked again
SHARED_NETWORK_BITS = 64  # of an IPv6 address: one customer has all addresses that share them


class Action(StrEnum):
    """What is counted; the value names its setting."""

    SESSION = "sessions"
    MESSAGE = "messages"
    CONVERSATION = "conversations"
    TRANSFER = "transfers"
    SEARCH = "searches"


WORDS = {
    Action.SESSION: later("Too many new sessions begin at your network address. (This page needs its cookie.)"),
    Action.MESSAGE: later("That was too many messages in a short time."),
    Action.CONVERSATION: later("That was too many new chats in a short time."),
    Action.TRANSFER: later("That was too many imports and exports in a short time."),
    Action.SEARCH: later("That was too many searches in a short time."),
}


class Rates:
    """The counts. `FRONTEND_RATE_...` say how many."""

    def __init__(self, settings: Settings) -> None:
        self._limits = {action: parse_many(getattr(settings, f"rate_{action}")) for action in Action}
        self._factor = settings.rate_address_factor
        self._own: RateLimiter = MovingWindowRateLimiter(MemoryStorage())
        self._shared = _redis(settings)
        self._away_until = 0.0

    async def spend(self, action: Action, request: Request, session: BrowserSession) -> None:
        """Count one. Raises TooFast, with the time to wait, when it is one too many."""
        for limit, who in self._counted(action, request, session):
            wait = await run_in_threadpool(self._hit, limit, action, who)
            if wait is not None:
                raise TooFast(" ".join((_(WORDS[action]), _("Try again in {time}.", time=duration(wait)))), wait)

    def _counted(
        self, action: Action, request: Request, session: BrowserSession
    ) -> Iterator[tuple[RateLimitItem, str]]:
        """The limits that hold, and whose they are."""
        for limit in self._limits[action]:
            if action is Action.SESSION:
                yield limit, _address(request)
            else:
                yield limit, session.id
                yield type(limit)(limit.amount * self._factor, limit.multiples), _address(request)

    def _hit(self, limit: RateLimitItem, *key: str) -> int | None:
        """Count one; the seconds to wait when it is one too many. Blocks for as long as Redis does."""
        if self._shared is not None and time.monotonic() >= self._away_until:
            try:
                return _hit(self._shared, limit, key)
            except StorageError as error:
                self._away_until = time.monotonic() + REDIS_PAUSE_SECONDS
                log.warning("Redis does not answer, so rates are counted here: %s", type(error.__cause__).__name__)
        return _hit(self._own, limit, key)


def _redis(settings: Settings) -> RateLimiter | None:
    if settings.rate_store is None:
        return None
    url, wait = settings.rate_store.get_secret_value(), REDIS_WAIT_SECONDS
    storage = RedisStorage(
        url, key_prefix="frontend", wrap_exceptions=True, socket_timeout=wait, socket_connect_timeout=wait
    )
    return MovingWindowRateLimiter(storage)


def _hit(limiter: RateLimiter, limit: RateLimitItem, key: tuple[str, ...]) -> int | None:
    if limiter.hit(limit, *key):
        return None
    free_at = limiter.get_window_stats(limit, *key).reset_time
    return max(1, math.ceil(free_at - time.time()))


def _address(request: Request) -> str:
    """Who can have no other one: an IPv4 address, or the network of an IPv6 address."""
    host = request.client.host if request.client else ""
    try:
        address = ip_address(host)
    except ValueError:
        return host  # of a Unix socket
    if isinstance(address, IPv6Address):
        if address.ipv4_mapped is not None:
            return str(address.ipv4_mapped)
        return f"{int(address) >> (128 - SHARED_NETWORK_BITS):x}"
    return str(address)
