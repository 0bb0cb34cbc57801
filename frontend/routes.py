"""The chat's addresses: the page, its messages and their replies, and the probes.

Here and in the other `*_routes.py` errors become status codes, nowhere else.

A message, an edited one and a retry are each one form post with two answers: to the page's script (`Accept:
text/event-stream`) the reply as it is written, to a browser without the script a redirect to the page once it is there.
"""

from collections.abc import AsyncGenerator, AsyncIterator, Callable, Mapping, Sequence
from contextlib import aclosing
from functools import partial
from typing import Annotated

from fastapi import APIRouter, Path
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import JSONResponse, RedirectResponse, Response, StreamingResponse

from frontend import sse
from frontend.asking import ColdStart, Restart
from frontend.backend import Start, Token
from frontend.errors import (
    Busy,
    ConversationGone,
    FrontendError,
    MessageRefused,
    NoSuchMessage,
    NothingToStop,
    ReplyInProgress,
    StoppedByReader,
    StoreUnavailable,
    TooFast,
    TooMany,
)
from frontend.forms import checked_message
from frontend.metrics import STREAMS
from frontend.pages import (
    chat_page,
    error_json,
    error_response,
    refusal_json,
    remember_seen,
    seen_key,
    wants_page,
    with_wait,
)
from frontend.posts import Post, read_post
from frontend.provenance import tag
from frontend.rates import Action
from frontend.reply_log import Failed, Finished, Place, ReplyEvent, Silence, Stopped
from frontend.services import services
from frontend.session import BrowserSession
from frontend.store import Claim, Pending, Rating, Snapshot
from frontend.text import clean
from frontend.views import backend_view, conversation_view, exchange_view, stored_view, trouble_view
from frontend.visitors import visitor
from frontend.words import _, later

router = APIRouter()

EVENT_STREAM = "text/event-stream"
STATUS: Mapping[type[FrontendError], int] = {
    MessageRefused: 422,
    ReplyInProgress: 409,
    ConversationGone: 409,
    NoSuchMessage: 409,
    NothingToStop: 409,
    TooMany: 409,
    TooFast: 429,
    Busy: 503,
    StoreUnavailable: 503,
}
RATINGS: Mapping[str, Rating] = {"up": "up", "down": "down"}
NOTICES: Mapping[str, str] = {
    "ended": later("The temporary chat was deleted."),
    "forgotten": later("Everything that was kept of you is deleted. This is a new session."),
}
NO_SESSION = later(
    "Your session had ended, so a new chat was started. Send the message again. (This page needs its cookie.)"
)


Position = Annotated[int, Path(ge=1, le=2**31 - 1)]  # of an exchange: what the database's column can hold


@router.get("/")
async def chat(request: Request) -> Response:
    """The chat that was used last, or a new one."""
    session = await visitor(request)
    return await chat_page(request, session, await _latest(request, session))


@router.get("/new")
async def new_chat(request: Request, temporary: bool = False, notice: str = "") -> Response:
    """An empty chat; it is stored with its first message."""
    session = await visitor(request)
    return await chat_page(request, session, None, temporary=temporary, notice=_(NOTICES.get(notice, "")))


@router.post("/messages")
async def send(request: Request) -> Response:
    """Store a message and have its reply written."""
    post = await read_post(request)
    text = post.form.get("text", "")
    try:
        message = checked_message(text, services(request).settings.max_message_chars)
        begin = partial(services(request).store.begin, after=post.after, temporary=post.temporary)
        claim = await _claim(request, post, begin, message)
    except tuple(STATUS) as error:
        return await _refusal(request, post, error, draft=text)
    return await _answer(request, post, claim)


@router.post("/messages/{position}/edit")
async def edit(request: Request, position: Position) -> Response:
    """Store another message in the place of one, as a branch of its own, and have its reply written."""
    post = await read_post(request)
    text = post.form.get("text", "")
    try:
        message = checked_message(text, services(request).settings.max_message_chars)
        claim = await _claim(request, post, services(request).store.edit, position, message)
    except tuple(STATUS) as error:
        return await _refusal(request, post, error, draft=text, editing=position)
    return await _answer(request, post, claim)


