"""The type of every hop: browser -> ingress -> model replica -> engine, and back.

ChatRequest --ingress--> Prompt, Sampling, Candidates --> GenerateRequest --model--> engine
ChatReply  <--ingress--  Origin                       <-- TokenChunk      <--model-- engine
"""

import re
from dataclasses import dataclass, field
from typing import Annotated, Any, Literal, Self, TypeAlias

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    FailFast,
    Field,
    GetJsonSchemaHandler,
    Strict,
    StrictStr,
    StringConstraints,
    model_validator,
)
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema

FinishReason = Literal["stop", "length"]
State = Literal["RUNNING", "LATE", "STALLED"]  # of a model replica; see liveness.py
Stage = Literal["STARTING", "RUNNING", "DRAINING", "LOST"]  # of a replica's life, as Serve knows it

# Of a longer dialogue nothing but its newest turns could be read.
MAX_TURNS = 10_000
# The largest number up to which every reader of JSON has all whole numbers.
LARGEST_SEED = 2**53 - 1
# In tokens, whatever `max_reply_tokens` allows.
LONGEST_REPLY = 4096
# Stop sequences of a request: each piece of its reply is looked through for each.
MOST_STOPS = 4
# A character that is neither white space nor a control character.
_SAYS_SOMETHING = r"[^\s\u0000-\u001f\u007f-\u009f\ufeff]"
_says_something = re.compile(_SAYS_SOMETHING).search
# Names that do not exist, of which each would be an error; an answer shows as many.
_UNKNOWN_NAMES = 5


def _encodable(text: str) -> str:
    """JSON and YAML can spell half of a surrogate pair: a string without UTF-8, which no tokenizer takes."""
    try:
        text.encode()
    except UnicodeEncodeError:
        raise ValueError("holds half of a surrogate pair, which is not a character") from None
    return text


def says_something(text: str) -> bool:
    """Whether there is more in it than white space and control characters."""
    return _says_something(text) is not None


def _not_blank(text: str) -> str:
    if not says_something(text):
        raise ValueError("is blank; it must hold some text")
    return text


Text = Annotated[StrictStr, AfterValidator(_encodable)]
Line = Annotated[
    str,
    StringConstraints(strict=True, strip_whitespace=True, min_length=1, max_length=200),
    AfterValidator(_not_blank),
    Field(json_schema_extra={"pattern": _SAYS_SOMETHING}),
]
StopSequence = Annotated[str, StringConstraints(strict=True, min_length=1, max_length=200), AfterValidator(_encodable)]


