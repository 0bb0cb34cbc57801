"""Who runs: waiting requests -> slots, and who leaves. Pure bookkeeping; knows neither tensors nor threads.

Running requests fill slots 0..n-1 without a gap, which the slot caches rely on: when one leaves, the last one moves
into its slot.
"""

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, Protocol

from serve_app.engine.sampling import Choice
from serve_app.messages import FinishReason

Ending = FinishReason | Literal["deadline", "failed"]


class Reader(Protocol):
    """Whoever waits for a reply."""

    cancelled: bool  # set by any thread, acted upon before the next step

    def put(self, tokens: list[int], ending: Ending | None) -> None:
        """Take the next tokens. The last call of a reply that was not cancelled has an ending."""


@dataclass(eq=False)
class Request:
    """One reply on its way: what was asked, and what is written so far."""

    prompt: list[int]
    choice: Choice  # its `written` grows with every step
    deadline: float  # on the engine's clock
    reader: Reader

    def ending(self, eos_token: int) -> FinishReason | None:
        """Why the reply is complete after its last token, if it is."""
        written = self.choice.written
        if written[-1] == eos_token:
            return "stop"
        return "length" if len(written) >= self.choice.sampling.max_length else None

    def is_over(self, now: float) -> bool:
        return self.reader.cancelled or now >= self.deadline


@dataclass(frozen=True)
class Move:
    """The last slot's reply goes to the slot that became free."""

    source: int
    target: int


class Scheduler:
    def __init__(self, *, slots: int, max_waiting: int, prefill_tokens: int) -> None:
        """Admit at most `prefill_tokens` prompt tokens a step, so that a burst of prompts cannot stall who runs."""
        self._slots = slots
        self._max_waiting = max_waiting
        self._prefill_tokens = prefill_tokens
        self.waiting: deque[Request] = deque()
        self.running: list[Request] = []  # by slot

    @property
    def full(self) -> bool:
        """Counts free slots too: a burst that fits them must not depend on how fast it is admitted."""
        return len(self.waiting) + len(self.running) >= self._slots + self._max_waiting

    @property
    def idle(self) -> bool:
        return not self.waiting and not self.running

    def admit(self) -> list[Request]:
        """Move requests from the queue's head into free slots. At least one goes, whatever its prompt's length."""
        admitted: list[Request] = []
        tokens = 0
        while self.waiting and len(self.running) < self._slots:
            tokens += len(self.waiting[0].prompt)
            if admitted and tokens > self._prefill_tokens:
                break
            admitted.append(self.waiting.popleft())
            self.running.append(admitted[-1])
        return admitted

    def drop_over(self, now: float) -> tuple[list[Request], list[Move]]:
        """Remove who was cancelled or is past the deadline -> those, and the moves that close the gaps."""
        over = [request for request in (*self.waiting, *self.running) if request.is_over(now)]
        self.waiting = deque(request for request in self.waiting if request not in over)
        return over, self.leave([request for request in self.running if request in over])

    def leave(self, requests: Sequence[Request]) -> list[Move]:
        """Free the slots of `requests` -> the moves that close the gaps, to be done in their order."""
        moves = []
        for request in requests:
            slot = self.running.index(request)
            last = self.running.pop()
            if last is not request:
                self.running[slot] = last
                moves.append(Move(source=len(self.running), target=slot))
        return moves
