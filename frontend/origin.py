"""Where a reply came from, as the backend tells it and as the store keeps it.

Read leniently: a value of a wrong kind is as good as none, since a reply must not be lost over a word about its origin.
"""

from typing import Annotated, Any

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidatorFunctionWrapHandler, field_validator
from pydantic import ValidationError as Invalid
from pydantic_core import PydanticUseDefault

Count = Annotated[int, Field(ge=0, strict=True)]
Number = Annotated[float, Field(strict=True, allow_inf_nan=False)]
Share = Annotated[float, Field(ge=0, le=1, strict=True)]
Offset = Annotated[int, Field(ge=0)]


class Citation(BaseModel):
    """A span of a reply and the span of a passage that it repeats; in Unicode characters, end excluded."""

    model_config = ConfigDict(frozen=True, strict=True)

    start: Offset
    end: Offset
    passage: str
    passage_start: Offset
    passage_end: Offset


class _Lenient(BaseModel):
    """Base of what the backend reports: a field that does not validate has its default."""

    model_config = ConfigDict(frozen=True)

    @field_validator("*", mode="wrap")
    @classmethod
    def _default_when_invalid(cls, value: Any, handler: ValidatorFunctionWrapHandler) -> Any:
        try:
            return handler(value)
        except Invalid:
            raise PydanticUseDefault from None


class Writer(_Lenient):
    """A replica that wrote the reply or a part of it. Two names are those of the workshop's application."""

    replica_id: str = ""
    node_id: str = ""
    pod_name: str = Field(default="", alias="podName")
    node_name: str = Field(default="", alias="nodeName")

    @property
    def node(self) -> str:
        """The node, by its name in the cluster where it has one."""
        return self.node_name or self.node_id


class Usage(_Lenient):
    """Tokens."""

    prompt_tokens: Count | None = None
    completion_tokens: Count | None = None
    max_prompt_tokens: Count | None = None  # what the model's window has room for


class GivenPassage(_Lenient):
    """A passage of knowledge that the model was given. `filling`: there was room for it; it does not match."""

    id: str = ""
    text: str = ""
    score: Number | None = None
    filling: bool = False


def objects(value: Any) -> Any:
    """Of a list, the members that are objects."""
    return [each for each in value if isinstance(each, dict)] if isinstance(value, list) else value


def _citations(value: Any) -> Any:
    """Of a list, the members that are citations."""
    return [each for each in value if _is_citation(each)] if isinstance(value, list) else value


def _is_citation(value: Any) -> bool:
    try:
        Citation.model_validate(value)
        return True
    except Invalid:
        return False


class Grounding(_Lenient):
    """What of the knowledge and of the dialogue went into the prompt."""

    passages: Annotated[tuple[GivenPassage, ...], BeforeValidator(objects)] = ()
    dropped_turns: Count = 0
    dropped_passages: Count = 0
    truncated_tokens: Count = 0


class Origin(Writer):
    """All that is known of a reply besides its text. The replica named here wrote its last part."""

    model: str = ""
    config_version: str = ""
    request_id: str = ""
    finish_reason: str = ""
    usage: Usage = Usage()
    timing_ms: dict[str, Number] = {}
    grounding: Grounding = Grounding()
    grounded: Share | None = None  # of the reply's words, those that stand in the knowledge
    citations: Annotated[tuple[Citation, ...], BeforeValidator(_citations)] = ()
    origins: Annotated[tuple[Writer, ...], BeforeValidator(objects)] = ()  # every replica that took part, in order
    seed: int | None = None
    asked_again: Count = 0  # how often, after a broken connection
    left_off: Count = 0  # earlier turns that this page did not send
    own_knowledge: str = ""  # the name of the conversation's own knowledge text, where it was given one

    @classmethod
    def stored(cls, kept: dict[str, Any] | None) -> "Origin":
        """The origin as `to_store` wrote it, by this version or an earlier one."""
        return cls.model_validate(kept or {})

    def to_store(self) -> dict[str, Any]:
        """What is known, as JSON, under the backend's names."""
        return self.model_dump(mode="json", by_alias=True, exclude_defaults=True)
