"""The OpenAPI document: what FastAPI cannot read off the types: the limits of this deployment, and all the errors."""

from collections.abc import Iterable, Mapping
from typing import Any

from fastapi import FastAPI

from serve_app.http_errors import ErrorBody
from serve_app.messages import ReplyStart
from serve_app.openai_errors import OpenAIError
from serve_app.settings import AppArgs

_TEXT = {"schema": {"type": "string"}}
_RETRY_AFTER = {"Retry-After": {"description": "seconds until it is worth trying again", "schema": {"type": "integer"}}}
_MEANINGS = {
    400: "the body is not JSON",
    401: "an API key is needed, and there is none, or it is not good",
    403: "the API key may not change the configuration, or the file cannot be written",
    408: "the body did not arrive in time",
    409: "the file has changed meanwhile",
    413: "the body is too large",
    422: "a field is wrong; the message says which, and what would be right",
    429: "all replicas are busy and the queues are full",
    500: "an error of this server",
    503: "no model replica is ready, or those that wrote the reply died",
    504: "the reply was not complete by its deadline",
}
_OPENAI_MEANINGS = {
    400: "the body is not JSON, or a field is wrong or not supported; `param` says which",
    404: "it names a model that is not served",
}
_REPLY_HEADERS = {
    "x-model": "what wrote it",
    "x-config-version": "a hash of the configuration that it was written with",
    "x-grounded": "the share of its words that stand in passages that the model was given, 0 to 1",
    "x-cited-passages": "the ids of those passages",
}


def _event(name: str, data: dict[str, Any]) -> dict[str, Any]:
    content = {"type": "string", "contentMediaType": "application/json", "contentSchema": data}
    return {"properties": {"event": {"const": name}, "data": content}}


def _component(name: str) -> dict[str, Any]:
    return {"$ref": f"#/components/schemas/{name}"}


_TOKEN = {"type": "object", "properties": {"text": {"type": "string"}}, "required": ["text"]}
_EVENTS = [
    _event("start", ReplyStart.model_json_schema()),
    _event("token", _TOKEN),
    _event("done", _component("ChatReply")),
    _event("error", _component("ErrorBody")),
]
# As OpenAPI 3.1 describes a stream: by the schema of each event.
_STREAM = {"schema": {"type": "object", "required": ["event", "data"], "oneOf": _EVENTS}}

# A reply in both of its forms. The type of the JSON is the route's own.
REPLY: dict[int | str, dict[str, Any]] = {
    200: {
        "description": "the reply; if a stream was asked for, as events: `start`, `token` ..., `done` or `error`",
        "content": {"text/event-stream": _STREAM},
        "headers": {
            "x-replica-id": {"description": "the model replica that wrote it", **_TEXT},
            "x-node-id": {"description": "that replica's Ray node", **_TEXT},
            "x-request-id": {"description": "the request's id, or the one that it was given", **_TEXT},
        },
    }
}


def errors(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """For a route's `responses`."""
    return _errors(ErrorBody, _MEANINGS, statuses)


def openai_errors(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """The same under /v1."""
    return _errors(OpenAIError, _MEANINGS | _OPENAI_MEANINGS, statuses)


def _errors(shape: type, meanings: Mapping[int, str], statuses: Iterable[int]) -> dict[int | str, dict[str, Any]]:
    return {
        status: {"model": shape, "description": meanings[status]}
        | ({"headers": _RETRY_AFTER} if status in (429, 503) else {})
        for status in statuses
    }


def openai_reply(chunk: str) -> dict[int | str, dict[str, Any]]:
    """chunk: the component that each event of a stream holds, but for the last one, `[DONE]`."""
    data = {"type": "string", "contentMediaType": "application/json", "contentSchema": _component(chunk)}
    event = {"type": "object", "required": ["data"], "properties": {"data": {"anyOf": [data, {"const": "[DONE]"}]}}}
    origin: dict[str, Any] = REPLY[200]["headers"]
    return {
        200: {
            "description": "the reply; if a stream was asked for, as events, the last of them `[DONE]`",
            "content": {"text/event-stream": {"schema": event}},
            "headers": origin | {name: {"description": text, **_TEXT} for name, text in _REPLY_HEADERS.items()},
        }
    }


def add_limits(api: FastAPI, args: AppArgs, model: str) -> None:
    """Has the document say what `args` allow, and which model is served."""
    made = api.openapi

    def openapi() -> dict[str, Any]:
        document = api.openapi_schema or made()
        schemas = document["components"]["schemas"]
        request, generation = (schemas[name]["properties"] for name in ("ChatRequest", "GenerationOverrides"))
        request["dialog"]["items"]["maxLength"] = args.max_turn_chars
        _text(request["instruction"])["maxLength"] = args.max_turn_chars
        _text(request["knowledge"])["maxLength"] = args.max_knowledge_chars
        for length in ("max_length", "min_length"):
            generation[length]["maximum"] = args.max_reply_tokens
        for name in ("ChatCompletionRequest", "CompletionRequest"):
            schemas[name]["properties"]["model"]["enum"] = [model]
        for setting in generation.values():
            setting.pop("default", None)  # it is what the configuration says at the time
        return document

    api.openapi = openapi  # type: ignore[method-assign]  # as FastAPI's guide does


def _text(optional: dict[str, Any]) -> dict[str, Any]:
    """The string's part of a schema of a string or null."""
    options: list[dict[str, Any]] = optional["anyOf"]
    (text,) = (option for option in options if option["type"] == "string")
    return text
