"""The likeliest weights of a choice among sentences, or none."""

import numpy as np
import pytest

from training import logit
from training.logit import Choice, learn


def drawn(weights: np.ndarray, threshold: float, count: int) -> list[Choice]:
    """Questions that choose as the model says."""
    random = np.random.default_rng(0)
    found = []
    for _ in range(count):
        evidence = random.random((8, len(weights)))
        worth = np.append(evidence @ weights, threshold)
        chances = np.exp(worth - worth.max())
        answer = int(random.choice(9, p=chances / chances.sum()))
        found.append(Choice(evidence, None if answer == 8 else answer))
    return found


def test_known_weights_are_found_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(logit, "SILENCE", 1.0)
    monkeypatch.setattr(logit, "SHRINKAGE", 1e-3)
    true = np.array([4.0, -2.0, 0.0])
    weights, threshold = learn(drawn(true, 1.5, 6000))
    assert weights == pytest.approx(true, abs=0.25)
    assert threshold == pytest.approx(1.5, abs=0.25)


def test_silence_counts_more() -> None:
    """Who is to decline more often needs more evidence."""
    choices = drawn(np.array([4.0]), 1.5, 2000)
    assert learn(choices)[1] > 1.5 + 0.3
