"""Pure: OpenAI's requests -> the service's own; replies -> OpenAI's answers.

system, developer     -> the instruction
user, assistant       -> the turns of the dialogue
documents, <context>  -> the knowledge; without them it is the configuration's
"""

import re
import time
from collections.abc import Iterable, Sequence
from itertools import groupby
from typing import Any, Protocol

from serve_app.errors import InvalidRequest
from serve_app.messages import (
    LARGEST_SEED,
    LONGEST_REPLY,
    ChatReply,
    ChatRequest,
    GenerationOverrides,
    says_something,
)
from serve_app.openai_messages import (
    AnyRequest,
    ChatChoice,
    ChatChunkChoice,
    ChatCompletion,
    ChatCompletionChunk,
    ChatCompletionRequest,
    Completion,
    CompletionRequest,
    CompletionUsage,
    Delta,
    Document,
    TextChoice,
)

# What Open WebUI and others put around the texts that they found.
_OPEN, _CLOSE = "<context>", "</context>"
_MARK = re.compile(r"</?[a-z_]+(?: [^<>]*)?>")  # such as <source id="1">, between these texts

_FIELD = re.compile(r"[a-z_]+(?:\.max_length)?")


def chat_request(body: ChatCompletionRequest, longest: int) -> ChatRequest:
    """longest: reply that the service allows, in tokens, the start token included. Raises InvalidRequest."""
    instructions: list[str] = []
    turns: list[tuple[str, str]] = []
    contexts: list[str] = []
    for message in body.messages:
        text = message.content or ""
        if message.role != "assistant":
            text = _cut_contexts(text, contexts)
        if not says_something(text):
            continue
        if message.role in ("system", "developer"):
            instructions.append(text)
        else:
            turns.append((message.role, text))
    if not turns or turns[-1][0] != "user":
        raise InvalidRequest("messages: the last one must be the user's, and hold some text")
    # Turns alternate: what one side says in several messages is one turn.
    dialog = ["\n".join(text for _, text in turn) for _, turn in groupby(turns, key=lambda turn: turn[0])]
    return _request(body, dialog, "\n".join(instructions), contexts, longest)


def completion_requests(body: CompletionRequest, longest: int) -> list[ChatRequest]:
    """One for each prompt. longest: as above. Raises InvalidRequest."""
    requests = []
    for prompt in body.prompt:
        contexts: list[str] = []
        text = _cut_contexts(prompt, contexts)
        if not says_something(text):
            raise InvalidRequest("prompt: is blank; it must hold some text")
        requests.append(_request(body, [text], "", contexts, longest))
    return requests


def copies(request: ChatRequest, n: int, seed: int) -> list[ChatRequest]:
    """The request itself and n - 1 others, each with the next seed after its own, which is given."""
    return [request, *(_with_seed(request, (seed + further) % (LARGEST_SEED + 1)) for further in range(1, n))]


def in_openais_names(error: InvalidRequest, body: AnyRequest) -> InvalidRequest:
    """The same complaint, about the field of `body` that it came from."""
    origins = {
        "dialog": "messages" if isinstance(body, ChatCompletionRequest) else "prompt",
        "instruction": "messages",
        "knowledge": "documents",
    }
    if body.most_tokens is not None:
        origins["generation.max_length"] = "max_tokens"
    field, separator, complaint = str(error).partition(": ")
    named = _FIELD.match(field)
    origin = origins.get(named[0]) if named else None
    return InvalidRequest(f"{origin}{separator}{complaint}") if origin else error


def _cut_contexts(text: str, contexts: list[str]) -> str:
    """The text without its context blocks; what was in them goes to `contexts`."""
    outside, end = [], 0
    while (begin := text.find(_OPEN, end)) >= 0 and (close := text.find(_CLOSE, begin)) >= 0:
        outside.append(text[end:begin])
        contexts.append(_MARK.sub("\n\n", text[begin + len(_OPEN) : close]))
        end = close + len(_CLOSE)
    return "".join([*outside, text[end:]])


def _request(
    body: AnyRequest, dialog: list[str], instruction: str, contexts: Iterable[str], longest: int
) -> ChatRequest:
    knowledge = [*map(_titled, body.documents or ()), *filter(says_something, contexts)]
    return ChatRequest(
        dialog=dialog,
        instruction=instruction or None,
        knowledge="\n\n".join(knowledge) if knowledge or body.documents is not None else None,
        generation=_generation(body, longest),
        stop=body.stop,
    )


def _titled(document: Document) -> str:
    return f"{document.title}\n{document.text}" if document.title else document.text


