"""The page on which a visitor gives a conversation a knowledge text of its own."""

from collections.abc import Mapping
from functools import partial

from fastapi import APIRouter
from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from frontend.conversation_routes import ConversationId
from frontend.errors import Busy, FrontendError, KnowledgeRefused, TooFast, TooMany
from frontend.own_knowledge import OwnKnowledge, from_file, from_paste
from frontend.pages import render, with_wait
from frontend.rates import Action
from frontend.services import services
from frontend.session import BrowserSession
from frontend.upload import Part, read_parts
from frontend.views import own_knowledge_label
from frontend.visitors import visitor
from frontend.words import _

router = APIRouter()

STATUS: Mapping[type[FrontendError], int] = {KnowledgeRefused: 422, TooMany: 409, TooFast: 429, Busy: 503}


@router.get("/new/knowledge")
async def of_a_new_chat(request: Request, temporary: bool = False) -> Response:
    """The page for a chat that begins with its text."""
    return await _page(request, await visitor(request), "", temporary)


@router.get("/conversations/{conversation}/knowledge")
async def of_a_chat(request: Request, conversation: ConversationId) -> Response:
    """The page for a chat, with the text that it has."""
    return await _page(request, await visitor(request), conversation)


@router.post("/new/knowledge")
async def begin(request: Request) -> Response:
    """Begin a chat with a text."""
    return await _give(request, "")


@router.post("/conversations/{conversation}/knowledge")
async def give(request: Request, conversation: ConversationId) -> Response:
    """Give a chat another text, or take its own away."""
    return await _give(request, conversation)


async def _give(request: Request, conversation: str) -> Response:
    parts = services(request)
    session = parts.sessions.read(request)
    form: Mapping[str, Part] = {}
    temporary = False
    try:
        form = await read_parts(request, parts.settings.max_knowledge_form_bytes)
        temporary = "temporary" in form
        if session.fresh:
            await parts.rates.spend(Action.SESSION, request, session)
        knowledge = _given(form, parts.settings.max_knowledge_chars)
        if not conversation:
            await parts.rates.spend(Action.CONVERSATION, request, session)
        give = partial(parts.store.give_knowledge, temporary=temporary)
        conversation = await run_in_threadpool(give, session.id, conversation, knowledge)
    except tuple(STATUS) as error:
        if isinstance(error, TooFast) and session.fresh:  # it is given no cookie
            raise
        status, draft = STATUS[type(error)], _draft(form)
        return with_wait(await _page(request, session, conversation, temporary, status, error.message, draft), error)
    except HTTPException as error:
        if error.status_code != 413:
            raise
        problem = _(
            "That is too much: at most {limit} characters are possible.", limit=parts.settings.max_knowledge_chars
        )
        return await _page(request, session, conversation, temporary, 413, problem)
    response = RedirectResponse(f"/conversations/{conversation}#latest", 303)
    parts.sessions.write(response, session)
    return response


def _given(form: Mapping[str, Part], max_chars: int) -> OwnKnowledge | None:
    """A chosen file before a pasted text; None to take the text away. Raises KnowledgeRefused."""
    if "remove" in form:
        return None
    file = form.get("file")
    if file is not None and file.filename:
        return from_file(file.filename, file.content, max_chars)
    return from_paste(_draft(form), max_chars)


def _draft(form: Mapping[str, Part]) -> str:
    return form["text"].text if "text" in form else ""


async def _page(
    request: Request,
    session: BrowserSession,
    conversation: str,
    temporary: bool = False,
    status: int = 200,
    problem: str | None = None,
    draft: str = "",
) -> Response:
    store = services(request).store
    own = await run_in_threadpool(store.knowledge, session.id, conversation) if conversation else None
    context = {
        "action": f"/conversations/{conversation}/knowledge" if conversation else "/new/knowledge",
        "back": f"/conversations/{conversation}" if conversation else "/new",
        "temporary": temporary,
        "label": own_knowledge_label(own.name, len(own.text)) if own else "",
        "text": draft or (own.text if own else ""),
        "problem": problem,
    }
    return render(request, session, "own_knowledge.html", context, status)
