"""Guesses of a reply's next tokens, which one decoding step verifies together (speculative decoding). Pure.

A grounded reply copies. So its next tokens are guessed from where its last ones stand in the prompt (prompt lookup
decoding, Saxena 2023). They are rows of the same step, each computed as if the ones before were right; the reply takes
the tokens that it would have taken anyway, up to the first that a guess was not.

A row costs time, whether its guess is right or not. A reply's guesses are judged from its first token on, also those
that were not verified, which costs nothing; and a guess is verified where that saves time on average.
"""

from collections import defaultdict
from collections.abc import Sequence

MOST = 7  # guesses a step: with the token that is known these are the rows of one tile of kernels.c

# In the time that a guess's row takes, a step of n replies takes FIXED + REPLY * n (`python -m bench.speculation`). A
# guess must save MARGIN times what its row takes, as its probability is known from few tokens.
FIXED, REPLY, MARGIN = 10, 1.75, 1.25

# The probability that a guess is right, as a moving average over the reply. It begins with what the first matches of
# models/mini's replies come to, which are of one token.
START, _RATE = 0.3, 0.3

_PLACES, _LONGEST = 16, 8  # the most places of a token in the prompt that are compared, and the tokens by which


class Guesser:
    """What is guessed of one reply."""

    def __init__(self, prompt: Sequence[int], reply: Sequence[int], eos_token: int) -> None:
        """reply: its tokens so far."""
        self._prompt = prompt
        self._eos = eos_token
        self._after: defaultdict[int, list[int]] = defaultdict(list)  # token -> the positions behind it
        for position, token in enumerate(prompt[:-1], start=1):
            self._after[token].append(position)
        self._next = self._find(reply)
        self.probability = START

    def guess(self, most: int, replies: int) -> list[int]:
        """The tokens that are worth verifying in a step of so many replies, `most` at most.

        They end before an end-of-sequence token, after which there is nothing to verify.
        """
        guesses: list[int] = []
        if self._next is not None:
            least, together = least_probability(replies), self.probability
            for token in self._prompt[self._next : self._next + most]:
                if together < least or token == self._eos:
                    break
                guesses.append(token)
                together *= self.probability
        return guesses

    def learn(self, reply: Sequence[int]) -> None:
        """The reply's last token is new: judge what was guessed for it, verified or not, and follow."""
        if self._next is None:
            self._next = self._find(reply)
            return
        right = self._prompt[self._next] == reply[-1]
        self.probability += (right - self.probability) * _RATE
        goes_on = right and self._next + 1 < len(self._prompt)
        self._next = self._next + 1 if goes_on else self._find(reply)

    def _find(self, reply: Sequence[int]) -> int | None:
        """The place in the prompt behind the longest match of the reply's end, of equals the last; None: no match."""
        places = self._after.get(reply[-1], [])[-_PLACES:]
        return max(places, key=lambda place: (self._matching(reply, place), place), default=None)

    def _matching(self, reply: Sequence[int], place: int) -> int:
        """How many tokens before `place` are the last ones of the reply."""
        most = min(place, len(reply), _LONGEST)
        return next((n for n in range(most) if self._prompt[place - 1 - n] != reply[-1 - n]), most)


def least_probability(replies: int) -> float:
    """From which probability on a guess is verified, in a step of so many replies.

    Its row takes 1, and a token without guesses takes (FIXED + REPLY * replies) / replies.
    """
    return MARGIN * replies / (FIXED + REPLY * replies)
