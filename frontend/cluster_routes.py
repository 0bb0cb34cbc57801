"""The page of the cluster: a table, and the events that keep it up to date."""

from collections.abc import AsyncIterator
from contextlib import aclosing

from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse

from frontend import sse
from frontend.cluster import Cluster
from frontend.cluster_views import SPARK_HEIGHT, SPARK_WIDTH, ClusterView, cluster_view
from frontend.pages import render
from frontend.services import Services, services

router = APIRouter(prefix="/cluster")


@router.get("")
async def cluster(request: Request) -> Response:
    """The replicas as they are at this moment; without a script the page loads itself again."""
    parts = services(request)
    context = {
        "cluster": _view(parts, await parts.cluster.now()),
        "spark": {"width": SPARK_WIDTH, "height": SPARK_HEIGHT},
    }
    return render(request, parts.sessions.read(request), "cluster.html", context)


@router.get("/events")
async def events(request: Request) -> Response:
    """The same as events, one a second."""
    headers = {"X-Accel-Buffering": "no"}  # proxies of the nginx kind would collect the stream
    return StreamingResponse(_events(services(request)), media_type="text/event-stream", headers=headers)


async def _events(parts: Services) -> AsyncIterator[bytes]:
    async with aclosing(parts.cluster.follow()) as clusters:
        async for each in clusters:
            yield sse.encode("cluster", _view(parts, each).model_dump())


def _view(parts: Services, known: Cluster) -> ClusterView:
    return cluster_view(known, demo=False)
