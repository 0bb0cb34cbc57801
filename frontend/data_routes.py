"""The addresses of one's data: take all chats along, bring them back, have everything deleted."""

from datetime import UTC, datetime
from itertools import chain, islice

from fastapi import APIRouter
from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from frontend import transfer
from frontend.downloads import download
from frontend.errors import Busy, ImportRefused, TooFast, TooMany
from frontend.library_pages import data_page
from frontend.pages import with_wait
from frontend.posts import read_post
from frontend.quantities import size
from frontend.rates import Action
from frontend.services import Services, services
from frontend.session import BrowserSession
from frontend.upload import read_file
from frontend.visitors import visitor
from frontend.words import _

router = APIRouter(prefix="/data")


@router.get("")
async def data(request: Request) -> Response:
    """What is kept, and for how long."""
    return await data_page(request, await visitor(request))


@router.get("/export.{kind}")
async def export(request: Request, kind: transfer.Kind) -> Response:
    """All chats of the list as a file."""
    session = services(request).sessions.read(request)
    await services(request).rates.spend(Action.TRANSFER, request, session)
    records = services(request).library.export(session.id)
    first = await run_in_threadpool(lambda: list(islice(records, 1)))  # a database that is away is an error page yet
    return download(chain(first, records), kind, f"chats-{datetime.now(UTC):%Y-%m-%d}")


@router.post("/import")
async def bring_back(request: Request) -> Response:
    """Store the chats of an exported file, all of them or none."""
    parts = services(request)
    session = parts.sessions.read(request)
    try:
        number = await _import(request, parts, session)
    except (ImportRefused, TooMany) as error:
        return await data_page(request, session, status=422, problem=error.message)
    except Busy as error:
        return await data_page(request, session, status=503, problem=error.message)
    except TooFast as error:
        if session.fresh:  # it is given no cookie
            raise
        return with_wait(await data_page(request, session, status=429, problem=error.message), error)
    except HTTPException as error:
        if error.status_code != 413:
            raise
        limit = size(parts.settings.max_import_bytes)
        problem = _(
            "The file is too large: at most {limit} can be imported at once. Nothing was imported.", limit=limit
        )
        return await data_page(request, session, status=413, problem=problem)
    response = RedirectResponse(f"/conversations?imported={number}", 303)
    parts.sessions.write(response, session)
    return response


@router.post("/delete")
async def forget(request: Request) -> Response:
    """Delete everything that is kept of the session, and end it."""
    post = await read_post(request)
    if post.form.get("sure") != "yes":
        problem = _("Nothing was deleted. Tick the box if you are sure.")
        return await data_page(request, post.session, status=422, problem=problem)
    await run_in_threadpool(services(request).library.forget, post.session.id)
    response = RedirectResponse("/new?notice=forgotten", 303)
    services(request).sessions.end(response)
    return response


async def _import(request: Request, parts: Services, session: BrowserSession) -> int:
    if parts.imports.locked():
        raise Busy(_("Others are importing at this moment, so nothing was imported. Try again in a moment."))
    async with parts.imports:
        # The file comes first: a browser that is cut off while it sends shows a network error instead of a reason.
        content = await read_file(request, "file", parts.settings.max_import_bytes)
        if session.fresh:
            await parts.rates.spend(Action.SESSION, request, session)
        await parts.rates.spend(Action.TRANSFER, request, session)
        if not content.strip():
            raise ImportRefused(_("No file was chosen, or it is empty. Choose a file that was exported here as JSON."))
        records = await run_in_threadpool(transfer.from_json, content, parts.settings.max_exchanges_kept)
        await run_in_threadpool(parts.library.add, session.id, records)
        return len(records)
