"""What the page shows, as display-ready values: the templates and the script print these and decide nothing.

Both fill one and the same HTML structure, `templates/exchange.html`, from the same values.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from pydantic import BaseModel, ConfigDict

from frontend import marks
from frontend.backend import Health
from frontend.models import Exchange
from frontend.store import Snapshot

SHORT_ID = 8  # characters of an id that tell replicas apart at a glance

FAILURES = {
    "unavailable": "The chat service is away",
    "busy": "The chat service is busy",
    "refused": "The message was not accepted",
    "interrupted": "The reply was interrupted",
    "stopped": "The reply was stopped",
    "store_unavailable": "The reply could not be stored",
    "claim_lost": "The reply was dropped",
}
NO_REPLY_YET = "No reply was written"


class View(BaseModel):
    """Base of all views."""

    model_config = ConfigDict(frozen=True)


class Detail(View):
    """A line of a reply's details."""

    label: str
    value: str


class ReplyPiece(View):
    """A part of a reply's text. With `href`, it stands in the passage there."""

    text: str
    href: str
    title: str


class PassagePiece(View):
    """A part of a passage's text."""

    text: str
    cited: bool


class Passage(View):
    """A passage of knowledge that the model was given."""

    anchor: str  # its id on the page
    label: str
    pieces: tuple[PassagePiece, ...]


class ReplyView(View):
    """A complete reply and where it came from."""

    text: str
    pieces: tuple[ReplyPiece, ...]  # the text in parts
    at: str  # ISO 8601, for the browser's own clock
    at_label: str
    seconds: str
    replica: str
    replica_short: str
    node: str
    node_short: str
    model: str
    model_short: str
    grounded: str
    grounded_title: str
    details: tuple[Detail, ...]
    passages: tuple[Passage, ...]  # those that match the question, and any that the reply cites
    filling: tuple[Passage, ...]  # the rest, given because there was room
    filling_label: str


class TroubleView(View):
    """Why a message has no reply."""

    type: str  # how bad it is: a stopped reply is no alarm
    title: str
    text: str


class ExchangeView(View):
    """A message with its reply, or with its trouble, or still waiting."""

    position: int
    message: str
    reply: ReplyView | None
    trouble: TroubleView | None
    retryable: bool
    writing: bool


class ConversationView(View):
    """The whole log. `id` is empty before the first message."""

    id: str = ""
    title: str = ""
    temporary: bool = False
    exchanges: tuple[ExchangeView, ...] = ()
    removed: int = 0
    writing: bool = False


class BackendView(View):
    """The backend's state, and what the person should know about it."""

    state: str  # ok, fallback, unavailable or unknown
    model: str
    label: str
    notices: tuple[str, ...]


def conversation_view(snapshot: Snapshot | None, *, temporary: bool = False) -> ConversationView:
    """The page's log. `temporary` says what a new chat will be."""
    if snapshot is None:
        return ConversationView(temporary=temporary)
    last = snapshot.exchanges[-1].position if snapshot.exchanges else 0
    return ConversationView(
        id=snapshot.id,
        title=snapshot.title,
        temporary=snapshot.temporary,
        exchanges=tuple(
            exchange_view(e, is_last=e.position == last, writing=snapshot.writing and e.position == last)
            for e in snapshot.exchanges
        ),
        removed=snapshot.removed,
        writing=snapshot.writing,
    )


def exchange_view(exchange: Exchange, *, is_last: bool, writing: bool) -> ExchangeView:
    """One exchange. Only the last message can be tried again: a later one has gone on without it."""
    reply = _reply_view(exchange)
    return ExchangeView(
        position=exchange.position,
        message=exchange.message,
        reply=reply,
        trouble=None if reply or writing else _trouble_view(exchange),
        retryable=reply is None and is_last and not writing,
        writing=reply is None and writing,
    )


def trouble_view(failure_type: str, text: str) -> TroubleView:
    """A failure in words."""
    return TroubleView(type=failure_type, title=FAILURES.get(failure_type, NO_REPLY_YET), text=text)


def _trouble_view(exchange: Exchange) -> TroubleView:
    return trouble_view(exchange.failure_type or "", exchange.failure_message or "")


