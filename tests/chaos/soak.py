"""Two thousand clients leave, at every stage of their requests: what do they leave behind?"""

import time
from dataclasses import dataclass

from tests.support.backend import Backend
from tests.support.disconnects import leave_at_random
from tests.support.waiting import eventually

FIRST, ALL = 500, 2000
_METRICS_S = 20.0  # Ray's metrics are so old, at most

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
    eventually(lambda: bool(_tasks(backend)), 60, "Ray's metric of tasks")  # its agent may be too busy to answer
    return round(sum(_tasks(backend))), backend.memory()


def _tasks(backend: Backend) -> list[float]:
    """By event loop."""
    return [float(line.split()[-1]) for line in backend.metrics() if line.startswith("ray_serve_event_loop_tasks")]
