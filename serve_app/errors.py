"""Everything that can go wrong, in the domain's words. Status codes are given in http_errors.py only.

ServeAppError
├── ConfigError               a configuration file, or a value in it, is wrong
├── ModelError                a checkpoint cannot be had or cannot be read
└── RequestError              this one request cannot be answered
    ├── Unauthorized          its API key is missing, wrong or expired
    ├── Forbidden             its API key is good, but not for this
    ├── InvalidRequest        its shape or a value is wrong; says which
    ├── UnknownModel          it names a model that is not served
    ├── Outdated              what it is to change has been changed by somebody else
    ├── Overloaded            the queues are full; says when to come back
    ├── NoReplica             no model replica is ready
    ├── Starting              there was none, and one is starting; says when to come back
    ├── DeadlineExceeded      its time ran out
    ├── ReplyInterrupted      the replica that wrote it died, and no other could go on
    └── ReplyImpossible       the model fails on it
"""

from collections.abc import Mapping
from typing import Any, Literal

OverloadReason = Literal["queue_full", "share", "hopeless", "key_rate"]


class ServeAppError(Exception):
    """Base of this project's errors; its text is fit for a user."""


class ConfigError(ServeAppError):
    pass


class ModelError(ServeAppError):
    pass


class RequestError(ServeAppError):
    """`type` is the machine-readable name that clients get."""

    type = "request_error"
    retry_after_s: int | None = None

    @property
    def counted_as(self) -> str:
        """The reason that the metrics count a refusal under."""
        return self.type


class Unauthorized(RequestError):
    type = "unauthorized"


class Forbidden(RequestError):
    type = "forbidden"


class InvalidRequest(RequestError):
    type = "invalid_request"


class UnknownModel(RequestError):
    type = "model_not_found"


class Outdated(RequestError):
    type = "outdated"


class Overloaded(RequestError):
    type = "overloaded"

    def __init__(self, message: str, retry_after_s: int = 2, why: OverloadReason = "queue_full") -> None:
        super().__init__(message)
        self.retry_after_s = retry_after_s
        self._why = why

    @property
    def counted_as(self) -> str:
        return self._why


class NoReplica(RequestError):
    type = "no_replica"
    retry_after_s = 5


class Starting(RequestError):
    type = "starting"
    retry_after_s = 3


class DeadlineExceeded(RequestError):
    type = "deadline_exceeded"


class ReplyInterrupted(RequestError):
    type = "reply_interrupted"


class ReplyImpossible(RequestError):
    type = "reply_failed"


def reason(mistake: Mapping[str, Any]) -> str:
    """What is wrong, of one of pydantic's `errors()`: without the prefix that it gives to a validator's own words."""
    return str(mistake["msg"]).removeprefix("Value error, ")
