"""Conversations as files: JSON, which can be imported again, and Markdown, for reading.

The JSON is one object, {"format", "version", "conversations": [...]}; what it says of a conversation is everything that
is kept of it but its id and its session. So a file that was exported and imported gives the same file again.
"""

import math
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime
from typing import Annotated, Any, Literal, Self

from pydantic import (
    AfterValidator,
    AwareDatetime,
    BaseModel,
    ConfigDict,
    Field,
    JsonValue,
    ValidationError,
    field_validator,
    model_validator,
)

from frontend import branches
from frontend.errors import ImportRefused
from frontend.own_knowledge import MAX_NAME_CHARS
from frontend.text import clean
from frontend.titles import MAX_TITLE_CHARS
from frontend.words import _, later

Kind = Literal["json", "md"]

FORMAT = "grounded-chat"
VERSIONS = (1, 2)  # that are read; the last is written. Version 1 knew neither branches nor ratings
MAX_PROBLEMS = 3  # of a refused file that are shown
MAX_POSITION = 2**31 - 2
FIRST_YEAR, LAST_YEAR = 1970, 2200  # every time zone's and database's arithmetic holds there

Text = Annotated[str, Field(max_length=1_000_000)]


def _sensible(at: datetime) -> datetime:
    if not FIRST_YEAR <= at.year <= LAST_YEAR:
        raise ValueError(f"must be in the years {FIRST_YEAR} to {LAST_YEAR}")
    return at.astimezone(UTC)


Moment = Annotated[AwareDatetime, AfterValidator(_sensible)]


class Record(BaseModel):
    """Base of what a file is made of. What it does not know is refused: nothing of a file is lost unsaid."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    @field_validator("*", mode="after")
    @classmethod
    def _storable(cls, value: Any) -> Any:
        return clean(value) if isinstance(value, str) else value


class ExchangeRecord(Record):
    """A message, with its reply or with why there is none."""

    position: int = Field(ge=1, le=MAX_POSITION)
    parent: int | None = Field(default=None, ge=0)  # the position of the one that it follows; None: the one before it
    message: Text
    sent_at: Moment
    reply: Text | None = None
    replied_at: Moment | None = None
    origin: dict[str, JsonValue] | None = None
    failure_type: str | None = Field(default=None, max_length=32)
    failure_message: Text | None = None
    rating: Literal["up", "down"] | None = None

    @field_validator("origin")
    @classmethod
    def _sound(cls, origin: dict[str, JsonValue] | None) -> dict[str, JsonValue] | None:
        if not all(_is_plain(number) for number in _numbers(origin)):
            raise ValueError("holds a number that is out of range")
        return origin


class ConversationRecord(Record):
    """A conversation. `next_position` is above its last exchange's."""

    title: str = Field(min_length=1, max_length=MAX_TITLE_CHARS)
    last_used_at: Moment
    next_position: int = Field(ge=1, le=MAX_POSITION + 1)
    exchanges: tuple[ExchangeRecord, ...] = Field(min_length=1)
    knowledge: Text | None = None
    knowledge_name: str | None = Field(default=None, max_length=MAX_NAME_CHARS)

    @model_validator(mode="after")
    def _in_order(self) -> Self:
        positions = [each.position for each in self.exchanges]
        if positions != sorted(set(positions)) or positions[-1] >= self.next_position:
            raise ValueError("the exchanges' positions must ascend and be below next_position")
        if any(parent >= position for position, parent in self.parents.items()):
            raise ValueError("an exchange's parent must be an earlier one")
        return self

    @property
    def parents(self) -> branches.Parents:
        """The position that each exchange follows, by its own; see `branches.py`."""
        before = (0, *(each.position for each in self.exchanges))
        return {
            each.position: earlier if each.parent is None else each.parent
            for earlier, each in zip(before, self.exchanges, strict=False)
        }


class _File(Record):
    format: Literal["grounded-chat"]
    version: Literal[1, 2]
    conversations: tuple[ConversationRecord, ...]


class _Heading(BaseModel):
    """What says whose file it is, before the rest is looked at."""

    format: JsonValue = None
    version: JsonValue = None


def to_json(conversations: Iterable[ConversationRecord]) -> Iterator[str]:
    """The file, in pieces: one for each conversation, so that thousands need no memory."""
    yield f'{{"format": "{FORMAT}", "version": {VERSIONS[-1]}, "conversations": ['
    between = "\n"
    for conversation in conversations:
        yield between + conversation.model_dump_json()
        between = ",\n"
    yield "\n]}\n"


