"""Two thousand clients leave, at every stage of their requests: what do they leave behind?"""

import re
import time
from collections import defaultdict
from dataclasses import dataclass

from tests.support.backend import Backend
from tests.support.disconnects import leave_at_random
from tests.support.waiting import eventually

FIRST, ALL = 500, 2000
_METRICS_S = 20.0  # Ray's metrics are so old, at most
_PARTS = {"proxy", "Ingress", "GodelModel"}

_MOST_TASKS = 5
_MOST_BYTES = 32 * 2**20


@dataclass(frozen=True)
class Left:
    """Behind, by those after the first 500."""

    tasks: int  # of asyncio, in all of Serve's processes
    bytes: int

    @property
    def is_little(self) -> bool:
        return self.tasks <= _MOST_TASKS and self.bytes <= _MOST_BYTES

    @property
    def line(self) -> str:
        return f"{self.tasks:+d} tasks, {self.bytes / 2**20:+.1f} MiB"


def soak(backend: Backend) -> Left:
    """Raises AssertionError where a slot, or a place in the queue, stays taken."""
    tasks, memory = _let_leave(backend, FIRST)
    more_tasks, more_memory = _let_leave(backend, ALL - FIRST)
    return Left(more_tasks - tasks, more_memory - memory)


def _let_leave(backend: Backend, count: int) -> tuple[int, int]:
    """-> tasks, and bytes in memory, once all have left."""
    leave_at_random(backend.url, count, seed=count)
    eventually(backend.is_idle, 60, "all slots and the queue empty")
    time.sleep(_METRICS_S)
    tasks: dict[str, float] = {}

    def all_are_known() -> bool:
        tasks.update(_tasks(backend))
        return tasks.keys() >= _PARTS

    eventually(all_are_known, 120, f"Ray's metric of the tasks of {_PARTS}")
    return round(sum(tasks.values())), backend.memory()


def _tasks(backend: Backend) -> dict[str, float]:
    """By part of the service; now and then Ray's agent leaves one out."""
    tasks: defaultdict[str, float] = defaultdict(float)
    for line in backend.metrics():
        if line.startswith("ray_serve_event_loop_tasks"):
            labels = dict(re.findall(r'(\w+)="([^"]*)"', line))
            tasks[labels.get("deployment") or labels["component"]] += float(line.split()[-1])
    return tasks
