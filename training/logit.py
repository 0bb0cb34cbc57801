"""A conditional logit (McFadden 1974): a question chooses one of its text's sentences, or none, with the probabilities
softmax([weights . evidence, threshold]). Its likeliest weights, by Newton's method.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

SHRINKAGE = 0.2  # of the weights' squares: a few hundred questions, a dozen weights
SILENCE = 3.0  # how often a question that the text does not answer is counted: they are rarer here than in use


@dataclass(frozen=True)
class Choice:
    """A question about a text."""

    evidence: np.ndarray  # [sentences, features]
    answer: int | None  # the sentence that answers


def learn(choices: Sequence[Choice], steps: int = 30) -> tuple[np.ndarray, float]:
    """The most likely weights, by Newton's method with halved steps; the problem is convex."""
    parameters = np.zeros(choices[0].evidence.shape[1] + 1)
    loss, gradient, curvature = _loss(choices, parameters)
    for _ in range(steps):
        step = np.linalg.solve(curvature, gradient)
        while (tried := _loss(choices, parameters - step))[0] > loss:
            step /= 2
            if np.abs(step).max() < 1e-6:
                return parameters[:-1], float(parameters[-1])
        parameters = parameters - step
        loss, gradient, curvature = tried
    return parameters[:-1], float(parameters[-1])


def _loss(choices: Sequence[Choice], parameters: np.ndarray) -> tuple[float, np.ndarray, np.ndarray]:
    """Minus the log-likelihood and the shrinkage, with the first two derivatives.

    "None" is one more choice; the last parameter is its worth.
    """
    shrinkage = np.full(len(parameters), SHRINKAGE)
    shrinkage[-1] = 1e-6
    loss = float((shrinkage * parameters**2).sum() / 2)
    gradient, curvature = shrinkage * parameters, np.diag(shrinkage)
    for choice in choices:
        options = np.zeros((len(choice.evidence) + 1, len(parameters)))
        options[:-1, :-1], options[-1, -1] = choice.evidence, 1
        worth = options @ parameters
        chances = np.exp(worth - worth.max())
        chances /= chances.sum()
        chosen = -1 if choice.answer is None else choice.answer
        counts = SILENCE if choice.answer is None else 1.0
        mean = chances @ options
        loss -= counts * float(np.log(chances[chosen]))
        gradient = gradient + counts * (mean - options[chosen])
        curvature = curvature + counts * ((options * chances[:, None]).T @ options - np.outer(mean, mean))
    return loss, gradient, curvature
