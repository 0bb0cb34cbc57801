"""Clients that leave, leave nothing behind: no slot, no place in the queue, no memory."""

from concurrent.futures import ThreadPoolExecutor

import requests

from tests.support.backend import Backend
from tests.support.disconnects import leave_at_random
from tests.support.waiting import eventually

_COUNT = 300
_GROWTH = 16 * 2**20  # of the ingress and the replica, from then on


def test_hundreds_of_clients_that_leave_leave_nothing_behind(backend: Backend) -> None:
    leave_at_random(backend.url, _COUNT, seed=1)
    eventually(backend.is_idle, 30, "all slots and the queue empty")
    before = backend.memory()
    leave_at_random(backend.url, _COUNT, seed=2)
    eventually(backend.is_idle, 30, "all slots and the queue empty")
    assert backend.memory() < before + _GROWTH
    # Those who left count as present for some seconds, in which one client has only its share.
    eventually(lambda: _there_is_room_for_as_many_as_ever(backend), 30, "room for as many as ever")


def _there_is_room_for_as_many_as_ever(backend: Backend) -> bool:
    room = sum(replica["slots"] for replica in backend.replicas()) + 64

    def ask(client: int) -> int:
        session = {"x-session-id": f"client-{client}"}  # of one client alone, HAProxy leaves a part of the room free
        asked = requests.post(f"{backend.url}/chat", json={"dialog": ["What is a pod?"]}, headers=session, timeout=60)
        return asked.status_code

    with ThreadPoolExecutor(room) as clients:
        return list(clients.map(ask, range(room))) == [200] * room
