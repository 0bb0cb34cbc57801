"""Who runs: waiting requests -> slots, and who leaves. Pure bookkeeping; knows neither tensors nor threads.

Running requests fill slots 0..n-1 without a gap, which the slot caches rely on: when one leaves, the last one moves
into its slot. Requests that choose among candidates are done before the next decoding step, and take no slot.
"""

from bisect import insort
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from serve_app.engine.request import Request, TokenIds


@dataclass(frozen=True)
class Move:
    """The last slot's reply goes to the slot that became free."""

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
        """Admit at most `prefill_tokens` a step, so that prompts which join cannot stall who runs for longer.

        cost: the tokens of a prompt that have to be encoded; 0 where its encoding is at hand.
        """
        self._slots = slots
        self._max_waiting = max_waiting
        self._prefill_tokens = prefill_tokens
        self._cost = cost
        self.waiting: list[Request] = []  # the nearest deadline first, then who came first
        self.running: list[Request] = []  # by slot
        self.scoring: list[Request] = []

    @property
    def full(self) -> bool:
        """Counts free slots too: a burst that fits them must not depend on how fast it is admitted."""
        return len(self.waiting) + len(self.running) >= self._slots + self._max_waiting

    @property
    def idle(self) -> bool:
        return not (self.waiting or self.running or self.scoring)

    def add(self, request: Request) -> None:
        """Queue a request before all with a later deadline, and behind those with the same one.

        Nobody starves: a deadline is a point in time, so whoever arrives late enough has a later one and queues behind.
        """
        insort(self.waiting, request, key=lambda other: other.deadline)

    def admit(self) -> list[Request]:
        """Take requests from the queue, as far as slots and the budget of tokens go.

        A prompt is encoded once, however many of the admitted have it; who chooses among candidates has a cost of its
        own. What is larger than the budget goes alone: a prompt cannot be cut, as each of its tokens attends to all
        others. So the bound of what happens between two steps is the budget or the longest prompt, whichever is more.
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
        """The queue's head; where no slot is free, the first one that needs none."""
        slot_is_free = len(self.running) < self._slots
        return next((request for request in self.waiting if slot_is_free or request.trie), None)

    def drop_expired(self, now: float) -> tuple[list[Request], list[Move]]:
        """Remove who was cancelled or is past the deadline -> those, and the moves that close the gaps."""
        over = [request for request in (*self.waiting, *self.running) if request.is_expired(now)]
        self.waiting = [request for request in self.waiting if request not in over]
        return over, self.leave([request for request in self.running if request in over])

    def leave(self, requests: Sequence[Request]) -> list[Move]:
        """Let go of `requests` -> the moves that close the gaps in the slots, to be done in their order."""
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
