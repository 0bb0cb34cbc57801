"""HTTP: /v1, OpenAI's API over the same path as /chat. What differs is the form of requests, replies and errors."""

import time
from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import aclosing
from typing import Any
from urllib.parse import quote

from fastapi import FastAPI, Request, Response
from pydantic_core import to_json

from serve_app import openapi
from serve_app.chat import Chat, Piece
from serve_app.errors import InvalidRequest, UnknownModel
from serve_app.http_errors import request_id_of
from serve_app.messages import ChatReply, ChatRequest
from serve_app.openai_errors import openai_error
from serve_app.openai_messages import (
    MOST_CHOICES,
    AnyRequest,
    ChatCompletion,
    ChatCompletionRequest,
    Completion,
    CompletionRequest,
    Model,
    ModelList,
)
from serve_app.openai_translation import (
    ChatForm,
    Form,
    TextForm,
    chat_request,
    completion_requests,
    copies,
    in_openais_names,
    usage,
)
from serve_app.reply_stream import event_stream, interleaved, opened, origin_headers

_POST_ERRORS = (400, 401, 404, 408, 413, 429, 500, 503, 504)
_DONE = "data: [DONE]\n\n"


def add_routes(api: FastAPI, chat: Chat) -> None:
    started_at = int(time.time())
    longest = chat.args.max_reply_tokens

    def served(model: str) -> Model:
        """Raises UnknownModel. Where the fallback is served, it answers for the model that was to be."""
        name = chat.checkpoint.name
        if model not in (name, chat.checkpoint.requested):
            raise UnknownModel(f"model: there is no such model here; {name} is what is served")
        return {"id": name, "object": "model", "created": started_at, "owned_by": "godel-serve"}

    @api.get("/v1/models", responses=openapi.openai_errors(401, 500))
    async def get_models() -> ModelList:
        """The model that is served."""
        return {"object": "list", "data": [served(chat.checkpoint.name)]}

    @api.get("/v1/models/{model:path}", responses=openapi.openai_errors(401, 404, 500))
    async def get_model(model: str) -> Model:
        """The same by its name."""
        return served(model)

    @api.post(
        "/v1/chat/completions",
        response_model=ChatCompletion,
        responses=openapi.openai_reply("ChatCompletionChunk") | openapi.openai_errors(*_POST_ERRORS),
    )
    async def post_chat_completions(body: ChatCompletionRequest, request: Request) -> Response:
        """Answer the last message, the user's: as JSON, or with `stream` as server-sent events."""
        name = served(body.model)["id"]
        form = ChatForm(request_id_of(request), name)
        return await _respond(chat, request, body, [chat_request(body, longest)], form)

    @api.post(
        "/v1/completions",
        response_model=Completion,
        responses=openapi.openai_reply("Completion") | openapi.openai_errors(*_POST_ERRORS),
    )
    async def post_completions(body: CompletionRequest, request: Request) -> Response:
        """Answer each prompt as the only turn of a dialogue: as JSON, or with `stream` as server-sent events."""
        name = served(body.model)["id"]
        form = TextForm(request_id_of(request), name)
        return await _respond(chat, request, body, completion_requests(body, longest), form)


async def _respond(
    chat: Chat, request: Request, body: AnyRequest, asked: Sequence[ChatRequest], form: Form
) -> Response:
    """asked: one request for each prompt."""
    streamed, n = bool(body.stream), body.n or 1
    request_id = request_id_of(request)
    if len(asked) * n > MOST_CHOICES:
        raise InvalidRequest(f"n: {n} for each of {len(asked)} prompts; at most {MOST_CHOICES} replies are allowed")
    for _ in range(1, len(asked) * n):
        request.scope["enter"]()  # each choice takes a place of its own
    choices: list[AsyncGenerator[Piece]] = []
    for prompt in asked:
        for choice in copies(prompt, n, chat.seed(prompt, _name(request_id, len(choices)))):
            name = _name(request_id, len(choices))
            choices.append(chat.reply(choice, name, streamed=streamed).read())
    try:
        (_, first), pieces = await opened(interleaved(choices))
    except InvalidRequest as error:
        raise in_openais_names(error, body) from None
    if streamed:
        return event_stream(
            _chunks(form, pieces, n, len(choices), include_usage=_includes_usage(body)),
            lambda type_, message: _event(openai_error(type_, message).model_dump()),
            request_id,
            origin_headers(first.chunk.origin),
        )
    replies = await _replies(pieces)
    answer = to_json(form.whole(replies, usage(replies, n)))
    return Response(answer, media_type="application/json", headers=_reply_headers(replies[0]))


def _name(request_id: str, choice: int) -> str:
    """Of a choice's reply; the first has the request's own, as on /chat."""
    return f"{request_id}-{choice}" if choice else request_id


async def _replies(pieces: AsyncGenerator[tuple[int, Piece]]) -> list[ChatReply]:
    """Of all choices, in their order."""
    async with aclosing(pieces):
        replies = {choice: piece.reply async for choice, piece in pieces if piece.reply}
    return [replies[choice] for choice in sorted(replies)]


async def _chunks(
    form: Form, pieces: AsyncGenerator[tuple[int, Piece]], n: int, choices: int, *, include_usage: bool
) -> AsyncGenerator[str]:
    """For each choice a first chunk, pieces of text and a last one; then the usage, where it is asked for."""
    replies: dict[int, ChatReply] = {}
    usual = {"usage": None} if include_usage else {}
    async with aclosing(pieces):
        for choice in range(choices):
            yield _event(form.first(choice) | usual)
        async for choice, piece in pieces:
            if piece.text:
                yield _event(form.piece(choice, piece.text) | usual)
            if piece.reply:
                replies[choice] = piece.reply
                yield _event(form.last(choice, piece.reply) | usual)
    if include_usage:
        yield _event(form.usage(usage([replies[choice] for choice in range(choices)], n)))
    yield _DONE


def _includes_usage(body: AnyRequest) -> bool:
    return bool(body.stream_options and body.stream_options.include_usage)


def _event(data: Mapping[str, Any]) -> str:
    return f"data: {to_json(data).decode()}\n\n"


def _reply_headers(reply: ChatReply) -> dict[str, str]:
    """Where a reply came from, for clients that keep headers and drop fields they do not know."""
    cited = dict.fromkeys(citation.passage for citation in reply.citations)
    return origin_headers(reply) | {
        "x-model": quote(reply.model),
        "x-config-version": reply.config_version,
        "x-grounded": f"{reply.grounded:g}",
        "x-cited-passages": ",".join(cited),
    }