@router.post("/messages/{position}/retry")
async def retry(request: Request, position: Position) -> Response:
    """Have a message answered again. A reply that is kept stays, as an earlier version."""
    post = await read_post(request)
    try:
        claim = await _claim(request, post, services(request).store.retry, position)
    except tuple(STATUS) as error:
        return await _refusal(request, post, error)
    return await _answer(request, post, claim)


@router.get("/messages/{position}/reply")
async def follow(request: Request, position: Position, conversation: str = "") -> Response:
    """The events of a reply that is being written, after those up to the header Last-Event-ID.

    404 for any other: it has ended, and stands in the conversation; or too many follow what other processes write.
    """
    parts, session = services(request), services(request).sessions.read(request)
    place = Place.parse(request.headers.get("last-event-id", ""))
    reply = parts.replies.find(session.id, conversation, position)
    if reply is not None:
        return _stream(reply.claim, reply.log.follow(place))
    pending = await parts.following.begin(session.id, clean(conversation), position)
    if pending is not None:
        return _stream(pending, parts.following.events(pending, place))
    return error_json(404, "reply_not_running", _("This reply is not being written."))


@router.post("/messages/{position}/stop")
async def stop(request: Request, position: Position) -> Response:
    """End a reply that is being written; what there is of it is kept.

    It has ended when this is answered, or within moments where another process writes it.
    """
    post, parts = await read_post(request), services(request)
    reply = parts.replies.find(post.session.id, post.conversation, position)
    try:
        if reply is None:
            await run_in_threadpool(parts.relay.ask_to_stop, post.session.id, post.conversation, position)
        else:
            reply.end(StoppedByReader())
            await reply.ended()
    except tuple(STATUS) as error:
        return await _refusal(request, post, error)
    return RedirectResponse(_page_of(post.conversation), 303) if wants_page(request) else Response(status_code=204)


@router.post("/messages/{position}/rate")
async def rate(request: Request, position: Position) -> Response:
    """Keep what the reader thinks of a reply: up, down, or anything else for nothing."""
    post = await read_post(request)
    rating = RATINGS.get(post.form.get("rating", ""))
    try:
        rate = services(request).store.rate
        await run_in_threadpool(rate, post.session.id, post.conversation, position, rating)
    except tuple(STATUS) as error:
        return await _refusal(request, post, error)
    page = f"/conversations/{post.conversation}?at={position}#exchange-{position}"
    return RedirectResponse(page, 303) if wants_page(request) else Response(status_code=204)


@router.get("/conversation")
async def conversation(request: Request, id: str = "", at: int | None = None) -> Response:
    """The log as data, for a page that has fallen behind; without an id, of the chat that was used last."""
    session = services(request).sessions.read(request)
    if id:
        snapshot: Snapshot | None = await run_in_threadpool(services(request).store.read, session.id, clean(id), at)
    else:
        snapshot = await _latest(request, session)
    return JSONResponse(conversation_view(snapshot).model_dump())


@router.get("/backend")
async def backend(request: Request) -> Response:
    """The backend's state and notices, for the page's script."""
    parts = services(request)
    health = await parts.health.current(parts.settings.health_timeout_seconds + 1)
    view = backend_view(health)
    response = JSONResponse(view.model_dump() | {"fallback_key": seen_key(view)})
    remember_seen(response, view)
    return response


@router.get("/healthz")
async def healthz() -> Response:
    """This process is alive. Nothing else is asked: a restart would not mend a database or a backend."""
    return JSONResponse({"status": "ok"})


@router.get("/readyz")
async def readyz(request: Request) -> Response:
    """This process can serve pages: its database answers.

    The backend's state is shown but decides nothing. Without the backend the page still shows the conversation, keeps
    messages and explains; taken out of the Service by a failing probe, all replicas would show a connection error.
    """
    parts = services(request)
    health = await parts.health.current(0)
    shown = {"backend": backend_view(health).state}
    try:
        await run_in_threadpool(parts.store.ping)
    except StoreUnavailable:
        return JSONResponse({"status": "unavailable", "database": "unavailable"} | shown, 503)
    return JSONResponse({"status": "ok", "database": "ok"} | shown)


async def _latest(request: Request, session: BrowserSession) -> Snapshot | None:
    return None if session.fresh else await run_in_threadpool(services(request).store.latest, session.id)


