"""Pure: a text that grows piece by piece, up to the first of its stop sequences.

What may become a stop sequence is held back until it is one or cannot be one any more, so that nothing of it is shown.
The text is cut as if it came by the character: how it is cut into pieces makes no difference.
"""

from collections.abc import Sequence


class StopSequences:
    def __init__(self, stops: Sequence[str]) -> None:
        """stops: none of them empty."""
        self._stops = stops
        self._held = ""
        self.text = ""  # all that was given out
        self.found = False

    def grow(self, piece: str, *, is_last: bool) -> str:
        """What can be shown now; nothing more once a stop sequence is `found`."""
        if self.found:
            return ""
        text = self._held + piece
        begin = self._begin_of_first(text)
        self.found = begin is not None
        shown = text[: begin if self.found or is_last else len(text) - self._may_become_one(text)]
        self._held = text[len(shown) :]
        self.text += shown
        return shown

    def _begin_of_first(self, text: str) -> int | None:
        """Of the one that is complete first; of two that end together, the longer."""
        found = [(begin + len(stop), begin) for stop in self._stops if (begin := text.find(stop)) >= 0]
        return min(found)[1] if found else None

    def _may_become_one(self, text: str) -> int:
        """How many of the last characters begin a stop sequence."""
        return max((_overlap(text, stop) for stop in self._stops), default=0)


def _overlap(text: str, stop: str) -> int:
    """The longest end of `text` that begins `stop`, but is not all of it."""
    longest = min(len(text), len(stop) - 1)
    return next((size for size in range(longest, 0, -1) if text.endswith(stop[:size])), 0)
