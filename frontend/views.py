"""What the page shows, as display-ready values: the templates and the script print these and decide nothing.

Both fill one and the same HTML structure, `templates/exchange.html`, from the same values.
"""

from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

from pydantic import BaseModel, ConfigDict

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


class Passage(View):
    """A passage of knowledge that the model was given."""

    label: str
    text: str


class ReplyView(View):
    """A complete reply and where it came from."""

    text: str
    at: str  # ISO 8601, for the browser's own clock
    at_label: str
    seconds: str
    replica: str
    replica_short: str
    node: str
    node_short: str
    model: str
    model_short: str
    details: tuple[Detail, ...]
    passages: tuple[Passage, ...]


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
    exchanges: tuple[ExchangeView, ...] = ()
    removed: int = 0
    writing: bool = False


class BackendView(View):
    """The backend's state, and what the person should know about it."""

    state: str  # ok, fallback, unavailable or unknown
    model: str
    label: str
    notices: tuple[str, ...]


def conversation_view(snapshot: Snapshot | None) -> ConversationView:
    """The page's log."""
    if snapshot is None:
        return ConversationView()
    last = snapshot.exchanges[-1].position if snapshot.exchanges else 0
    return ConversationView(
        id=snapshot.id,
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
    return ReplyView(
        text=exchange.reply,
        at=at.isoformat(),
        at_label=at.strftime("%H:%M UTC"),
        seconds=_seconds(origin),
        replica=replica,
        replica_short=replica[-SHORT_ID:],
        node=_text(origin.get("nodeName")) or node,
        node_short=_text(origin.get("nodeName")) or node[:SHORT_ID],
        model=model,
        model_short="/".join(model.rstrip("/").split("/")[-2:]),  # a hub id whole, a local path's end
        details=tuple(_details(origin, at)),
        passages=tuple(_passages(origin)),
    )


def _details(origin: dict[str, Any], at: datetime) -> Iterator[Detail]:
    """The lines that have a value, in the order of interest."""
    usage, timing, grounding = (_mapping(origin.get(key)) for key in ("usage", "timing_ms", "grounding"))
    lines = {
        "Replica": origin.get("replica_id"),
        "Pod": origin.get("podName"),
        "Node": origin.get("nodeName"),
        "Node id": origin.get("node_id"),
        "Model": origin.get("model"),
        "Configuration": origin.get("config_version"),
        "Request": origin.get("request_id"),
        "Tokens": _tokens(usage),
        "Timing": ", ".join(f"{name.replace('_', ' ')} {_number(ms)} ms" for name, ms in timing.items()),
        "Ended by": {"stop": "the model", "length": "the length limit"}.get(
            _text(origin.get("finish_reason")), origin.get("finish_reason")
        ),
        "Earlier turns left out": _left_out(origin, grounding),
        "Passages left out": grounding.get("dropped_passages") or "",
        "Tokens cut off": grounding.get("truncated_tokens") or "",
        "Written": at.astimezone(UTC).strftime("%Y-%m-%d %H:%M:%S UTC"),
    }
    return (Detail(label=label, value=_text(value)) for label, value in lines.items() if _text(value))


def _tokens(usage: dict[str, Any]) -> str:
    if "completion_tokens" not in usage:
        return ""
    return f"{_text(usage.get('prompt_tokens'))} in the prompt, {_text(usage['completion_tokens'])} in the reply"


def _left_out(origin: dict[str, Any], grounding: dict[str, Any]) -> str:
    """Turns that the model did not see, by either side's limit; empty when it saw all."""
    by_frontend, by_backend = origin.get("left_off") or 0, grounding.get("dropped_turns") or 0
    parts = [f"{by_frontend} by this page's limit"] if by_frontend else []
    return ", ".join(parts + ([f"{by_backend} by the model's window"] if by_backend else []))


def _passages(origin: dict[str, Any]) -> Iterator[Passage]:
    passages = _mapping(origin.get("grounding")).get("passages")
    for passage in passages if isinstance(passages, list) else []:
        known = _mapping(passage)
        label = _text(known.get("id"))
        if known.get("filling"):
            label = f"{label} · there was room for it"
        elif known.get("score") is not None:
            label = f"{label} · score {_number(known['score'])}"
        yield Passage(label=label, text=_text(known.get("text")))


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
