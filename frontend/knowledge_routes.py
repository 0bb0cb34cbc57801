"""The page of the configuration: what is in use, trying a question, and, for an operator, editing the file.

An operator's key comes with each form and is passed on to the backend, which says what it allows. It is kept nowhere:
no session of this page may do more than another.
"""

from collections.abc import Mapping

from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import Response

from frontend.errors import BackendError, Busy, MessageRefused, TooFast
from frontend.forms import checked_message, read_form
from frontend.knowledge_views import ConfigFile, ConfigTold, config_view, trial_view
from frontend.pages import render, with_wait
from frontend.rates import Action
from frontend.services import services
from frontend.session import BrowserSession
from frontend.text import clean
from frontend.trial import Trial, try_question
from frontend.visitors import visitor
from frontend.words import _

router = APIRouter(prefix="/knowledge")


@router.get("")
async def knowledge(request: Request) -> Response:
    """The configuration in use."""
    return await _page(request, await visitor(request))


@router.post("/try")
async def try_out(request: Request) -> Response:
    """What a question would bring; nothing is kept of it."""
    parts = services(request)
    form = await read_form(request, parts.settings.max_form_bytes)
    session = await visitor(request)
    draft = form.get("question", "")
    try:
        question = checked_message(draft, parts.settings.max_message_chars)
        if parts.trials.locked():
            raise Busy(_("Others are trying questions at this moment. Try again in a moment."))
        await parts.rates.spend(Action.MESSAGE, request, session)
    except MessageRefused as error:
        return await _page(request, session, question=draft, problem=error.message, status=422)
    except Busy as error:
        return await _page(request, session, question=draft, problem=error.message, status=503)
    except TooFast as error:
        return with_wait(await _page(request, session, question=draft, problem=error.message, status=429), error)
    async with parts.trials:
        trial = await try_question(parts.backend, question, parts.settings, session.id)
    return await _page(request, session, question=question, trial=trial)


@router.post("/edit")
async def edit(request: Request) -> Response:
    """The file, for who has a key that may change it."""
    parts = services(request)
    form = await read_form(request, parts.settings.max_form_bytes)
    session = await visitor(request)
    try:
        told = await parts.backend.get("/config", ConfigTold, seconds=_seconds(request), key=_key(form))
    except BackendError as error:
        return await _page(request, session, problem=error.advice, status=403)
    if told.file is None:
        return await _page(request, session, problem=_("This key may not change the configuration."), status=403)
    return await _page(request, session, file=told.file, key=_key(form))


@router.post("/save")
async def save(request: Request) -> Response:
    """Put an edited file in place of the old one."""
    parts = services(request)
    form = await read_form(request, parts.settings.max_knowledge_form_bytes)
    session = await visitor(request)
    edited = ConfigFile(text=clean(form.get("text", "")), version=form.get("version", ""))
    try:
        body = edited.model_dump()
        told = await parts.backend.put("/config/file", body, ConfigTold, seconds=_seconds(request), key=_key(form))
    except BackendError as error:
        problem = " ".join((_("Nothing was saved."), error.advice))
        return await _page(request, session, problem=problem, status=422, file=edited, key=_key(form))
    saved = _(
        "Saved: configuration {version} is in use, and the page of the cluster shows who has taken it up.",
        version=told.version,
    )
    return await _page(request, session, notice=saved)


def _seconds(request: Request) -> float:
    return services(request).settings.health_timeout_seconds + 3


def _key(form: Mapping[str, str]) -> str:
    """What is no key is sent as one that is not known: a header has room for ASCII only."""
    return "".join(c for c in form.get("key", "") if "!" <= c <= "~")[:512] or "none"


async def _page(
    request: Request,
    session: BrowserSession,
    *,
    question: str = "",
    trial: Trial | None = None,
    file: ConfigFile | None = None,
    key: str = "",
    notice: str | None = None,
    problem: str | None = None,
    status: int = 200,
) -> Response:
    parts = services(request)
    try:
        told: ConfigTold | None = await parts.backend.get("/config", ConfigTold, seconds=_seconds(request))
        away = ""
    except BackendError as error:
        told, away = None, error.advice
    context = {
        "config": None if told is None else config_view(told),
        "away": away,
        "question": question,
        "trial": None if trial is None else trial_view(trial),
        "file": file,
        "key": key,
        "done": notice,
        "problem": problem,
    }
    return render(request, session, "knowledge.html", context, status)
