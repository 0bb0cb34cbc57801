"""Errors in OpenAI's shape and terms, for all paths under /v1. Pure: `http_errors` sends them."""

import re

from pydantic import BaseModel

PREFIX = "/v1/"

# By this service's names of errors. Who makes clients' own errors of these names has them from OpenAI.
_TYPES = {
    "overloaded": "rate_limit_error",
    "no_replica": "server_error",
    "starting": "server_error",
    "reply_interrupted": "server_error",
    "deadline_exceeded": "server_error",
    "reply_failed": "server_error",
    "internal_error": "server_error",
}
_CODES = {
    "unauthorized": "invalid_api_key",
    "overloaded": "rate_limit_exceeded",
    "invalid_request": "invalid_value",
}
# By pydantic's names of what is wrong with a field, and openai_messages' own.
_CODES_OF_MISTAKES = {
    "extra_forbidden": "unknown_parameter",
    "missing": "missing_required_parameter",
    "unsupported": "unsupported_parameter",
}
_FIELD = re.compile(r"([a-z_]+(?:\.\w+)*): ")


class OpenAIErrorDetail(BaseModel):
    message: str
    type: str
    param: str | None
    code: str


class OpenAIError(BaseModel):
    """The one shape of every error under /v1."""

    error: OpenAIErrorDetail


def openai_status(status: int) -> int:
    """OpenAI has one for all that is wrong with a body."""
    return 400 if status == 422 else status


def openai_error(type_: str, message: str, mistake: str | None = None) -> OpenAIError:
    """type_, message: as elsewhere; where a field is wrong, its name comes first. mistake: pydantic's name of it."""
    named = _FIELD.match(message) if type_ in ("invalid_request", "model_not_found") else None
    return OpenAIError(
        error=OpenAIErrorDetail(
            message=message,
            type=_TYPES.get(type_, "invalid_request_error"),
            param=named[1] if named else None,
            code=_CODES_OF_MISTAKES.get(mistake or "") or _CODES.get(type_, type_),
        )
    )