class KnownNames(BaseModel):
    """Frozen, and refuses names that it does not have; at the cost of the first few, however many there are."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    @model_validator(mode="before")
    @classmethod
    def _few_unknown_names(cls, values: Any) -> Any:
        if not isinstance(values, dict):
            return values
        left_out = set([name for name in values if name not in cls.model_fields][_UNKNOWN_NAMES:])
        return {name: value for name, value in values.items() if name not in left_out} if left_out else values


class WholeNumbers(KnownNames):
    """Takes 68.0 for a whole number: JSON makes no difference."""

    @model_validator(mode="before")
    @classmethod
    def _whole_numbers(cls, values: Any) -> Any:
        if not isinstance(values, dict):
            return values
        return {
            name: int(value) if isinstance(value, float) and value.is_integer() else value
            for name, value in values.items()
        }


class Phrase(KnownNames):
    """A short reply that is no sentence of the knowledge; a text alone is one without examples."""

    reply: Line
    to: Annotated[
        tuple[Line, ...],
        FailFast(),
        Field(max_length=128, description="examples of what it is the reply to; none: it may be the reply to anything"),
    ] = ()

    @model_validator(mode="before")
    @classmethod
    def _text_alone(cls, value: Any) -> Any:
        if isinstance(value, str):
            return {"reply": value}
        if not isinstance(value, dict | cls):
            raise ValueError("must be a text, or an object of `reply`, a text, and `to`, a list of texts")
        return value

    @classmethod
    def __get_pydantic_json_schema__(cls, schema: CoreSchema, handler: GetJsonSchemaHandler) -> JsonSchemaValue:
        as_object = handler.resolve_ref_schema(handler(schema))
        return {"anyOf": [as_object["properties"]["reply"], as_object]}


class SamplingValues(KnownNames):
    """Each within its range; they need not fit together yet."""

    model_config = ConfigDict(validate_default=True)

    max_length: Annotated[
        int, Field(ge=2, le=LONGEST_REPLY, description="most tokens of a reply, the decoder's start token included")
    ] = 128
    min_length: Annotated[
        int, Field(ge=0, le=LONGEST_REPLY, description="fewest tokens of a reply, the start token included")
    ] = 0
    do_sample: Annotated[bool, Field(description="false: always the most likely token")] = False
    temperature: Annotated[float, Field(ge=0, le=10, description="randomness; 0 is the same as do_sample: false")] = 1.0
    top_k: Annotated[int, Field(ge=0, le=1_000_000, description="sample among the k likeliest tokens; 0: off")] = 0
    top_p: Annotated[float, Field(gt=0, le=1, description="sample among the likeliest tokens that reach p; 1: off")] = (
        0.9
    )
    repetition_penalty: Annotated[
        float, Field(ge=0.1, le=10, description="above 1: repeating becomes less likely; 1: off")
    ] = 1.0
    no_repeat_ngram_size: Annotated[
        int, Field(ge=0, le=LONGEST_REPLY, description="no run of n tokens occurs twice; 0: off")
    ] = 0
    seed: Annotated[
        int | None, Field(ge=0, lt=2**63, description="makes a sampled reply repeatable; null: made of the request id")
    ] = None


class Sampling(SamplingValues):
    """How a reply is chosen, token by token; the meaning of each value is that of transformers' `generate`."""

    @model_validator(mode="after")
    def _lengths_agree(self) -> Self:
        if self.min_length > self.max_length:
            raise ValueError(f"min_length ({self.min_length}) must not exceed max_length ({self.max_length})")
        return self

    @property
    def greedy(self) -> bool:
        return not self.do_sample or self.temperature == 0


class GenerationValues(SamplingValues):
    """Sampling's values, and how a reply is quoted; they need not fit together yet."""

    quote: Annotated[
        bool | None,
        Field(
            description="true: a reply is a sentence of the passages in its prompt, word for word, or one of `phrases` "
            "(min_length, repetition_penalty and no_repeat_ngram_size do not apply); null: as the model's "
            "generation_config.json recommends"
        ),
    ] = None
    quote_prior: Annotated[
        float,
        Field(ge=0, le=1000, description="weight of the ranking's score of a sentence beside the model's, if quoting"),
    ] = 128.0
    phrases: Annotated[
        tuple[Phrase, ...],
        Strict(False),  # JSON and YAML have lists
        FailFast(),
        Field(
            max_length=16,
            description="short replies that may be given instead of a sentence, if quoting: each a text, or an object "
            "of `reply` and `to`, examples of what it is the reply to",
        ),
    ] = ()
    unsure: Annotated[
        Line | None,
        Field(
            description="if quoting, what a sentence that may answer is given behind, where none surely does and the "
            "reply would be a phrase without examples; null: the phrase is the reply"
        ),
    ] = None


class GenerationOverrides(GenerationValues, WholeNumbers):
    """What a request sets of its Generation; the configuration says the rest.

    Strict, as the OpenAPI document says: a number is no text. A configuration's may be, as from the environment.
    """

    model_config = ConfigDict(strict=True)

    seed: Annotated[
        int | None,
        Field(ge=0, le=LARGEST_SEED, description="makes a sampled reply repeatable; null: made of the request id"),
    ] = None


