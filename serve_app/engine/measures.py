"""Numbers of the step loop, to be reported: of one reply, and of the engine since it began.

Only the step loop's thread writes them. Any thread may read them, and none needs a lock.
"""

from dataclasses import dataclass, replace


@dataclass
class ReplyTimes:
    """When what happened to a request, in seconds on the engine's clock; None: not yet."""

    submitted: float
    began: float | None = None  # it left the queue
    encoded: float | None = None  # its prompt was read
    first_token: float | None = None
    last_token: float | None = None
    tokens: int = 0  # the end-of-sequence token counts

    def wrote(self, now: float, tokens: int = 1) -> None:
        """The next token is there, or all of a reply that was chosen whole."""
        if self.first_token is None:
            self.first_token = now
        self.last_token = now
        self.tokens += tokens

    @property
    def queue_s(self) -> float | None:
        """Seconds between submission and the start of its encoding; None while it waits."""
        return None if self.began is None else self.began - self.submitted

    @property
    def token_s(self) -> float | None:
        """Mean seconds per token after the first; None where there are not two, as in a reply that was chosen whole."""
        if self.first_token is None or self.last_token is None or self.first_token == self.last_token:
            return None
        return (self.last_token - self.first_token) / (self.tokens - 1)


@dataclass
class Totals:
    """What an engine has done since it began: numbers that only grow, of which readers take differences."""

    steps: list[int]  # decoding steps, by the number of requests that were in them
    tokens: int = 0
    guessed: int = 0  # tokens that were guessed and verified, in steps of several tokens of a reply
    accepted: int = 0  # of these, the ones that came true; they are in `tokens`
    busy_s: float = 0.0  # in steps of the loop
    encode_s: float = 0.0  # of these, encoding prompts
    encodings_kept: int = 0  # prompts whose encoding was there: in the cache, or of an equal prompt beside them
    encodings_made: int = 0

    def copy(self) -> "Totals":
        return replace(self, steps=self.steps.copy())

    def since(self, before: "Totals") -> "Totals":
        """What was done after `before`."""
        return Totals(
            steps=[now - then for now, then in zip(self.steps, before.steps, strict=True)],
            tokens=self.tokens - before.tokens,
            guessed=self.guessed - before.guessed,
            accepted=self.accepted - before.accepted,
            busy_s=self.busy_s - before.busy_s,
            encode_s=self.encode_s - before.encode_s,
            encodings_kept=self.encodings_kept - before.encodings_kept,
            encodings_made=self.encodings_made - before.encodings_made,
        )
