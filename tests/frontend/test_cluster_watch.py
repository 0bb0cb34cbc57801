"""The backend is asked while somebody looks, once for all who do."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import aclosing

import pytest

from frontend.cluster import Cluster, Told
from frontend.cluster_watch import ClusterWatch
from frontend.errors import Unavailable
from tests.support.stub_backend import cluster, replica


class FakeBackend:
    """Counts the questions; `trouble` is raised in place of an answer."""

    def __init__(self) -> None:
        self.asked = 0
        self.trouble: Unavailable | None = None

    async def ask(self) -> Told:
        self.asked += 1
        if self.trouble:
            raise self.trouble
        return Told.model_validate(cluster(replica()))


@pytest.fixture
def backend() -> FakeBackend:
    return FakeBackend()


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("frontend.cluster_watch.PAUSE_SECONDS", 0.01)


async def take(clusters: AsyncIterator[Cluster], number: int) -> list[Cluster]:
    return [await anext(clusters) for _ in range(number)]


async def test_nobody_looks_and_nothing_is_asked(backend: FakeBackend, quick: None) -> None:
    watch = ClusterWatch(backend.ask)
    async with aclosing(watch.follow()) as clusters:
        await take(clusters, 3)
    asked = backend.asked
    assert asked >= 3
    await asyncio.sleep(0.1)  # ten pauses
    assert backend.asked == asked


async def test_all_who_look_share_one_question(backend: FakeBackend, quick: None) -> None:
    watch = ClusterWatch(backend.ask)
    viewers = [watch.follow() for _ in range(5)]
    taken = await asyncio.gather(*(take(viewer, 20) for viewer in viewers))
    assert all(len(each) == 20 for each in taken)
    assert backend.asked <= 30  # and not a hundred
    for viewer in viewers[:4]:
        await viewer.aclose()
    await take(viewers[4], 2)  # the last one who looks still sees
    await viewers[4].aclose()


async def test_pages_that_are_loaded_at_once_share_an_answer(backend: FakeBackend) -> None:
    watch = ClusterWatch(backend.ask)
    await asyncio.gather(*(watch.now() for _ in range(10)))
    assert backend.asked == 1


async def test_a_backend_that_is_away_is_told_and_asked_again(backend: FakeBackend, quick: None) -> None:
    backend.trouble = Unavailable("It is away.")
    watch = ClusterWatch(backend.ask)
    async with aclosing(watch.follow()) as clusters:
        (before,) = await take(clusters, 1)
        assert (before.trouble, before.replicas) == (backend.trouble, ())
        backend.trouble = None
        async with asyncio.timeout(5):
            while (await anext(clusters)).trouble:
                pass


async def test_draining_ends_the_streams(backend: FakeBackend) -> None:
    watch = ClusterWatch(backend.ask)
    async with aclosing(watch.follow()) as clusters:
        await anext(clusters)
        watch.drain()
        async with asyncio.timeout(5):
            assert len([each async for each in clusters]) <= 1