def _reply_view(exchange: Exchange) -> ReplyView | None:
    if exchange.reply is None:
        return None
    origin = exchange.origin or {}
    at = exchange.replied_at or exchange.sent_at
    replica, node, model = (_text(origin.get(key)) for key in ("replica_id", "node_id", "model"))
    grounded = _percent(origin.get("grounded"))
    given = list(_given(origin, exchange.position))
    citations = marks.fitting(origin.get("citations"), exchange.reply, {each.id: each.text for each in given})
    cited = {citation.passage for citation in citations}
    filling = [each for each in given if each.filling and each.id not in cited]
    return ReplyView(
        text=exchange.reply,
        pieces=tuple(_reply_pieces(exchange.reply, citations, {each.id: each for each in given})),
        at=at.isoformat(),
        at_label=at.strftime("%H:%M UTC"),
        seconds=_seconds(origin),
        replica=replica,
        replica_short=replica[-SHORT_ID:],
        node=_text(origin.get("nodeName")) or node,
        node_short=_text(origin.get("nodeName")) or node[:SHORT_ID],
        model=model,
        model_short="/".join(model.rstrip("/").split("/")[-2:]),  # a hub id whole, a local path's end
        grounded=grounded,
        grounded_title=_of_words(grounded),
        details=tuple(_details(origin, at)),
        passages=tuple(_passage(each, citations) for each in given if each not in filling),
        filling=tuple(_passage(each, citations) for each in filling),
        filling_label=f"Also given: {_count(len(filling), 'passage')} without a match",
    )


def _details(origin: dict[str, Any], at: datetime) -> Iterator[Detail]:
    """The lines that have a value, in the order of interest."""
    usage, timing, grounding = (_mapping(origin.get(key)) for key in ("usage", "timing_ms", "grounding"))
    lines = {
        "Replica": origin.get("replica_id"),
        "Pod": origin.get("podName"),
        "Node": origin.get("nodeName"),
        "Node id": origin.get("node_id"),
        "Written by": _writers(origin),
        "Asked again": _asked_again(origin.get("asked_again")),
        "Model": origin.get("model"),
        "Configuration": origin.get("config_version"),
        "Request": origin.get("request_id"),
        "Tokens": _tokens(usage),
        "Timing": ", ".join(f"{name.replace('_', ' ')} {_number(ms)} ms" for name, ms in timing.items()),
        "Ended by": {"stop": "the model", "length": "the length limit"}.get(
            _text(origin.get("finish_reason")), origin.get("finish_reason")
        ),
        "Grounded": _of_words(_percent(origin.get("grounded"))),
        "Earlier turns left out": _left_out(origin, grounding),
        "Passages left out": grounding.get("dropped_passages") or "",
        "Tokens cut off": grounding.get("truncated_tokens") or "",
        "Written": at.astimezone(UTC).strftime("%Y-%m-%d %H:%M:%S UTC"),
    }
    return (Detail(label=label, value=_text(value)) for label, value in lines.items() if _text(value))


def _writers(origin: dict[str, Any]) -> str:
    """Every replica that took part, where it was more than one."""
    origins = origin.get("origins")
    known = [_mapping(each) for each in origins] if isinstance(origins, list) else []
    names = [_writer(each) for each in known if each.get("replica_id")]
    if len(names) < 2:
        return ""
    return ", ".join(
        [f"begun by {names[0]}", *(f"continued by {name}" for name in names[1:-1]), f"finished by {names[-1]}"]
    )


def _writer(origin: dict[str, Any]) -> str:
    node = _text(origin.get("nodeName")) or _text(origin.get("node_id"))
    return f"{_text(origin.get('replica_id'))} on {node}" if node else _text(origin.get("replica_id"))


def _asked_again(times: Any) -> str:
    if not isinstance(times, int) or times < 1:
        return ""
    return f"{'once' if times == 1 else f'{times} times'}, after the connection to the chat service broke"


def _tokens(usage: dict[str, Any]) -> str:
    if "completion_tokens" not in usage:
        return ""
    return f"{_text(usage.get('prompt_tokens'))} in the prompt, {_text(usage['completion_tokens'])} in the reply"