class Generation(GenerationValues, Sampling):
    """How replies are written."""

    def overridden_by(self, other: GenerationOverrides | None) -> "Generation":
        """These values, replaced by those that `other` sets itself.

        Raises pydantic.ValidationError where the two do not fit together.
        """
        if other is None:
            return self
        # By attributes, as a dump would have each example of each phrase validated again.
        replaced = {name: getattr(other, name) for name in other.model_fields_set}
        return Generation.model_validate({name: getattr(self, name) for name in Generation.model_fields} | replaced)

    def sampling(self, seed: int) -> Sampling:
        """What of it the engine needs."""
        return Sampling.model_validate(self.model_dump(include=set(Sampling.model_fields)) | {"seed": seed})


class ChatRequest(KnownNames):
    """The body of POST /chat. Turns alternate; the last is the user's, and not blank."""

    model_config = ConfigDict(strict=True)

    # Without FailFast a list of wrong items costs a kilobyte of errors for each of them.
    dialog: Annotated[
        list[Text],
        FailFast(),
        # No schema can speak of the last item: that some turn is not blank is what it can say.
        Field(min_length=1, max_length=MAX_TURNS, json_schema_extra={"contains": {"pattern": _SAYS_SOMETHING}}),
    ]
    stream: bool = False
    instruction: Text | None = None
    knowledge: Text | None = None
    generation: GenerationOverrides | None = None
    stop: Annotated[
        list[StopSequence],
        FailFast(),
        Field(max_length=MOST_STOPS, description="the reply ends before the first of these texts"),
    ] = []
    timeout_s: Annotated[
        float | None, Field(ge=1, description="give up after so many seconds; never more than the server allows")
    ] = None


class Passage(BaseModel):
    """A piece of the knowledge text, and how well its best sentence fits the question; see `grounding.Sentence`."""

    model_config = ConfigDict(frozen=True)

    id: str
    text: str
    score: float
    filling: bool = False  # given because there was room, not for its score


@dataclass(frozen=True)
class Prompt:
    """What the model reads, and what had to be left out of it."""

    token_ids: list[int]  # with the closing </s>
    passages: list[Passage]
    dropped_turns: int
    dropped_passages: int  # of those that fit the question, not of the filling
    truncated_tokens: int  # cut off an instruction or last turn that was itself too long


@dataclass(frozen=True)
class Candidate:
    """A reply that the model may choose."""

    token_ids: tuple[int, ...]  # with the closing </s>
    bonus: float = 0.0  # added to the model's log-probability of it


@dataclass(frozen=True)
class GenerateRequest:
    """Ingress to model replica. `prefix` is what another replica wrote of this reply before it died."""

    request_id: str
    prompt_ids: list[int]
    sampling: Sampling  # its seed is set
    budget_s: float  # time left until the deadline: a duration, since clocks of two nodes differ
    candidates: tuple[Candidate, ...] = ()  # the reply is one of these; none: it is written freely
    prefix: list[int] = field(default_factory=list)
    streamed: bool = True  # somebody reads along
    trace_context: dict[str, str] = field(default_factory=dict)  # W3C's headers; none: it is not traced


@dataclass(frozen=True)
class Origin:
    """Which model replica, where."""

    replica_id: str
    node_id: str
    pod_name: str
    node_name: str

    @property
    def names(self) -> dict[str, str]:
        """As replies and lists have them."""
        return {
            "replica_id": self.replica_id,
            "node_id": self.node_id,
            "podName": self.pod_name,
            "nodeName": self.node_name,
        }


@dataclass(frozen=True)
class TokenChunk:
    """Model replica to ingress: the next tokens; exactly the last chunk has a finish_reason."""

    token_ids: list[int]
    origin: Origin
    finish_reason: FinishReason | Literal["deadline"] | None = None


@dataclass(frozen=True)
class ReplicaStatus:
    """What a model replica says of itself."""

    origin: Origin
    slots: int
    active: int
    waiting: int
    tokens_per_second: float
    stalled_s: float = 0.0  # since its engine last got on, while it has work


