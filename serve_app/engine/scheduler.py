"""Which requests wait, run and leave. Pure bookkeeping; knows neither tensors nor threads.

Running requests fill slots 0..n-1 without a gap, which the KV cache relies on: when one leaves, the last one moves into
its slot. Requests with candidates take no slot: they are scored, and leave, before the next decoding step.
"""

from bisect import insort
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from serve_app.engine.request import Request, TokenIds


@dataclass(frozen=True)
class Move:
    """A reply is copied from the last slot to one that became free."""

    source: int
    target: int


class Scheduler:
    def __init__(
        self,
        *,
        slots: int,
        max_waiting: int,
        prefill_tokens: int,
        cost: Callable[[TokenIds], int] = len,
    ) -> None:
        """prefill_tokens: the most admitted between two steps, which bounds how long running requests are delayed.

        cost: the number of a prompt's tokens that have to be encoded; 0 if its encoding is cached.
        """
        self._slots = slots
        self._max_waiting = max_waiting
        self._prefill_tokens = prefill_tokens
        self._cost = cost
        self.waiting: list[Request] = []  # by deadline, then by arrival
        self.running: list[Request] = []  # by slot
        self.scoring: list[Request] = []  # admitted, with candidates

    @property
    def full(self) -> bool:
        """Whether slots and queue together are taken: a burst that fits is accepted before any of it is in a slot."""
        return len(self.waiting) + len(self.running) >= self._slots + self._max_waiting

    @property
    def idle(self) -> bool:
        return not (self.waiting or self.running or self.scoring)

    def add(self, request: Request) -> None:
        """Insert a request by its deadline; equal deadlines in the order of arrival.

        No request starves: deadlines are points in time, so requests that arrive late enough queue behind it.
        """
        insort(self.waiting, request, key=lambda other: other.deadline)

    def admit(self) -> list[Request]:
        """Take requests from the queue while there are slots and `prefill_tokens` are not exceeded.

        Equal prompts are encoded once and cost as much as one; scoring candidates costs extra. A request that alone
        exceeds the budget is admitted by itself: a prompt cannot be encoded in parts, as each of its tokens attends to
        all others. So between two steps at most max(prefill_tokens, longest prompt) tokens are encoded.
        """
        admitted: list[Request] = []
        prompts: set[TokenIds] = set()
        spent = 0
        while request := self._next():
            cost = request.scoring_cost + (0 if request.prompt in prompts else self._cost(request.prompt))
            if spent and cost and spent + cost > self._prefill_tokens:
                break
            spent += cost
            prompts.add(request.prompt)
            self.waiting.remove(request)
            (self.scoring if request.trie else self.running).append(request)
            admitted.append(request)
        return admitted

    def _next(self) -> Request | None:
        """The head of the queue; without a free slot, the first request that needs none."""
        slot_is_free = len(self.running) < self._slots
        return next((request for request in self.waiting if slot_is_free or request.trie), None)

    def drop_expired(self, now: float) -> tuple[list[Request], list[Move]]:
        """Remove requests that are cancelled or past their deadline. Returns them, and the moves as `leave` does."""
        expired = [request for request in (*self.waiting, *self.running) if request.is_expired(now)]
        self.waiting = [request for request in self.waiting if request not in expired]
        return expired, self.leave([request for request in self.running if request in expired])

    def leave(self, requests: Sequence[Request]) -> list[Move]:
        """Remove running or scoring requests. Returns the moves that close the gaps in the slots, in their order."""
        moves = []
        for request in requests:
            if request.trie:
                self.scoring.remove(request)
                continue
            slot = self.running.index(request)
            last = self.running.pop()
            if last is not request:
                self.running[slot] = last
                moves.append(Move(source=len(self.running), target=slot))
        return moves
