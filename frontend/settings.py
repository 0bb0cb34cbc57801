"""How the frontend is run: every setting, read once from `FRONTEND_*` environment variables."""

import re
from collections.abc import Iterable
from ipaddress import ip_network
from pathlib import Path
from typing import Annotated, Literal, Self

from limits import parse_many
from pydantic import (
    AfterValidator,
    Field,
    HttpUrl,
    SecretStr,
    StringConstraints,
    TypeAdapter,
    field_validator,
    model_validator,
)
from pydantic_settings import BaseSettings, SettingsConfigDict
from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import ArgumentError

MIN_SECRET_LENGTH = 32  # characters; 128 bits of key even when it is written as hexadecimal digits
MIN_SECRET_VARIETY = 10  # different characters; a repeated word or a row of one letter has fewer
PLACEHOLDERS = (
    "change",
    "secret",
    "password",
    "placeholder",
    "example",
    "insecure",
    "replace",
    "your-",
    "your_",
    "todo",
)

FORM_BYTES_PER_CHAR = 12  # an emoji in a form: %F0%9F%99%82


def _checked_rate(value: str) -> str:
    try:
        parse_many(value)
    except ValueError:
        raise ValueError(
            "must be a number and a unit of time such as 30/minute, or several: 30/minute;500/day"
        ) from None
    return value


def _checked_network(value: str) -> str:
    try:
        return str(ip_network(value))
    except ValueError:
        raise ValueError("must be IP addresses or networks such as 10.0.0.0/8") from None


DEFAULT_SUGGESTIONS = ("What is a pod?", "What does KubeRay do?", "Who made GODEL?", "What is grounding?")

Seconds = Annotated[float, Field(gt=0, le=86_400)]
Rate = Annotated[str, AfterValidator(_checked_rate)]
Network = Annotated[str, AfterValidator(_checked_network)]
Suggestion = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=200)]


