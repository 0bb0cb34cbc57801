"""Pure: how a reply went, told once, when it has ended. Numbers and names of this service; never a word of a user's."""

import asyncio
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import Literal

from serve_app.errors import DeadlineExceeded, InvalidRequest, NoReplica, Overloaded, Starting

Ending = Literal["done", "cancelled", "deadline", "failed"]

# The name of the API key that the present request came with; empty without one. Tasks that are begun for it inherit it.
asking_key: ContextVar[str] = ContextVar("asking_key", default="")

_REFUSALS = (InvalidRequest, Overloaded, NoReplica, Starting)


@dataclass
class Outcome:
    """Filled in while the reply is written."""

    began_at: float = field(default_factory=time.monotonic)
    ending: Ending | None = None  # None: it is being written, or was refused
    first_token_s: float | None = None  # since the request came
    total_s: float = 0.0
    prompt_tokens: int = 0
    reply_tokens: int = 0
    is_quoted: bool = False  # its tokens were those of a given sentence

    @property
    def elapsed_s(self) -> float:
        """Since the request came."""
        return time.monotonic() - self.began_at

    def note_tokens(self, count: int) -> None:
        """So many more have arrived."""
        if self.first_token_s is None:
            self.first_token_s = self.elapsed_s
        self.reply_tokens += count


Recorder = Callable[[Outcome], None]


@contextmanager
def recording(record: Recorder) -> Iterator[Outcome]:
    """Fill the outcome in; it is recorded at the end, whichever that is.

    A request that is refused before it has a token is none of the replies: it is counted where it is answered.
    """
    outcome = Outcome()
    try:
        yield outcome
        outcome.ending = outcome.ending or "done"
    except BaseException as error:
        outcome.ending = outcome.ending or _ending(error, outcome)
        raise
    finally:
        outcome.total_s = outcome.elapsed_s
        if outcome.ending:
            record(outcome)


def _ending(error: BaseException, outcome: Outcome) -> Ending | None:
    if isinstance(error, DeadlineExceeded):
        return "deadline"
    if isinstance(error, asyncio.CancelledError | GeneratorExit):  # its last reader has left
        return "cancelled"
    return None if isinstance(error, _REFUSALS) and outcome.first_token_s is None else "failed"
