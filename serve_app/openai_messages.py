"""OpenAI's bodies: what this service takes of them on /v1, and what it answers.

What is supported is a field. So is what OpenAI has and this service does not, but it takes only what leaves it off
(`Unsupported`), since clients send `n: 1` or `logprobs: false` unasked. Any other name is refused as unknown.
"""

import json
from typing import Annotated, Any, Literal, NotRequired

from pydantic import BeforeValidator, ConfigDict, FailFast, Field, GetCoreSchemaHandler, GetJsonSchemaHandler
from pydantic_core import CoreSchema, PydanticCustomError, core_schema
from typing_extensions import TypedDict

from serve_app.messages import (
    LARGEST_SEED,
    MAX_TURNS,
    MOST_STOPS,
    ChatReply,
    FinishReason,
    GenerationOverrides,
    KnownNames,
    StopSequence,
    Text,
    WholeNumbers,
)

# Each takes a slot, and a place in the queue before that.
MOST_CHOICES = 8
_MOST_DOCUMENTS = 1000


class Unsupported:
    """Says of a field that it takes null and the given values alone, which leave it off."""

    def __init__(self, *off: Any) -> None:
        self._off = off

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        return core_schema.no_info_plain_validator_function(self._check)

    def __get_pydantic_json_schema__(self, schema: CoreSchema, handler: GetJsonSchemaHandler) -> dict[str, Any]:
        return {"enum": [None, *self._off], "description": "not supported: it can only be left off"}

    def _check(self, value: Any) -> Any:
        # In Python, unlike in JSON, False is 0.
        if value is None or any(
            value == each and isinstance(value, bool) == isinstance(each, bool) for each in self._off
        ):
            return value
        allowed = " or ".join(map(json.dumps, self._off)) or "null"
        raise PydanticCustomError("unsupported", "only {allowed} is supported here", {"allowed": allowed})


class TextPart(TypedDict):
    type: Literal["text"]
    text: str


def _joined(content: Any) -> Any:
    """The text of a message's parts, one below the other."""
    return "\n".join(map(_text, content)) if isinstance(content, list) else content


def _text(part: Any) -> str:
    match part:
        case {"type": "text", "text": str(text), **others} if not others:
            return text
        case {"type": "image_url" | "input_image" | "input_audio" | "file" | "refusal" as kind}:
            raise ValueError(f"parts of the type {kind} are not supported; the model reads text alone")
    raise ValueError('each part must be {"type": "text", "text": "..."}')


def _listed(value: Any) -> Any:
    return [value] if isinstance(value, str) else [] if value is None else value


Content = Annotated[Text | None, BeforeValidator(_joined, json_schema_input_type=str | list[TextPart] | None)]
_Stops = Annotated[list[StopSequence], Field(max_length=MOST_STOPS)]
_Prompts = Annotated[list[Text], Field(min_length=1, max_length=MOST_CHOICES)]


class Message(KnownNames):
    """One of a chat. An assistant's may come as it was answered, with all of its nulls."""

    model_config = ConfigDict(strict=True)

    role: Literal["system", "developer", "user", "assistant"]
    content: Content = None
    name: Annotated[Any, Unsupported()] = None
    refusal: Annotated[Any, Unsupported()] = None
    annotations: Annotated[Any, Unsupported([])] = None
    audio: Annotated[Any, Unsupported()] = None
    tool_calls: Annotated[Any, Unsupported([])] = None
    function_call: Annotated[Any, Unsupported()] = None


class Document(KnownNames):
    """A text that the reply is to be grounded in."""

    model_config = ConfigDict(strict=True)

    text: Text
    title: Text | None = None


class StreamOptions(KnownNames):
    model_config = ConfigDict(strict=True)

    include_usage: bool | None = None
    include_obfuscation: Annotated[Any, Unsupported(False)] = None


class AnyRequest(WholeNumbers):
    """What both kinds of completions take. What is left out or null is as the configuration says."""

    model_config = ConfigDict(strict=True)

    model: Annotated[Text, Field(description="as /v1/models lists it")]
    max_tokens: Annotated[
        int | None, Field(ge=1, description="most tokens of a reply; never more than the service allows")
    ] = None
    temperature: Annotated[float | None, Field(ge=0, le=2, description="0: always the likeliest token")] = None
    top_p: Annotated[float | None, Field(gt=0, le=1, description="sample among the likeliest tokens that reach p")] = (
        None
    )
    seed: Annotated[int | None, Field(ge=0, le=LARGEST_SEED, description="makes a sampled reply repeatable")] = None
    n: Annotated[int | None, Field(ge=1, le=MOST_CHOICES, description="replies, each drawn by itself")] = None
    stop: Annotated[
        _Stops,
        FailFast(),
        BeforeValidator(_listed, json_schema_input_type=StopSequence | _Stops | None),
        Field(description="a reply ends before the first of these texts"),
    ] = []
    stream: bool | None = None
    stream_options: StreamOptions | None = None
    user: Annotated[Text | None, Field(description="has no effect, and is not logged")] = None

    documents: Annotated[
        list[Document] | None,
        FailFast(),
        Field(max_length=_MOST_DOCUMENTS, description="not OpenAI's: the knowledge of this request"),
    ] = None
    generation: Annotated[
        GenerationOverrides | None, Field(description="not OpenAI's: as in POST /chat; OpenAI's own names win over it")
    ] = None

    frequency_penalty: Annotated[Any, Unsupported(0)] = None
    presence_penalty: Annotated[Any, Unsupported(0)] = None
    logit_bias: Annotated[Any, Unsupported({})] = None

    @property
    def most_tokens(self) -> int | None:
        return self.max_tokens