async def _claim(request: Request, post: Post, take: Callable[..., Claim], *which: int | str) -> Claim:
    """What `take` of the store claims: it is told the session, the conversation and `which`."""
    if post.session.fresh:
        await services(request).rates.spend(Action.SESSION, request, post.session)
        raise ConversationGone(_(NO_SESSION))
    services(request).replies.check_room()
    await services(request).rates.spend(Action.MESSAGE, request, post.session)
    if not post.conversation:
        await services(request).rates.spend(Action.CONVERSATION, request, post.session)
    return await run_in_threadpool(take, post.session.id, post.conversation, *which)


async def _refusal(
    request: Request, post: Post, error: FrontendError, draft: str = "", editing: int | None = None
) -> Response:
    """Nothing was stored: say why, and give the text back."""
    status = STATUS[type(error)]
    if post.session.fresh and isinstance(error, TooFast):  # it is given no cookie
        return with_wait(error_response(request, status, error.type, error.message, draft), error)
    if draft and isinstance(error, ConversationGone) and not post.session.fresh:
        error = ConversationGone(" ".join((error.message, _("Send the message again to begin a new one."))))
    if not _wants_stream(request):
        return with_wait(await _refusal_page(request, post, status, error, draft, editing), error)
    response = refusal_json(status, error)
    if post.session.fresh:
        services(request).sessions.write(response, post.session)
    return response


async def _refusal_page(
    request: Request, post: Post, status: int, error: FrontendError, draft: str, editing: int | None
) -> Response:
    try:
        snapshot = None
        if post.conversation and not isinstance(error, ConversationGone):
            at = editing or post.after
            snapshot = await run_in_threadpool(services(request).store.read, post.session.id, post.conversation, at)
        return await chat_page(
            request,
            post.session,
            snapshot,
            temporary=post.temporary,
            status=status,
            problem=error.message,
            draft=draft,
            editing=editing,
        )
    except StoreUnavailable as away:  # nor can the chat be read
        return error_response(request, STATUS[StoreUnavailable], away.type, away.message, draft)


async def _answer(request: Request, post: Post, claim: Claim) -> Response:
    reply = services(request).replies.start(post.session.id, claim)
    if _wants_stream(request):
        return _stream(claim, reply.log.follow(None))
    await reply.ended()  # the page then shows how
    return RedirectResponse(_page_of(reply.conversation_id), 303)


def _page_of(conversation: str) -> str:
    return f"/conversations/{conversation}#latest"


def _stream(pending: Pending, events: AsyncGenerator[tuple[Place, ReplyEvent]]) -> Response:
    """A reply as server-sent events; it goes on when the reader leaves."""
    # X-Accel-Buffering: proxies of the nginx kind would otherwise collect the stream before passing it on.
    return StreamingResponse(_encoded(pending, events), media_type=EVENT_STREAM, headers={"X-Accel-Buffering": "no"})


async def _encoded(pending: Pending, events: AsyncGenerator[tuple[Place, ReplyEvent]]) -> AsyncIterator[bytes]:
    with STREAMS.track_inprogress():
        yield sse.encode("stored", stored_view(pending).model_dump())
        async with aclosing(events):
            async for reached, event in events:
                yield _encode(event, reached, pending.versions)


def _encode(event: ReplyEvent, reached: Place, versions: Sequence[int]) -> bytes:
    match event:
        case ColdStart():
            return sse.encode("starting", {}, reached)
        case Start():
            return sse.encode("begun", {"tag": [fact.model_dump() for fact in tag(event.origin)]}, reached)
        case Token():
            return sse.encode("token", {"text": event.text}, reached)
        case Restart():
            return sse.encode("restart", {}, reached)
        case Silence():
            return sse.PING
        case Finished() | Stopped():
            view = exchange_view(event.exchange, is_last=True, writing=False, versions=versions)
            return sse.encode("done" if isinstance(event, Finished) else "stopped", view.model_dump(), reached)
        case Failed():
            return sse.encode("error", trouble_view(event.type, event.message).model_dump(), reached)


def _wants_stream(request: Request) -> bool:
    return EVENT_STREAM in request.headers.get("accept", "")
