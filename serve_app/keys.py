"""API keys: who may ask, for how much. Pure but for the files that they are read from; knows nothing of HTTP.

A file, or a folder such as a mounted Secret, where each file is one key by that name:

    frontend: sk-4f...                                                      the key itself, or
    batch: {sha256: 9f86d0..., requests_per_minute: 60, expires: 2027-01-31}

`python -m serve_app keys new` makes one. What is read is kept as hashes only.
"""

import hashlib
import hmac
import logging
import secrets
import time
from collections.abc import Callable
from datetime import date
from functools import partial
from pathlib import Path
from typing import Annotated, Any

import yaml
from limits import RateLimitItem, RateLimitItemPerMinute
from limits.storage import MemoryStorage
from limits.strategies import SlidingWindowCounterRateLimiter
from pydantic import BaseModel, ConfigDict, Field, StringConstraints, ValidationError, model_validator

from serve_app.errors import ConfigError, Overloaded, Unauthorized, reason
from serve_app.outcomes import asking_key
from serve_app.watched_file import WatchedFile, stamp

logger = logging.getLogger("ray.serve.godel")

_PREFIX = "sk-"
_SHORTEST = 20  # characters: what people make up themselves can be guessed
_MOST_KEYS = 1000
_MOST_BYTES = 1024**2


class Key(BaseModel):
    """One key; `name` is what metrics and logs call it."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9._-]{1,64}$")]
    sha256: Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{64}$", to_lower=True)]
    requests_per_minute: Annotated[int, Field(ge=1, le=1_000_000)] | None = None  # of each ingress replica
    expires: date | None = None  # the last day on which it is good
    admin: bool = False  # may read and change the configuration's file
    for_visitors: bool = False  # asks for many people, each named by x-session-id: each has a share of the room

    @model_validator(mode="before")
    @classmethod
    def _hashed(cls, values: dict[str, Any]) -> dict[str, Any]:
        key = values.pop("key", None)
        if key is None:
            return values
        if "sha256" in values:
            raise ValueError("give `key` or `sha256`, not both")
        if not isinstance(key, str) or len(key) < _SHORTEST or not key.isascii() or not key.isprintable():
            raise ValueError(f"a key is text of at least {_SHORTEST} ASCII characters; `keys new` makes one")
        return values | {"sha256": digest(key)}


def digest(key: str) -> str:
    return hashlib.sha256(key.encode(errors="surrogatepass")).hexdigest()


def new_key() -> str:
    """256 bits of chance."""
    return _PREFIX + secrets.token_urlsafe(32)


def load(path: Path) -> tuple[Key, ...]:
    """Raises ConfigError that names the file, the key's name and the remedy; it never quotes a key."""
    if path.is_dir():
        entries = [(file, file.name, _content(file)) for file in _files(path)]
    else:
        content = _content(path)
        if not isinstance(content, dict):
            raise ConfigError(f"{path}: expected a name and a key on each line, as `frontend: sk-...`")
        entries = [(path, str(name), entry) for name, entry in content.items()]
    if not entries:
        raise ConfigError(
            f"{path}: there is no key in it, so every request would be refused; add one, or leave the setting out"
        )
    if len(entries) > _MOST_KEYS:
        raise ConfigError(f"{path}: {len(entries)} keys; at most {_MOST_KEYS} are allowed")
    keys = tuple(_key(file, name, entry) for file, name, entry in entries)
    hashes = [key.sha256 for key in keys]
    if twice := [key.name for key in keys if hashes.count(key.sha256) > 1]:
        raise ConfigError(f"{path}: {', '.join(twice)}: they are the same key; give each its own")
    return keys


def _content(file: Path) -> Any:
    try:
        if file.stat().st_size > _MOST_BYTES:
            raise ConfigError(f"{file}: more than {_MOST_BYTES} bytes; is it a file of keys?")
        return yaml.safe_load(file.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise ConfigError(f"{file}: there is no such file or folder; set `keys` in serve_config.yaml") from None
    except OSError as error:
        raise ConfigError(f"{file}: cannot be read: {error.strerror}") from None
    except (yaml.YAMLError, UnicodeDecodeError, RecursionError, ValueError):
        raise ConfigError(f"{file}: cannot be read as YAML") from None  # their own words may quote a key


def _key(file: Path, name: str, entry: Any) -> Key:
    values = entry if isinstance(entry, dict) else {"key": entry}
    try:
        return Key.model_validate({str(field): value for field, value in values.items()} | {"name": name})
    except ValidationError as error:
        mistake = error.errors()[0]
        field = ".".join(map(str, mistake["loc"]))
        raise ConfigError(f"{file}: {name[:64]!r}: {f'{field}: ' if field else ''}{reason(mistake)}") from None


class KeyRing(WatchedFile[tuple[Key, ...]]):
    """The keys in use."""

    def __init__(self, path: Path, today: Callable[[], date] = date.today) -> None:
        """Raises ConfigError: a start needs good keys."""
        self._today = today
        self._limiter = SlidingWindowCounterRateLimiter(MemoryStorage())
        super().__init__(partial(load, path), partial(_fingerprint, path))

    def refresh(self) -> tuple[Key, ...]:
        before = self.error
        keys = super().refresh()
        if self.error and self.error is not before:
            logger.error("the keys that are in use stay: %s", self.error)
        return keys

    def admit(self, presented: str | None) -> Key:
        """Whose key it is; `asking_key` then has its name. Raises Unauthorized, and Overloaded past the key's rate."""
        if not presented:
            raise Unauthorized("an API key is needed: send it as `Authorization: Bearer KEY`")
        key = self._find(presented)
        if key is None:
            raise Unauthorized("this API key is not known here; is it whole, and of this service?")
        asking_key.set(key.name)
        if key.expires and self._today() > key.expires:
            raise Unauthorized(f"the API key {key.name!r} has expired on {key.expires}; ask for a new one")
        if key.requests_per_minute:
            self._count(key, RateLimitItemPerMinute(key.requests_per_minute))
        return key

    def _find(self, presented: str) -> Key | None:
        """Takes as long whichever key it is, and whether it is one."""
        presented_digest = digest(presented)
        found = None
        for key in self.current:
            if hmac.compare_digest(key.sha256, presented_digest):
                found = key
        return found

    def _count(self, key: Key, limit: RateLimitItem) -> None:
        if self._limiter.hit(limit, key.name):
            return
        reset_at, _ = self._limiter.get_window_stats(limit, key.name)
        wait_s = max(1, round(reset_at - time.time()))
        raise Overloaded(
            f"the API key {key.name!r} may ask {key.requests_per_minute} times a minute; try again in {wait_s} s",
            wait_s,
            "key_rate",
        )


def _files(folder: Path) -> list[Path]:
    """Raises ConfigError. What begins with a dot is Kubernetes' own: what it swaps when a Secret changes."""
    try:
        return sorted(file for file in folder.iterdir() if file.is_file() and not file.name.startswith("."))
    except OSError as error:
        raise ConfigError(f"{folder}: cannot be read: {error.strerror}") from None


def _fingerprint(path: Path) -> object:
    try:
        files = _files(path) if path.is_dir() else [path]
    except ConfigError as error:
        return str(error)
    return [(file.name, stamp(file)) for file in files]