class ChatCompletionRequest(AnyRequest):
    """The body of POST /v1/chat/completions."""

    messages: Annotated[
        list[Message],
        FailFast(),
        # That it is the last one that is the user's is more than a schema can say.
        Field(
            min_length=1,
            max_length=MAX_TURNS,
            json_schema_extra={"contains": {"properties": {"role": {"const": "user"}}, "required": ["content"]}},
        ),
    ]
    max_completion_tokens: Annotated[
        int | None, Field(ge=1, description="OpenAI's newer name of max_tokens; the smaller one counts")
    ] = None

    safety_identifier: Annotated[Text | None, Field(description="OpenAI's newer name of user")] = None
    response_format: Annotated[Any, Unsupported({"type": "text"})] = None
    modalities: Annotated[Any, Unsupported(["text"])] = None
    service_tier: Annotated[Any, Unsupported("auto", "default")] = None
    store: Annotated[Any, Unsupported(False)] = None
    metadata: Annotated[Any, Unsupported({})] = None
    logprobs: Annotated[Any, Unsupported(False)] = None
    top_logprobs: Annotated[Any, Unsupported(0)] = None
    tools: Annotated[Any, Unsupported([])] = None
    tool_choice: Annotated[Any, Unsupported("none", "auto")] = None
    parallel_tool_calls: Annotated[Any, Unsupported(True, False)] = None  # of tools that there are not
    functions: Annotated[Any, Unsupported([])] = None
    function_call: Annotated[Any, Unsupported("none", "auto")] = None
    audio: Annotated[Any, Unsupported()] = None
    prediction: Annotated[Any, Unsupported()] = None
    reasoning_effort: Annotated[Any, Unsupported("none")] = None
    verbosity: Annotated[Any, Unsupported()] = None
    moderation: Annotated[Any, Unsupported()] = None
    web_search_options: Annotated[Any, Unsupported()] = None
    prompt_cache_key: Annotated[Any, Unsupported()] = None
    prompt_cache_options: Annotated[Any, Unsupported()] = None
    prompt_cache_retention: Annotated[Any, Unsupported()] = None

    @property
    def most_tokens(self) -> int | None:
        return min((most for most in (self.max_tokens, self.max_completion_tokens) if most is not None), default=None)


class CompletionRequest(AnyRequest):
    """The body of POST /v1/completions. Each prompt is the only turn of a dialogue."""

    prompt: Annotated[_Prompts, FailFast(), BeforeValidator(_listed, json_schema_input_type=Text | _Prompts)]

    logprobs: Annotated[Any, Unsupported()] = None
    best_of: Annotated[Any, Unsupported(1)] = None
    echo: Annotated[Any, Unsupported(False)] = None
    suffix: Annotated[Any, Unsupported()] = None


class CompletionUsage(TypedDict):
    prompt_tokens: int
    completion_tokens: int
    total_tokens: int


class Answered(TypedDict):
    """What all answers and chunks begin with."""

    id: str
    created: int  # seconds since 1970
    model: str


class AssistantMessage(TypedDict):
    role: Literal["assistant"]
    content: str
    refusal: None


class ChatChoice(TypedDict):
    index: int
    message: AssistantMessage
    finish_reason: FinishReason
    logprobs: None
    reply: ChatReply  # not OpenAI's: what POST /chat answers


class ChatCompletion(Answered):
    object: Literal["chat.completion"]
    system_fingerprint: str  # of the configuration
    choices: list[ChatChoice]
    usage: CompletionUsage


class Delta(TypedDict):
    role: NotRequired[Literal["assistant"]]
    content: NotRequired[str]


class ChatChunkChoice(TypedDict):
    index: int
    delta: Delta
    finish_reason: FinishReason | None
    logprobs: None
    reply: NotRequired[ChatReply]  # of the last one


class ChatCompletionChunk(Answered):
    object: Literal["chat.completion.chunk"]
    choices: list[ChatChunkChoice]
    usage: NotRequired[CompletionUsage | None]  # where it was asked for


class TextChoice(TypedDict):
    index: int
    text: str
    finish_reason: FinishReason | None
    logprobs: None
    reply: NotRequired[ChatReply]  # not OpenAI's: what POST /chat answers; of a stream, in the last one


class Completion(Answered):
    """An answer, and each chunk of one."""

    object: Literal["text_completion"]
    system_fingerprint: NotRequired[str]  # of the configuration
    choices: list[TextChoice]
    usage: NotRequired[CompletionUsage | None]


class Model(TypedDict):
    id: str
    object: Literal["model"]
    created: int
    owned_by: str


class ModelList(TypedDict):
    object: Literal["list"]
    data: list[Model]