@dataclass(frozen=True)
class Deployed:
    """What Serve's controller says of a deployment: how many replicas it is to have, and those that it has."""

    target: int
    replicas: tuple["DeployedReplica", ...]


@dataclass(frozen=True)
class DeployedReplica:
    """A replica in the controller's words. One that runs may not have been heard yet."""

    replica_id: str
    actor_id: str
    node_id: str
    stage: Stage


class Usage(BaseModel):
    """Tokens. The prompt's window has room for `max_prompt_tokens`."""

    prompt_tokens: int
    completion_tokens: int
    max_prompt_tokens: int


class Grounding(BaseModel):
    """The passages that the reply was given, and what the model's window had no room for."""

    passages: list[Passage]
    dropped_turns: int
    dropped_passages: int
    truncated_tokens: int


class Citation(BaseModel):
    """A span of the reply and the span of a passage that it repeats; in characters (Unicode code points), end excluded.

    The passage's text is the one in `grounding.passages`, in which `passage` is its id.
    """

    start: int
    end: int
    passage: str
    passage_start: int
    passage_end: int


class Timing(BaseModel):
    """Milliseconds, seen from the ingress."""

    first_token: float
    total: float


class Writer(BaseModel):
    """A model replica that took part in a reply."""

    replica_id: str
    node_id: str
    podName: str
    nodeName: str


class ReplyStart(BaseModel):
    """What a stream says first: with this id and seed, and the same body, the same reply can be asked for again.

    The rest are `ChatReply`'s names, as far as they are known; the replica is the one that begins to write.
    """

    request_id: str
    seed: int
    podName: str
    nodeName: str
    replica_id: str
    node_id: str
    model: str
    config_version: str
    timing_ms: dict[Literal["first_token"], float]


class ChatReply(BaseModel):
    """The body of a reply. The first three names are the workshop application's.

    `replica_id`, `node_id`, `podName` and `nodeName` are those of the model replica that wrote the reply, or its end.
    """

    response: str
    podName: str
    nodeName: str
    replica_id: str
    node_id: str
    origins: list[Writer]  # all that wrote a part of it, oldest first
    model: str
    config_version: str
    finish_reason: FinishReason
    usage: Usage
    grounding: Grounding
    citations: list[Citation]
    grounded: float  # the share of the reply's words that stand in citations
    timing_ms: Timing
    request_id: str


class PromptPreview(BaseModel):
    """The body of POST /preview: what the model would read."""

    prompt: str
    prompt_tokens: int
    window: int  # tokens that a prompt may have
    grounding: Grounding
    config_version: str


class ModelName(BaseModel):
    name: str
    requested: str
    fallback: bool
    reason: str | None  # why the fallback runs


# Without a model replica: idle, where the next request has one started; starting; else unavailable.
HealthStatus: TypeAlias = Literal["ok", "idle", "starting", "unavailable"]


class Health(BaseModel):
    """The body of GET /health."""

    status: HealthStatus
    model: ModelName
    config_version: str
    config_error: str | None
    ready_replicas: int


class Replica(BaseModel):
    """A model replica, how it is, and how busy.

    One that is starting, draining or lost is not asked: its load is null, and its pod and node are empty where it was
    never heard.
    """

    replica_id: str
    node_id: str
    podName: str
    nodeName: str
    state: State | Stage
    slots: int | None = None
    active: int | None = None
    waiting: int | None = None
    tokens_per_second: float | None = None
    stalled_s: float | None = None


class ReplicaName(KnownNames):
    """The body of POST /demo/end."""

    replica_id: Text


class Ingress(BaseModel):
    """The ingress that answered, and the configuration that it uses. Each reads the file by itself."""

    replica_id: str
    node_id: str
    podName: str
    nodeName: str
    config_version: str
    config_error: str | None


class ReplicaList(BaseModel):
    """The body of GET /replicas."""

    replicas: list[Replica]
    target_replicas: int | None  # as many as autoscaling wants at the moment; null where Serve cannot be asked
    model: ModelName
    ingress: Ingress
