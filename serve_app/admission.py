"""Pure: whether there is room for a request, asked before any work is done for it.

    room = slots of the ready model replicas + places to wait

Where a request would have to wait, its client must hold less than its share of the room: so one client's thousand
requests neither keep another client's one out, nor are a queue before it.
"""

import math
from collections import Counter, OrderedDict, deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from serve_app.errors import Overloaded, OverloadReason

_SEEN_S = 5.0  # a client is present while it holds room, and for so long after its last request, refused or not
_MOST_SEEN = 10_000
_RATE_WINDOW_S = 10.0
_RATE_SAMPLES = 256
_RETRY_AFTER_S = range(1, 31)  # seconds: of nothing known, the first; never more than the last


class Admission:
    """Of one ingress. Each request enters once, and leaves however it ends."""

    def __init__(self, slots: Callable[[], int], max_waiting: int, clock: Callable[[], float]) -> None:
        """slots: of the model replicas that are ready. max_waiting: requests beyond them."""
        self._slots = slots
        self._max_waiting = max_waiting
        self._clock = clock
        self._held: Counter[str] = Counter()
        self._seen: OrderedDict[str, float] = OrderedDict()  # clients by their last request, oldest first
        self._finished: deque[float] = deque(maxlen=_RATE_SAMPLES)  # when requests left
        self.in_flight = 0

    @contextmanager
    def enter(self, client: str, budget_s: float) -> Iterator[None]:
        """Be in flight. Raises Overloaded where there is no room, or no hope to be done within `budget_s`."""
        self._see(client)
        slots = self._slots()
        room = slots + self._max_waiting
        if self.in_flight >= room:
            raise self._overloaded("all replicas are busy and the queue is full", "queue_full")
        if self.in_flight >= slots and self._held[client] >= room / len(self._seen):
            raise self._overloaded("this client has its share of a busy service", "share")
        if self.wait_s > budget_s:
            raise self._overloaded(f"the queue is too long for a reply within {budget_s:g} s", "hopeless")
        self.in_flight += 1
        self._held[client] += 1
        try:
            yield
        finally:
            self.in_flight -= 1
            self._held[client] -= 1
            if not self._held[client]:
                del self._held[client]
            self._finished.append(self._clock())

    @property
    def wait_s(self) -> float:
        """How long the queue takes until a request that comes now has a slot, at the rate of late."""
        waiting = self.in_flight - self._slots() + 1
        return waiting / rate if waiting > 0 and (rate := self._rate()) else 0.0

    def _overloaded(self, told: str, why: OverloadReason) -> Overloaded:
        retry_after_s = min(max(math.ceil(self.wait_s), _RETRY_AFTER_S[0]), _RETRY_AFTER_S[-1])
        return Overloaded(f"{told}; try again in {retry_after_s} s", retry_after_s, why)

    def _rate(self) -> float:
        """Requests a second that ended, lately; 0: none did."""
        now = self._clock()
        while self._finished and self._finished[0] < now - _RATE_WINDOW_S:
            self._finished.popleft()
        return len(self._finished) / max(now - self._finished[0], 1.0) if self._finished else 0.0

    def _see(self, client: str) -> None:
        now = self._clock()
        self._seen[client] = now
        self._seen.move_to_end(client)
        while len(self._seen) > _MOST_SEEN or next(iter(self._seen.values())) < now - _SEEN_S:
            oldest, _ = self._seen.popitem(last=False)
            if self._held[oldest] and len(self._seen) < _MOST_SEEN:
                self._seen[oldest] = now