def _generation(body: AnyRequest, longest: int) -> GenerationOverrides:
    """OpenAI's values over those of `generation`."""
    values: dict[str, Any] = {"temperature": body.temperature, "top_p": body.top_p, "seed": body.seed}
    if body.most_tokens is not None:  # a reply is no longer than asked for either way
        values["max_length"] = min(body.most_tokens + 1, longest, LONGEST_REPLY)
    if body.temperature is not None or body.top_p is not None:
        values["do_sample"] = body.temperature != 0
    given = {name: value for name, value in values.items() if value is not None}
    own = body.generation.model_dump(exclude_unset=True) if body.generation else {}
    return GenerationOverrides.model_validate(own | given)


def _with_seed(request: ChatRequest, seed: int) -> ChatRequest:
    generation = request.generation or GenerationOverrides()
    return request.model_copy(update={"generation": generation.model_copy(update={"seed": seed})})


def usage(replies: Sequence[ChatReply], n: int) -> CompletionUsage:
    """Of all choices: n of each prompt, which counts once."""
    prompt = sum(reply.usage.prompt_tokens for reply in replies[::n])
    completion = sum(reply.usage.completion_tokens for reply in replies)
    return {"prompt_tokens": prompt, "completion_tokens": completion, "total_tokens": prompt + completion}


class Form(Protocol):
    """How an answer looks: whole, or as the chunks of a stream. `index`: the choice's."""

    def whole(self, replies: Sequence[ChatReply], usage: CompletionUsage) -> Any: ...

    def first(self, index: int) -> Any: ...

    def piece(self, index: int, text: str) -> Any: ...

    def last(self, index: int, reply: ChatReply) -> Any: ...

    def usage(self, usage: CompletionUsage) -> Any: ...


class ChatForm:
    """Of /v1/chat/completions."""

    def __init__(self, request_id: str, model: str) -> None:
        self._id = f"chatcmpl-{request_id}"
        self._model = model
        self._created = int(time.time())

    def whole(self, replies: Sequence[ChatReply], usage: CompletionUsage) -> ChatCompletion:
        return {
            "id": self._id,
            "object": "chat.completion",
            "created": self._created,
            "model": self._model,
            "system_fingerprint": _fingerprint(replies[0]),
            "choices": [self._choice(index, reply) for index, reply in enumerate(replies)],
            "usage": usage,
        }

    def first(self, index: int) -> ChatCompletionChunk:
        return self._chunk(index, {"role": "assistant", "content": ""})

    def piece(self, index: int, text: str) -> ChatCompletionChunk:
        return self._chunk(index, {"content": text})

    def last(self, index: int, reply: ChatReply) -> ChatCompletionChunk:
        return self._chunk(index, {}, reply)

    def usage(self, usage: CompletionUsage) -> ChatCompletionChunk:
        return self._chunks([]) | {"usage": usage}

    def _choice(self, index: int, reply: ChatReply) -> ChatChoice:
        return {
            "index": index,
            "message": {"role": "assistant", "content": reply.response, "refusal": None},
            "finish_reason": reply.finish_reason,
            "logprobs": None,
            "reply": reply,
        }

    def _chunk(self, index: int, delta: Delta, reply: ChatReply | None = None) -> ChatCompletionChunk:
        choice: ChatChunkChoice = {"index": index, "delta": delta, "finish_reason": None, "logprobs": None}
        if reply:
            choice |= {"finish_reason": reply.finish_reason, "reply": reply}
        return self._chunks([choice])

    def _chunks(self, choices: list[ChatChunkChoice]) -> ChatCompletionChunk:
        return {
            "id": self._id,
            "object": "chat.completion.chunk",
            "created": self._created,
            "model": self._model,
            "choices": choices,
        }


class TextForm:
    """Of /v1/completions."""

    def __init__(self, request_id: str, model: str) -> None:
        self._id = f"cmpl-{request_id}"
        self._model = model
        self._created = int(time.time())

    def whole(self, replies: Sequence[ChatReply], usage: CompletionUsage) -> Completion:
        choices = [self._choice(index, reply.response, reply) for index, reply in enumerate(replies)]
        return self._answer(choices) | {"system_fingerprint": _fingerprint(replies[0]), "usage": usage}

    def first(self, index: int) -> Completion:
        return self.piece(index, "")

    def piece(self, index: int, text: str) -> Completion:
        return self._answer([self._choice(index, text)])

    def last(self, index: int, reply: ChatReply) -> Completion:
        return self._answer([self._choice(index, "", reply)])

    def usage(self, usage: CompletionUsage) -> Completion:
        return self._answer([]) | {"usage": usage}

    def _choice(self, index: int, text: str, reply: ChatReply | None = None) -> TextChoice:
        choice: TextChoice = {"index": index, "text": text, "finish_reason": None, "logprobs": None}
        if reply:
            choice |= {"finish_reason": reply.finish_reason, "reply": reply}
        return choice

    def _answer(self, choices: list[TextChoice]) -> Completion:
        return {
            "id": self._id,
            "object": "text_completion",
            "created": self._created,
            "model": self._model,
            "choices": choices,
        }


def _fingerprint(reply: ChatReply) -> str:
    return f"fp_{reply.config_version}"
