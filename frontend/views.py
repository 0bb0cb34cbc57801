"""What the page shows, as display-ready values: the templates and the script print these and decide nothing.

Both fill one and the same HTML structure, `templates/exchange.html`, from the same values.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from pydantic import BaseModel, ConfigDict

from frontend import marks
from frontend.health import Health
from frontend.models import Exchange
from frontend.origin import Citation, Origin, Usage, Writer
from frontend.provenance import Fact, Window, of_words, percent, tag, turns_left_out, window
from frontend.store import Pending, Snapshot, is_whole
from frontend.words import _, later, number, plural

FAILURES = {
    "unavailable": later("The chat service is away"),
    "busy": later("The chat service is busy"),
    "refused": later("The message was not accepted"),
    "interrupted": later("The reply was interrupted"),
    "stopped": later("The reply was stopped"),
    "store_unavailable": later("The reply could not be stored"),
    "claim_lost": later("The reply was dropped"),
}
NO_REPLY_YET = later("No reply was written")
TIMES = {"first_token": later("first token"), "total": later("in all")}  # by the backend's names


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
    """A reply, complete or stopped, and where it came from."""

    text: str
    pieces: tuple[ReplyPiece, ...]  # the text in parts
    at: str  # ISO 8601, for the browser's own clock
    at_label: str
    rating: str  # the reader's: up, down, or empty
    tag: tuple[Fact, ...]
    window: Window | None
    details: tuple[Detail, ...]
    passages: tuple[Passage, ...]  # those that match the question, and any that the reply cites
    filling: tuple[Passage, ...]  # the rest, given because there was room
    filling_label: str


class TroubleView(View):
    """Why a message has no reply."""

    type: str  # how bad it is: a stopped reply is no alarm
    title: str
    text: str


class VersionsView(View):
    """The versions of an exchange: which of how many is shown, and where its neighbours are; empty at an end."""

    number: int
    count: int
    earlier: str
    later: str


class StoredView(View):
    """A message that is stored, and whose reply is being written."""

    conversation: str
    position: int
    parent: int
    versions: VersionsView


class ExchangeView(View):
    """A message with its reply, or with its trouble, or with both where the reply is partial, or still waiting."""

    position: int
    message: str
    versions: VersionsView
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
    knowledge: str = ""  # the name of its own knowledge text, and its size


class BackendView(View):
    """The backend's state, and what the person should know about it."""

    state: str  # ok, fallback, unavailable or unknown
    model: str
    label: str
    notices: tuple[str, ...]
    fallback: str = ""  # that the fallback model answers; empty where it does not
    fallback_reason: str = ""


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
            exchange_view(
                each,
                is_last=each.position == last,
                writing=snapshot.writing and each.position == last,
                versions=snapshot.versions[each.position],
            )
            for each in snapshot.exchanges
        ),
        removed=snapshot.removed,
        knowledge=own_knowledge_label(snapshot.knowledge_name, snapshot.knowledge_chars),
        writing=snapshot.writing,
    )


def own_knowledge_label(name: str, chars: int) -> str:
    """A knowledge text's name and size; empty where there is none."""
    return plural("{name} ({count} character)", "{name} ({count} characters)", chars, name=name) if name else ""


def exchange_view(exchange: Exchange, *, is_last: bool, writing: bool, versions: Sequence[int]) -> ExchangeView:
    """One exchange, with the positions of its versions. The last message can be answered again, and any be edited."""
    settled = is_whole(exchange) or writing
    return ExchangeView(
        position=exchange.position,
        message=exchange.message,
        versions=_versions_view(exchange.conversation_id, exchange.position, versions),
        reply=_reply_view(exchange),
        trouble=None if settled else _trouble_view(exchange),
        retryable=is_last and not writing,
        writing=writing and exchange.reply is None,
    )


def stored_view(pending: Pending) -> StoredView:
    """A message whose reply is being written."""
    return StoredView(
        conversation=pending.conversation_id,
        position=pending.position,
        parent=pending.parent,
        versions=_versions_view(pending.conversation_id, pending.position, pending.versions),
    )


def _versions_view(conversation_id: str, position: int, versions: Sequence[int]) -> VersionsView:
    number = versions.index(position)
    beside = [
        f"/conversations/{conversation_id}?at={versions[each]}#exchange-{versions[each]}"
        if 0 <= each < len(versions)
        else ""
        for each in (number - 1, number + 1)
    ]
    return VersionsView(number=number + 1, count=len(versions), earlier=beside[0], later=beside[1])


def trouble_view(failure_type: str, text: str) -> TroubleView:
    """A failure in words."""
    return TroubleView(type=failure_type, title=_(FAILURES.get(failure_type, NO_REPLY_YET)), text=_(text))


def _trouble_view(exchange: Exchange) -> TroubleView:
    return trouble_view(exchange.failure_type or "", exchange.failure_message or "")


def _reply_view(exchange: Exchange) -> ReplyView | None:
    if exchange.reply is None:
        return None
    origin = Origin.stored(exchange.origin)
    at = exchange.replied_at or exchange.sent_at
    given = list(_given(origin, exchange.position))
    citations = marks.fitting(origin.citations, exchange.reply, {each.id: each.text for each in given})
    cited = {citation.passage for citation in citations}
    filling = [each for each in given if each.filling and each.id not in cited]
    return ReplyView(
        text=exchange.reply,
        pieces=tuple(_reply_pieces(exchange.reply, citations, {each.id: each for each in given})),
        at=at.isoformat(),
        at_label=at.strftime("%H:%M UTC"),
        rating=exchange.rating or "",
        tag=tag(origin),
        window=window(origin),
        details=tuple(_details(origin, at)),
        passages=tuple(_passage(each, citations) for each in given if each not in filling),
        filling=tuple(_passage(each, citations) for each in filling),
        filling_label=plural(
            "Also given: {count} passage without a match", "Also given: {count} passages without a match", len(filling)
        ),
    )


