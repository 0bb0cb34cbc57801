"""The page of the cluster: a table, and the events that keep it up to date."""

from collections.abc import AsyncIterator
from contextlib import aclosing

from fastapi import APIRouter
from pydantic import BaseModel
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response, StreamingResponse

from frontend import sse
from frontend.cluster import Cluster
from frontend.cluster_views import SPARK_HEIGHT, SPARK_WIDTH, ClusterView, cluster_view
from frontend.errors import BackendError
from frontend.forms import read_form
from frontend.pages import error_response, render
from frontend.services import Services, services
from frontend.visitors import visitor
from frontend.words import _

router = APIRouter(prefix="/cluster")


@router.get("")
async def cluster(request: Request) -> Response:
    """The replicas as they are at this moment; without a script the page loads itself again."""
    parts = services(request)
    context = {
        "cluster": _view(parts, await parts.cluster.now()),
        "spark": {"width": SPARK_WIDTH, "height": SPARK_HEIGHT},
    }
    return render(request, await visitor(request), "cluster.html", context)


@router.get("/events")
async def events(request: Request) -> Response:
    """The same as events, one a second."""
    headers = {"X-Accel-Buffering": "no"}  # proxies of the nginx kind would collect the stream
    return StreamingResponse(_events(services(request)), media_type="text/event-stream", headers=headers)


async def _events(parts: Services) -> AsyncIterator[bytes]:
    async with aclosing(parts.cluster.follow()) as clusters:
        async for each in clusters:
            yield sse.encode("cluster", _view(parts, each).model_dump())


@router.post("/end")
async def end(request: Request) -> Response:
    """In a demo, end a replica."""
    parts = services(request)
    if not parts.settings.demo:
        raise HTTPException(404)
    form = await read_form(request, parts.settings.max_form_bytes)
    try:
        body = {"replica_id": form.get("replica", "")}
        await parts.backend.post("/demo/end", body, Ended, seconds=parts.settings.health_timeout_seconds + 3)
    except BackendError as error:
        return error_response(request, 409, error.type, " ".join((_("The replica was not ended."), error.advice)))
    return RedirectResponse("/cluster", 303)


class Ended(BaseModel):
    """The answer of POST /demo/end."""

    replica_id: str


def _view(parts: Services, known: Cluster) -> ClusterView:
    return cluster_view(known, demo=parts.settings.demo)
