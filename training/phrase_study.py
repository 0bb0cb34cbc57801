"""Learns the weights and the threshold of `serve_app.small_talk` on the development questions: `python -m
training.phrase_study`.

A logistic regression: is a message the small talk that the configured phrases reply to, or a question? Each message
stands for itself by its best example. What is printed of each message was predicted with all of them.
"""

import sys
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from serve_app.chat_config import load as load_config
from serve_app.checkpoint import ROOT
from serve_app.messages import Phrase
from serve_app.small_talk import FEATURES, WEIGHTS, phrase_book
from training.questions import DEVELOPMENT, Question, is_right, load

SHRINKAGE = 0.2  # of the weights' squares: as in `ranking_study`
TALK = 2.0  # how often small talk is counted: it is rarer here than in use
_ROUNDS = 5  # in which the best examples follow the weights


@dataclass(frozen=True)
class Message:
    question: Question
    evidence: np.ndarray  # [examples, features and a column of ones]

    @property
    def is_talk(self) -> bool:
        return self.question.phrase is not None


def shipped_phrases() -> tuple[Phrase, ...]:
    return load_config(ROOT / "configs/chatbot.yaml", environment={}).config.generation.phrases


def shipped_small_talk() -> list[str]:
    """What the configured phrases reply to, and no text answers."""
    return [said for phrase in shipped_phrases() for said in phrase.to]


def messages(phrases: tuple[Phrase, ...]) -> list[Message]:
    book = phrase_book(phrases)
    found = []
    for text in load(DEVELOPMENT):
        for question in text.questions:
            evidence = book.evidence(question.ask[-1])
            found.append(Message(question, np.column_stack([evidence, np.ones(len(evidence))])))
    return found


def learn(messages: Sequence[Message]) -> np.ndarray:
    """The weights, and minus the threshold."""
    wanted = np.array([message.is_talk for message in messages], dtype=float)
    counts = np.where(wanted == 1, TALK, 1.0)
    parameters = np.array([*WEIGHTS.values(), 0.0])
    for _ in range(_ROUNDS):
        best = np.array([message.evidence[(message.evidence @ parameters).argmax()] for message in messages])
        parameters = _logistic(best, wanted, counts)
    return parameters


def _logistic(features: np.ndarray, wanted: np.ndarray, counts: np.ndarray, steps: int = 50) -> np.ndarray:
    """The most likely parameters, by Newton's method; the last one, of the ones, is not shrunk."""
    shrinkage = np.full(features.shape[1], SHRINKAGE)
    shrinkage[-1] = 1e-6
    parameters = np.zeros(features.shape[1])
    for _ in range(steps):
        chances = 1 / (1 + np.exp(-features @ parameters))
        gradient = features.T @ (counts * (chances - wanted)) + shrinkage * parameters
        curvature = (features * (counts * chances * (1 - chances))[:, None]).T @ features + np.diag(shrinkage)
        parameters = parameters - np.linalg.solve(curvature, gradient)
    return parameters


def main() -> None:
    say = sys.stdout.write
    phrases = shipped_phrases()
    replies = [phrase.reply for phrase in phrases for _ in phrase.to]
    found = messages(phrases)
    parameters = learn(found)
    odds = [message.evidence @ parameters for message in found]
    talk = [(each, message) for each, message in zip(odds, found, strict=True) if message.is_talk]
    right = [each.max() > 0 and is_right(replies[each.argmax()], message.question) for each, message in talk]
    taken = [each.max() > 0 for each, message in zip(odds, found, strict=True) if not message.is_talk]
    say(f"small talk that is replied to rightly: {sum(right)} of {len(right)}\n")
    say(f"questions that are taken for small talk: {sum(taken)} of {len(taken)}\n\n")
    for feature, weight in zip(FEATURES, parameters, strict=False):
        say(f'    "{feature}": {weight:.2f},\n')
    say(f"THRESHOLD = {-parameters[-1]:.2f}\n")


if __name__ == "__main__":
    main()