def _details(origin: Origin, at: datetime) -> Iterator[Detail]:
    """The lines that have a value, in the order of interest."""
    lines = {
        _("Replica"): origin.replica_id,
        _("Pod"): origin.pod_name,
        _("Node"): origin.node_name,
        _("Node id"): origin.node_id,
        _("Written by"): _writers(origin.origins),
        _("Asked again"): _asked_again(origin.asked_again),
        _("Model"): origin.model,
        _("Configuration"): origin.config_version,
        _("Request"): origin.request_id,
        _("Tokens"): _tokens(origin.usage),
        _("Timing"): ", ".join(f"{_time_name(name)} {number(ms, 1)} ms" for name, ms in origin.timing_ms.items()),
        _("Ended by"): {"stop": _("the model"), "length": _("the length limit")}.get(
            origin.finish_reason, origin.finish_reason
        ),
        _("Knowledge"): _("this chat’s own: {name}", name=origin.own_knowledge) if origin.own_knowledge else "",
        _("Grounded"): of_words(percent(origin.grounded)),
        _("Earlier turns left out"): "" if window(origin) else turns_left_out(origin),
        _("Passages left out"): _unless_zero(origin.grounding.dropped_passages),
        _("Tokens cut off"): _unless_zero(origin.grounding.truncated_tokens),
        _("Written"): at.astimezone(UTC).strftime("%Y-%m-%d %H:%M:%S UTC"),
    }
    return (Detail(label=label, value=value) for label, value in lines.items() if value)


def _time_name(name: str) -> str:
    return _(TIMES.get(name, name.replace("_", " ")))


def _writers(writers: Sequence[Writer]) -> str:
    """Every replica that took part, where it was more than one."""
    names = [
        _("{replica} on {node}", replica=each.replica_id, node=each.node) if each.node else each.replica_id
        for each in writers
        if each.replica_id
    ]
    if len(names) < 2:
        return ""
    continued = [_("continued by {name}", name=name) for name in names[1:-1]]
    return ", ".join([_("begun by {name}", name=names[0]), *continued, _("finished by {name}", name=names[-1])])


def _asked_again(times: int) -> str:
    if times == 0:
        return ""
    return plural(
        "once, after the connection to the chat service broke",
        "{count} times, after the connection to the chat service broke",
        times,
    )


def _tokens(usage: Usage) -> str:
    if usage.completion_tokens is None:
        return ""
    reply = _("{count} in the reply", count=usage.completion_tokens)
    if usage.prompt_tokens is None:
        return reply
    return ", ".join((_("{count} in the prompt", count=usage.prompt_tokens), reply))


def _unless_zero(count: int) -> str:
    return str(count) if count else ""


@dataclass(frozen=True)
class _Given:
    """A passage that the model was given, and its place on the page."""

    id: str
    text: str
    score: float | None
    filling: bool  # there was room for it; it does not match the question
    anchor: str


def _given(origin: Origin, position: int) -> Iterator[_Given]:
    for place, each in enumerate(origin.grounding.passages, 1):
        yield _Given(each.id, each.text, each.score, each.filling, anchor=f"passage-{position}-{place}")


def _reply_pieces(reply: str, citations: Sequence[Citation], given: Mapping[str, _Given]) -> Iterator[ReplyPiece]:
    for piece in marks.cut(reply, [(each.start, each.end) for each in citations]):
        if piece.span is None:
            yield ReplyPiece(text=piece.text, href="", title="")
        else:
            passage = given[citations[piece.span].passage]
            yield ReplyPiece(
                text=piece.text, href=f"#{passage.anchor}", title=_("Stands in passage {name}", name=passage.id)
            )


def _passage(given: _Given, citations: Sequence[Citation]) -> Passage:
    spans = marks.merged((each.passage_start, each.passage_end) for each in citations if each.passage == given.id)
    score = "" if given.filling or given.score is None else _("score {score}", score=number(given.score, 2))
    room = _("given because there was room") if given.filling and spans else ""  # it stands among those that match
    return Passage(
        anchor=given.anchor,
        label=" · ".join(part for part in (given.id, score, room) if part),
        pieces=tuple(
            PassagePiece(text=piece.text, cited=piece.span is not None) for piece in marks.cut(given.text, spans)
        ),
    )


def backend_view(health: Health | None) -> BackendView:
    """The notices; None stands for "not known yet" and says nothing."""
    if health is None:
        return BackendView(state="unknown", model="", label=_("Checking the service"), notices=())
    notices = []
    if health.config_error:
        notices.append(
            _(
                "The configuration file has an error, so its last good version stays in use: {error}",
                error=health.config_error,
            )
        )
    if health.status not in ("ok", "idle", "starting"):
        notices.insert(0, _("The chat service is away at the moment. Messages are kept and can be sent again."))
        return BackendView(state="unavailable", model=health.model.name, label=_("Away"), notices=tuple(notices))
    state = "fallback" if health.model.fallback else "ok"
    return BackendView(
        state=state,
        model=health.model.name,
        label=health.model.name or _("Ready"),
        notices=tuple(notices),
        fallback=health.model.fallback_sentence,
        fallback_reason=health.model.reason or "",
    )
