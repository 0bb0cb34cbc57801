"""The shared question about the backend's health."""

import threading
from typing import Any

import pytest

from frontend.health import Health, HealthWatch, ask_health
from tests.frontend.conftest import MakeSettings
from tests.support.stub_backend import StubBackend


class CountingBackend:
    """Answers when told to, and counts."""

    def __init__(self) -> None:
        self.asked = 0
        self.release = threading.Event()

    def health(self) -> Health:
        self.asked += 1
        self.release.wait(30)
        return Health(status="ok", ready_replicas=self.asked)


@pytest.fixture
def backend() -> CountingBackend:
    return CountingBackend()


def test_health(stub: StubBackend, make_settings: MakeSettings, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:1")  # is for the outside world
    stub.health["model"] = {"name": "mini", "requested": "big", "fallback": True, "reason": "no network"}
    health = ask_health(make_settings(backend_url=stub.url))
    assert (health.status, health.model.fallback, health.model.reason) == ("ok", True, "no network")


@pytest.mark.parametrize("body", [{}, {"status": "ok", "model": "mini"}, {"detail": "Not Found"}])
def test_health_that_is_not_understood_is_unavailable(
    stub: StubBackend, make_settings: MakeSettings, body: Any
) -> None:
    stub.health = body
    assert ask_health(make_settings(backend_url=stub.url)).status == "unavailable"


def test_health_of_a_stopped_or_silent_backend(stub: StubBackend, make_settings: MakeSettings) -> None:
    settings = make_settings(backend_url=stub.url, health_timeout_seconds=0.2)
    stub.health_release.clear()
    assert ask_health(settings).status == "unavailable"
    stub.stop()
    assert ask_health(settings).status == "unavailable"


async def test_an_answer_is_used_again_while_it_is_fresh(backend: CountingBackend, make_settings: MakeSettings) -> None:
    backend.release.set()
    watch = HealthWatch(backend.health, make_settings(health_cache_seconds=3600))
    answers = [await watch.current(30) for _ in range(3)]
    assert [answer.ready_replicas for answer in answers if answer] == [1, 1, 1]


async def test_a_slow_backend_is_not_waited_for_and_asked_once(
    backend: CountingBackend, make_settings: MakeSettings
) -> None:
    watch = HealthWatch(backend.health, make_settings(health_cache_seconds=0.001))
    assert [await watch.current(0) for _ in range(3)] == [None, None, None]
    assert [await watch.current(0.05) for _ in range(3)] == [None, None, None]
    assert backend.asked == 1
    backend.release.set()
    answer = await watch.current(30)
    assert answer is not None and answer.status == "ok"
    await watch.close()


async def test_the_last_answer_is_told_while_a_new_one_is_awaited(
    backend: CountingBackend, make_settings: MakeSettings
) -> None:
    watch = HealthWatch(backend.health, make_settings(health_cache_seconds=0.001))
    backend.release.set()
    first = await watch.current(30)
    backend.release.clear()
    assert await watch.current(0.05) == first
    backend.release.set()
    await watch.close()


async def test_after_a_failed_reply_a_fresh_answer_is_asked_for(
    backend: CountingBackend, make_settings: MakeSettings
) -> None:
    """On an idle machine the page asked so soon after a lost backend that it was told the cached "ok" for 30 s."""
    backend.release.set()
    watch = HealthWatch(backend.health, make_settings(health_cache_seconds=3600))
    await watch.current(30)
    watch.forget()
    answer = await watch.current(30)
    assert answer is not None and answer.ready_replicas == 2
