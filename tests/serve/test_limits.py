"""Full queues, deadlines, autoscaling and lost replicas, on a backend small and slow enough to see them."""

import os
import signal
import threading
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

import psutil
import pytest
import requests

from tests.support.backend import Backend
from tests.support.sse import events
from tests.support.waiting import eventually

LONG = {"max_length": 250, "min_length": 250, "do_sample": True, "temperature": 1.5, "seed": 11}


def test_full_queues_are_429_with_retry_after(slow_backend: Backend) -> None:
    with ThreadPoolExecutor(30) as clients:
        responses = list(
            clients.map(lambda _: slow_backend.chat("Hello", generation=LONG | {"max_length": 250}), range(30))
        )
    refused = [response for response in responses if response.status_code != 200]
    assert refused, "30 requests fit into 2 slots and a queue of 4"
    for response in refused:
        assert response.status_code == 429
        assert int(response.headers["Retry-After"]) > 0
        assert response.json()["error"]["type"] == "overloaded"
    assert len(refused) < 30


def test_a_second_replica_starts_under_load_and_goes_afterwards(slow_backend: Backend) -> None:
    eventually(lambda: len(slow_backend.replicas()) == 1, 60, "a single replica")
    seen: set[str] = set()

    def ask_until_two_replicas_answered() -> None:
        while len(seen) < 2:
            response = slow_backend.chat("Hello", generation=LONG | {"max_length": 60, "min_length": 60})
            if response.status_code == 200:
                seen.add(response.json()["replica_id"])

    with ThreadPoolExecutor(4) as clients:
        asking = [clients.submit(ask_until_two_replicas_answered) for _ in range(4)]
        for client in asking:
            client.result(timeout=120)
    assert len(seen) == 2
    eventually(lambda: len(slow_backend.replicas()) == 1, 90, "the second replica gone")


def test_health_is_good_under_full_load(slow_backend: Backend) -> None:
    seen_busy = threading.Event()

    def ask_until_seen() -> None:  # replies may be shorter than the second between two looks at the replicas
        while not seen_busy.is_set():
            slow_backend.chat("Hello", generation=LONG)

    with ThreadPoolExecutor(4) as clients:
        asking = [clients.submit(ask_until_seen) for _ in range(4)]
        try:
            eventually(lambda: any(r["active"] for r in slow_backend.replicas()), 30, "a busy replica")
            assert slow_backend.health()["status"] == "ok"
        finally:
            seen_busy.set()
        _finish(asking)


@pytest.mark.parametrize("stream", [False, True])
def test_past_the_deadline_of_a_client_it_is_504_or_an_error_event(slow_backend: Backend, stream: bool) -> None:
    with ThreadPoolExecutor(6) as clients:
        asking = [
            clients.submit(slow_backend.chat, "Hello", generation=LONG, timeout_s=1, stream=stream) for _ in range(6)
        ]
        late = [response for response in (asked.result(60) for asked in asking) if "deadline_exceeded" in response.text]
    assert late, "six long replies were complete within a second"
    for response in late:
        assert response.status_code == 504 or "event: error" in response.text


def test_a_reply_survives_the_death_of_its_replica(slow_backend: Backend) -> None:
    whole = slow_backend.chat("Hello", generation=LONG).json()
    with requests.post(
        f"{slow_backend.url}/chat",
        json={"dialog": ["Hello"], "stream": True, "generation": LONG},
        stream=True,
        timeout=60,
    ) as response:
        stream = events(response)
        assert [next(stream)[0], next(stream)[0]] == ["start", "token"]
        _kill_replica(slow_backend)
        *_, (name, done) = stream
    assert name == "done", done
    assert done["response"] == whole["response"]
    assert done["usage"] == whole["usage"]
    assert done["replica_id"] != response.headers["x-replica-id"]


def test_no_replica_is_503_at_once_and_health_says_so(slow_backend: Backend) -> None:
    _kill_replica(slow_backend)
    eventually(lambda: slow_backend.health()["status"] == "unavailable", 30, "/health notices")
    response = slow_backend.chat("Hello")
    assert response.status_code == 503
    assert response.json()["error"]["type"] == "no_replica"
    assert int(response.headers["Retry-After"]) > 0
    eventually(lambda: slow_backend.health()["status"] == "ok", 60, "Serve replaces the replica")


def _kill_replica(backend: Backend) -> None:
    """As the kernel's out-of-memory killer does."""
    replicas = [process for process in backend.processes() if _is_model_replica(process)]
    assert replicas
    for process in replicas:
        os.kill(process.pid, signal.SIGKILL)


def _is_model_replica(process: psutil.Process) -> bool:
    return "ServeReplica:godel:GodelModel" in " ".join(process.cmdline())


def _finish(asking: list[Future[Any]]) -> None:
    for client in asking:
        client.result(timeout=60)