def from_json(content: bytes, max_exchanges: int) -> tuple[ConversationRecord, ...]:
    """What the file holds, all of it. Raises ImportRefused, which says what is wrong and where."""
    try:
        heading = _Heading.model_validate_json(content)
    except ValidationError as error:
        if error.errors()[0]["type"] == "json_invalid":
            raise ImportRefused(
                _("The file is not JSON, so nothing was imported: {reason}.", reason=_reason(error))
            ) from None
        raise ImportRefused(_(_NOT_OURS)) from None
    if heading.format != FORMAT:
        raise ImportRefused(_(_NOT_OURS))
    if heading.version not in VERSIONS:
        raise ImportRefused(
            _(
                "The file has version {version} of the format, and this page reads versions {ours}. "
                "Nothing was imported.",
                version=str(heading.version)[:20],
                ours=", ".join(map(str, VERSIONS)),
            )
        )
    try:
        conversations = _File.model_validate_json(content).conversations
    except ValidationError as error:
        raise ImportRefused(
            _("The file is not sound, so nothing of it was imported: {reason}.", reason=_reason(error))
        ) from None
    for number, conversation in enumerate(conversations):
        if len(conversation.exchanges) > max_exchanges:
            raise ImportRefused(
                _(
                    "{place} has {number} questions; at most {limit} are kept in a chat. Nothing was imported.",
                    place="conversations." + str(number),
                    number=len(conversation.exchanges),
                    limit=max_exchanges,
                )
            )
    return conversations


RATED = {"up": later("rated up"), "down": later("rated down")}  # in Markdown
_NOT_OURS = later(
    "This is not a file of exported chats, so nothing was imported: "
    'those are JSON and begin with {"format": "grounded-chat", ...}.'
)


def to_markdown(conversations: Iterable[ConversationRecord]) -> Iterator[str]:
    """The same for reading: titles, messages, replies and what wrote them; as pieces. The newest branch comes first."""
    for conversation in conversations:
        yield f"# {_line(conversation.title)}\n\n"
        branch = set(branches.branch(conversation.parents, branches.newest(conversation.parents)))
        for exchange in conversation.exchanges:
            if exchange.position in branch:
                yield from _exchange_markdown(exchange)
        for exchange in conversation.exchanges:
            if exchange.position not in branch:
                yield "*Of another branch:*\n\n"
                yield from _exchange_markdown(exchange)


def _exchange_markdown(exchange: ExchangeRecord) -> Iterator[str]:
    you, reply = _("You"), _("Reply")
    yield f"## {you}, {_time(exchange.sent_at)}\n\n{_block(exchange.message)}\n\n"
    if exchange.reply is None:
        none = _("No reply.")
        yield f"*{none} {_line(exchange.failure_message or '')}*\n\n"
        return
    origin = exchange.origin or {}
    writer = [str(origin[name]) for name in ("model", "replica_id") if origin.get(name)]
    rating = [_(RATED[exchange.rating])] if exchange.rating else []
    told = [_time(exchange.replied_at or exchange.sent_at), *map(_line, writer), *rating]
    yield f"## {reply}, {', '.join(told)}\n\n"
    yield f"{_block(exchange.reply)}\n\n"


def _time(at: datetime) -> str:
    return at.astimezone(UTC).strftime("%Y-%m-%d %H:%M UTC")


def _block(text: str) -> str:
    """What was typed, as a quotation: a line of it that looks like a heading is none of the file's."""
    return "\n".join(f"> {line}".rstrip() for line in text.split("\n"))


def _line(text: str) -> str:
    """On one line, and without a meaning in Markdown or HTML."""
    return "".join(f"\\{c}" if c in "\\`*_[]<>#&" else c for c in " ".join(text.split()))


def _numbers(value: JsonValue) -> Iterator[int | float]:
    if isinstance(value, dict):
        value = list(value.values())
    if isinstance(value, list):
        for each in value:
            yield from _numbers(each)
    elif isinstance(value, int | float):
        yield value


def _is_plain(number: int | float) -> bool:
    """Whether it can be calculated with: JSON has numbers of any length."""
    return abs(number) <= 2**64 if isinstance(number, int) else math.isfinite(number)


def _reason(error: ValidationError) -> str:
    """The first problems, each with its place in the file."""
    problems = error.errors(include_url=False, include_context=False, include_input=False)
    told = [
        ": ".join(part for part in (".".join(map(str, p["loc"])), p["msg"].removeprefix("Value error, ")) if part)
        for p in problems[:MAX_PROBLEMS]
    ]
    more = [_("and {count} more", count=len(problems) - MAX_PROBLEMS)] if len(problems) > MAX_PROBLEMS else []
    return "; ".join(told + more)