def _left_out(origin: dict[str, Any], grounding: dict[str, Any]) -> str:
    """Turns that the model did not see, by either side's limit; empty when it saw all."""
    by_frontend, by_backend = origin.get("left_off") or 0, grounding.get("dropped_turns") or 0
    parts = [f"{by_frontend} by this page's limit"] if by_frontend else []
    return ", ".join(parts + ([f"{by_backend} by the model's window"] if by_backend else []))


@dataclass(frozen=True)
class _Given:
    """A passage as the backend tells of it."""

    id: str
    text: str
    score: Any
    filling: bool  # there was room for it; it does not match the question
    anchor: str


def _given(origin: dict[str, Any], position: int) -> Iterator[_Given]:
    passages = _mapping(origin.get("grounding")).get("passages")
    for number, passage in enumerate(passages if isinstance(passages, list) else [], 1):
        known = _mapping(passage)
        yield _Given(
            id=_text(known.get("id")),
            text=_text(known.get("text")),
            score=known.get("score"),
            filling=known.get("filling") is True,
            anchor=f"passage-{position}-{number}",
        )


def _reply_pieces(reply: str, citations: Sequence[marks.Citation], given: Mapping[str, _Given]) -> Iterator[ReplyPiece]:
    for piece in marks.cut(reply, [(each.start, each.end) for each in citations]):
        if piece.span is None:
            yield ReplyPiece(text=piece.text, href="", title="")
        else:
            passage = given[citations[piece.span].passage]
            yield ReplyPiece(text=piece.text, href=f"#{passage.anchor}", title=f"Stands in passage {passage.id}")


def _passage(given: _Given, citations: Sequence[marks.Citation]) -> Passage:
    spans = marks.merged((each.passage_start, each.passage_end) for each in citations if each.passage == given.id)
    score = "" if given.filling or given.score is None else f"score {_number(given.score)}"
    room = "given because there was room" if given.filling and spans else ""  # it stands among those that match
    return Passage(
        anchor=given.anchor,
        label=" · ".join(part for part in (given.id, score, room) if part),
        pieces=tuple(
            PassagePiece(text=piece.text, cited=piece.span is not None) for piece in marks.cut(given.text, spans)
        ),
    )


def _percent(share: Any) -> str:
    """A share of 0 to 1 in whole percent, 100 for all alone; empty where it is not known."""
    if not isinstance(share, int | float) or isinstance(share, bool) or not 0 <= share <= 1:
        return ""
    return f"{100 if share == 1 else min(round(share * 100), 99)} %"


def _of_words(percent: str) -> str:
    return f"{percent} of the words stand in the knowledge" if percent else ""


def _count(number: int, what: str) -> str:
    return f"{number} {what}" if number == 1 else f"{number} {what}s"


def backend_view(health: Health | None) -> BackendView:
    """The notices; None stands for "not known yet" and says nothing."""
    if health is None:
        return BackendView(state="unknown", model="", label="Checking the service", notices=())
    notices = []
    if health.model.fallback:
        asked = f" in place of {health.model.requested}" if health.model.requested else ""
        reason = f": {health.model.reason}" if health.model.reason else "."
        notices.append(f"The fallback model {health.model.name} answers{asked}{reason}")
    if health.config_error:
        notices.append(
            f"The configuration file has an error, so its last good version stays in use: {health.config_error}"
        )
    if health.status != "ok":
        notices.insert(0, "The chat service is away at the moment. Messages are kept and can be sent again.")
        return BackendView(state="unavailable", model=health.model.name, label="Away", notices=tuple(notices))
    state = "fallback" if health.model.fallback else "ok"
    return BackendView(state=state, model=health.model.name, label=health.model.name or "Ready", notices=tuple(notices))


def _seconds(origin: dict[str, Any]) -> str:
    total = _mapping(origin.get("timing_ms")).get("total")
    return f"{total / 1000:.1f} s" if isinstance(total, int | float) else ""


def _number(value: Any) -> str:
    return f"{value:.4g}" if isinstance(value, float) else _text(value)


def _text(value: Any) -> str:
    return "" if value is None else str(value)


def _mapping(value: Any) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}
