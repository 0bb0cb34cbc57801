"""The addresses of a session's chats: the list with its search, and what can be done with one of them.

Each is a plain form or link, so all of it works without a script. An address of another session's chat is the same 404
as one of none at all.
"""

from typing import Annotated

from fastapi import APIRouter, Path, Query
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import JSONResponse, RedirectResponse, Response

from frontend import transfer
from frontend.downloads import download
from frontend.errors import TitleRefused, TooFast, TooMany
from frontend.library_pages import library_page, search_page
from frontend.pages import chat_page, recent_view, with_wait
from frontend.posts import read_post
from frontend.rates import Action
from frontend.services import services
from frontend.session import BrowserSession
from frontend.text import clean
from frontend.titles import checked_title
from frontend.visitors import visitor

router = APIRouter()

ConversationId = Annotated[str, Path(pattern="^[0-9a-f]{32}$")]
MAX_PAGE = 1_000
PageNumber = Annotated[int, Query(ge=1, le=MAX_PAGE)]


@router.get("/conversations")
async def conversations(
    request: Request,
    q: str | None = None,
    page: PageNumber = 1,
    deleted: str = "",
    imported: Annotated[int, Query(ge=0, le=10**9)] = 0,
) -> Response:
    """All chats, newest first, or with `q` what is found in them."""
    session = await visitor(request)
    if q is not None:
        return await _search(request, session, clean(q), page)
    return await library_page(request, session, page, deleted=clean(deleted), imported=imported)


@router.get("/conversations/recent")
async def recent(request: Request) -> Response:
    """The newest chats as data, for the list beside a chat."""
    session = services(request).sessions.read(request)
    return JSONResponse((await recent_view(request, session)).model_dump())


@router.get("/conversations/{conversation}")
async def show(
    request: Request,
    conversation: ConversationId,
    begin: Annotated[int | None, Query(alias="from")] = None,
    at: int | None = None,
    edit: int | None = None,
) -> Response:
    """A chat: its newest exchanges, or those from a position on; of the branch through `at`, or through one to edit."""
    session = services(request).sessions.read(request)
    snapshot = await run_in_threadpool(services(request).store.read, session.id, conversation, edit or at)
    edited = next((each for each in snapshot.exchanges if each.position == edit), None)
    draft, editing = (edited.message, edited.position) if edited else ("", None)
    return await chat_page(request, session, snapshot, begin=begin, at=at, draft=draft, editing=editing)


@router.post("/conversations/{conversation}/rename")
async def rename(request: Request, conversation: ConversationId) -> Response:
    """Give a chat another title."""
    post = await read_post(request)
    parts = services(request)
    number = _page(post.form.get("page", ""))
    try:
        title = checked_title(post.form.get("title", ""))
    except TitleRefused as error:
        if not post.from_chat:
            return await library_page(request, post.session, number, status=422, problem=error.message)
        snapshot = await run_in_threadpool(parts.store.read, post.session.id, conversation)
        return await chat_page(request, post.session, snapshot, status=422, problem=error.message)
    await run_in_threadpool(parts.library.rename, post.session.id, conversation, title)
    return RedirectResponse(
        f"/conversations/{conversation}" if post.from_chat else f"/conversations?page={number}#chat-{conversation}", 303
    )


@router.post("/conversations/{conversation}/delete")
async def delete(request: Request, conversation: ConversationId) -> Response:
    """Delete a chat; the page that follows offers to take it back."""
    post = await read_post(request)
    can_be_undone = await run_in_threadpool(services(request).library.delete, post.session.id, conversation)
    if not can_be_undone:
        return RedirectResponse("/new?notice=ended", 303)
    return RedirectResponse(f"/conversations?page={_page(post.form.get('page', ''))}&deleted={conversation}", 303)


@router.post("/conversations/{conversation}/restore")
async def restore(request: Request, conversation: ConversationId) -> Response:
    """Take a deletion back."""
    post = await read_post(request)
    number = _page(post.form.get("page", ""))
    try:
        await run_in_threadpool(services(request).library.restore, post.session.id, conversation)
    except TooMany as error:
        return await library_page(request, post.session, number, status=409, problem=error.message)
    return RedirectResponse(f"/conversations?page={number}#chat-{conversation}", 303)


@router.get("/conversations/{conversation}/export.{kind}")
async def export(request: Request, conversation: ConversationId, kind: transfer.Kind) -> Response:
    """A chat as a file."""
    session = services(request).sessions.read(request)
    records = await run_in_threadpool(lambda: list(services(request).library.export(session.id, conversation)))
    return download(records, kind, f"chat-{conversation[:8]}")


async def _search(request: Request, session: BrowserSession, query: str, page: int) -> Response:
    try:
        await services(request).rates.spend(Action.SEARCH, request, session)
    except TooFast as error:
        response = await search_page(request, session, query, page, status=429, problem=error.message)
        return with_wait(response, error)
    return await search_page(request, session, query, page)


def _page(raw: str) -> int:
    """The page of the list that a form stood on; the first where that is not said well."""
    number = int(raw) if raw.isascii() and raw.isdigit() and len(raw) <= 5 else 1
    return min(max(number, 1), MAX_PAGE)
