"""Waits for what comes about by itself."""

import time
from collections.abc import Callable


def eventually(condition: Callable[[], bool], within_s: float = 30, what: str = "it") -> None:
    """Wait until `condition` holds; fail saying what did not come about."""
    deadline = time.monotonic() + within_s
    while not condition():
        if time.monotonic() > deadline:
            raise AssertionError(f"not within {within_s} s: {what}")
        time.sleep(0.05)