class Settings(BaseSettings):
    """The frontend's settings. Frozen and validated when made: a wrong one stops the start with a sentence."""

    # Errors never print their input: it may be the secret key or a database password.
    model_config = SettingsConfigDict(env_prefix="FRONTEND_", frozen=True, extra="forbid", hide_input_in_errors=True)

    host: str = Field(default="127.0.0.1", description="Address to listen on; `0.0.0.0` for every network interface.")
    port: int = Field(default=8080, ge=0, le=65_535, description="Port to listen on; `0` takes any free one.")
    metrics_port: int | None = Field(
        default=None,
        ge=1,
        le=65_535,
        description="Port at which `/metrics` is answered to Prometheus, on the same address; none: nowhere.",
    )
    title: str = Field(default="Grounded chat", min_length=1, max_length=80, description="Name shown on the page.")
    suggestions: tuple[Suggestion, ...] = Field(
        default=DEFAULT_SUGGESTIONS,
        max_length=8,
        description="Questions offered in an empty chat, as a JSON list; `[]` for none.",
    )

    backend_url: str = Field(
        default="http://127.0.0.1:8000", description="Where the backend is; its `/chat` and `/health` are used."
    )
    backend_key: SecretStr | None = Field(
        default=None, description="The page's API key, where the backend asks for one; see docs/api.md."
    )
    connect_timeout_seconds: Seconds = Field(default=3.0, description="Longest wait for a connection to the backend.")
    read_timeout_seconds: Seconds = Field(
        default=75.0,
        description=(
            "Longest time for a reply, asking again after a broken connection included; above the backend's "
            "`request_timeout_s`, so that its own error arrives first."
        ),
    )
    health_timeout_seconds: Seconds = Field(default=2.0, description="Longest wait for the backend's `/health`.")
    health_cache_seconds: Seconds = Field(default=5.0, description="How long an answer of `/health` is used again.")

    database_url: str = Field(
        default="sqlite:///data/frontend.sqlite3",
        description="Where conversations are kept: SQLite (a file), or PostgreSQL as `postgresql+psycopg://user:password@host/name`.",
    )
    database_pool_size: int = Field(default=10, ge=1, le=100, description="Most database connections of this process.")

    secret_key: SecretStr | None = Field(
        default=None,
        description=(
            f"Signs the session cookie; at least {MIN_SECRET_LENGTH} random characters. With SQLite it may be left "
            "out: one is made at the first start and kept, readable by its owner only, beside the database file. "
            "Required with any other database, and the same for all replicas."
        ),
    )
    cookie_max_age_seconds: int = Field(
        default=30 * 86_400, ge=60, description="A session ends when its browser has not opened the page for this long."
    )
    secure_cookie: bool = Field(
        default=False, description="Send the cookie over HTTPS only; set it to `true` behind HTTPS."
    )

    demo: bool = Field(
        default=False,
        description=(
            "The page of the cluster has a button that ends a replica, to show that its replies go on elsewhere; "
            "the backend's `demo` must be set too."
        ),
    )
    max_message_chars: int = Field(default=4_000, ge=1, le=100_000, description="Longest message that is accepted.")
    max_knowledge_chars: int = Field(
        default=100_000,
        ge=1,
        le=1_000_000,
        description=(
            "Longest knowledge text that a visitor can give to a chat; at most the backend's setting of that name."
        ),
    )
    max_reply_chars: int = Field(
        default=16_000,
        ge=1,
        le=1_000_000,
        description="A longer reply is broken off with an error; at most the backend's `max_turn_chars`.",
    )
    max_turns_sent: int = Field(
        default=41,
        ge=1,
        le=1_001,
        description="Most turns sent to the backend, the new message included; an odd number.",
    )
    max_exchanges_kept: int = Field(
        default=200,
        ge=1,
        le=10_000,
        description="Most questions kept in a chat, versions included; older ones are removed, and the page says so.",
    )
    max_conversations: int = Field(
        default=50_000,
        ge=1,
        description="Most chats kept of all sessions; a deleted or the longest unused one makes room for a new one.",
    )
    max_session_conversations: int = Field(
        default=5_000, ge=1, description="Most chats kept of one session; its page says so from nine tenths on."
    )
    conversation_keep_seconds: int = Field(
        default=7 * 86_400,
        ge=60,
        description=(
            "A chat used within this time makes room for none: new ones are refused instead, or else a visitor who "
            "begins many could have everybody's deleted."
        ),
    )
    conversation_expiry_seconds: int = Field(
        default=30 * 86_400, ge=60, description="A chat unused for this long is deleted."
    )
    deleted_keep_seconds: int = Field(
        default=86_400, ge=60, description="For this long, deleting a chat can be undone; then it is gone."
    )
    temporary_expiry_seconds: int = Field(
        default=3_600, ge=60, description="A temporary chat unused for this long is deleted."
    )
    max_import_bytes: int = Field(
        default=16_000_000, ge=10_000, le=100_000_000, description="Largest file of chats that can be imported."
    )

    rate_store: SecretStr | None = Field(
        default=None,
        description=(
            "Where rates are counted: a Redis as `redis://:password@host:6379`, which all replicas share; without it "
            "each replica counts for itself."
        ),
    )
    rate_messages: Rate = Field(
        default="30/minute", description="Most messages of a session, retries too; as `30/minute;500/day`."
    )
    rate_conversations: Rate = Field(default="120/hour", description="Most new chats of a session.")
    rate_searches: Rate = Field(default="60/minute", description="Most searches of a session.")
    rate_transfers: Rate = Field(default="30/hour", description="Most imports, and exports of all chats, of a session.")
    rate_address_factor: int = Field(
        default=10,
        ge=1,
        le=10_000,
        description="A network address may do this many times what a session may: many people can share one.",
    )
    rate_sessions: Rate = Field(default="600/hour", description="Most new sessions of a network address.")
    trusted_proxies: tuple[Network, ...] = Field(
        default=(),
        description=(
            'Addresses or networks of proxies in front, as a JSON list such as `["10.0.0.0/8"]`: their X-Forwarded-For '
            "and X-Forwarded-Proto are believed, no other sender's."
        ),
    )
    user_header: str | None = Field(
        default=None,
        pattern=r"^[A-Za-z0-9-]+$",
        description=(
            "Header in which an authenticating proxy names the user, such as `X-Forwarded-User`; believed from "
            "`FRONTEND_TRUSTED_PROXIES` only. A user has the same chats in every browser."
        ),
    )

    max_replies: int = Field(default=256, ge=1, le=1_000, description="Most replies written at once by this process.")
    claim_seconds: float = Field(
        default=30.0,
        ge=2,
        le=3_600,
        description="After a crash in the middle of a reply, its chat accepts messages again after this long.",
    )
    ping_seconds: Seconds = Field(
        default=15.0, description="Longest silence towards the browser while a reply is written."
    )
    shutdown_grace_seconds: Seconds = Field(default=30.0, description="At shutdown, replies may go on for this long.")
    log_format: Literal["text", "json"] = Field(
        default="text", description="`text` for people, or `json` for machines: one object a line."
    )
    log_level: str = Field(
        default="info", pattern="^(debug|info|warning|error)$", description="`debug`, `info`, `warning` or `error`."
    )

    @field_validator("backend_url")
    @classmethod
    def _http_without_slash(cls, value: str) -> str:
        TypeAdapter(HttpUrl).validate_python(value)
        return value.rstrip("/")

    @field_validator("database_url")
    @classmethod
    def _known_database(cls, value: str) -> str:
        try:
            url = make_url(value)
        except ArgumentError:
            raise ValueError("must be a database URL such as sqlite:///data/frontend.sqlite3") from None
        if url.get_backend_name() not in ("sqlite", "postgresql"):
            raise ValueError(f"must name sqlite or postgresql, not {url.get_backend_name()}")
        if url.get_backend_name() == "sqlite" and url.database in (None, "", ":memory:"):
            raise ValueError("must name a file: a database in memory would lose every conversation at a restart")
        return value

    @field_validator("secret_key")
    @classmethod
    def _real_secret(cls, value: SecretStr | None) -> SecretStr | None:
        if value is not None:
            check_secret(value.get_secret_value())
        return value

    @field_validator("backend_key")
    @classmethod
    def _fits_a_header(cls, value: SecretStr | None) -> SecretStr | None:
        if value is not None and not re.fullmatch(r"[!-~]+", value.get_secret_value()):
            raise ValueError(
                "must be printable ASCII characters without spaces, as `python -m serve_app keys new` makes"
            )
        return value

    @field_validator("max_turns_sent")
    @classmethod
    def _odd(cls, value: int) -> int:
        if value % 2 == 0:
            raise ValueError("must be odd: turns alternate, and the first and the last one are the user's")
        return value

    @field_validator("rate_store")
    @classmethod
    def _redis_url(cls, value: SecretStr | None) -> SecretStr | None:
        if value is not None and not value.get_secret_value().startswith(("redis://", "rediss://")):
            raise ValueError("must be a Redis URL such as redis://:password@host:6379")
        return value

    @model_validator(mode="after")
    def _users_are_named_by_a_known_proxy(self) -> Self:
        if self.user_header is not None and not self.trusted_proxies:
            raise ValueError("FRONTEND_USER_HEADER is believed from FRONTEND_TRUSTED_PROXIES only: set them, too")
        return self

    @model_validator(mode="after")
    def _shared_database_needs_a_given_secret(self) -> Self:
        if self.secret_key is None and self.sqlite_path is None:
            raise ValueError(
                "FRONTEND_SECRET_KEY is required with a database server: all replicas must sign cookies alike. "
                "Make one with: python -c 'import secrets; print(secrets.token_urlsafe(48))'"
            )
        return self

    @property
    def max_form_bytes(self) -> int:
        """Largest body of a form: a message of twice the length, so that one too long is shown again, and a bit."""
        return 2 * self.max_message_chars * FORM_BYTES_PER_CHAR + 4_096

    @property
    def max_knowledge_form_bytes(self) -> int:
        """Largest body of a form with a knowledge text, likewise."""
        return self.max_knowledge_chars * FORM_BYTES_PER_CHAR + self.max_form_bytes

    @property
    def url(self) -> URL:
        """The database's URL, parsed."""
        return make_url(self.database_url)

    @property
    def sqlite_path(self) -> Path | None:
        """The SQLite database's file, or None with a database server."""
        if self.url.get_backend_name() != "sqlite" or self.url.database is None:
            return None
        return Path(self.url.database)


def check_secret(secret: str) -> None:
    """Raise ValueError, never naming the value, when `secret` is too short or looks like a placeholder."""
    if len(secret) < MIN_SECRET_LENGTH:
        raise ValueError(f"is too short: {len(secret)} characters, at least {MIN_SECRET_LENGTH} are needed")
    lowered = secret.lower()
    if any(word in lowered for word in PLACEHOLDERS) or len(set(secret)) < MIN_SECRET_VARIETY:
        raise ValueError("looks like a placeholder: use random characters, for example of secrets.token_urlsafe(48)")


def unknown_names(environment: Iterable[str]) -> list[str]:
    """Names that look like settings and are none: probably misspelt.

    They are warned of, not refused: Kubernetes adds names of its own for a Service that is called `frontend`.
    """
    prefix = "FRONTEND_"
    known = {prefix + name.upper() for name in Settings.model_fields}
    return sorted(name for name in environment if name.startswith(prefix) and name not in known)
