"""Learns the weights and the threshold of `serve_app.grounding` on the development questions: `python -m
training.ranking_study`.

The model is a conditional logit (McFadden 1974): a question chooses one of its text's sentences, or none, with the
probabilities softmax([weights . evidence, threshold]). What the printed tables say of a text was predicted with weights
learnt on all the other texts.
"""

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from serve_app.evidence import FEATURES, SentenceIndex
from serve_app.grounding import THRESHOLD, WEIGHTS
from serve_app.knowledge import knowledge_base
from serve_app.passages import split_paragraphs
from serve_app.settings import GroundingLimits
from serve_app.words import word_vectors
from training.questions import Question, TextQuestions, load

DEVELOPMENT = Path("training/questions/development")
PASSAGE_WORDS = 400  # no sentence is cut, so that each question's own is among them
WINDOW_WORDS = 380  # about what 512 tokens hold beside an instruction and a question
SHRINKAGE = 0.2  # of the weights' squares: a few hundred questions, a dozen weights
SILENCE = 3.0  # how often a question that the text does not answer is counted: they are rarer here than in use


@dataclass(frozen=True)
class Case:
    """A question about a text."""

    text: str
    question: Question
    evidence: np.ndarray  # [sentences, features]
    answer: int | None  # the sentence that answers


@dataclass(frozen=True)
class Model:
    weights: np.ndarray
    threshold: float

    def odds(self, case: Case) -> np.ndarray:
        return np.asarray(case.evidence @ self.weights - self.threshold)


@dataclass(frozen=True)
class Judged:
    kind: str
    answerable: bool
    is_first: bool  # the best sentence is the one that answers
    is_among_three: bool
    best: float  # its log-odds


def cases(folder: Path = DEVELOPMENT) -> list[Case]:
    found = []
    for text in load(folder):
        if text.text is None:
            continue
        index = SentenceIndex(split_paragraphs(text.text, PASSAGE_WORDS), word_vectors())
        for question in text.questions:
            answer = index.sentences.index(question.sentence) if question.sentence else None
            found.append(Case(text.name, question, index.evidence(question.ask), answer))
    return found


def learn(cases: Sequence[Case], steps: int = 30) -> Model:
    """The most likely weights, by Newton's method with halved steps; the problem is convex."""
    parameters = np.zeros(cases[0].evidence.shape[1] + 1)
    loss, gradient, curvature = _loss(cases, parameters)
    for _ in range(steps):
        step = np.linalg.solve(curvature, gradient)
        while (tried := _loss(cases, parameters - step))[0] > loss:
            step /= 2
            if np.abs(step).max() < 1e-6:
                return Model(parameters[:-1], float(parameters[-1]))
        parameters = parameters - step
        loss, gradient, curvature = tried
    return Model(parameters[:-1], float(parameters[-1]))


def _loss(cases: Sequence[Case], parameters: np.ndarray) -> tuple[float, np.ndarray, np.ndarray]:
    """Minus the log-likelihood and the shrinkage, with the first two derivatives.

    "None" is one more choice; the last parameter is its worth.
    """
    shrinkage = np.full(len(parameters), SHRINKAGE)
    shrinkage[-1] = 1e-6
    loss = float((shrinkage * parameters**2).sum() / 2)
    gradient, curvature = shrinkage * parameters, np.diag(shrinkage)
    for case in cases:
        choices = np.zeros((len(case.evidence) + 1, len(parameters)))
        choices[:-1, :-1], choices[-1, -1] = case.evidence, 1
        worth = choices @ parameters
        chances = np.exp(worth - worth.max())
        chances /= chances.sum()
        chosen = -1 if case.answer is None else case.answer
        counts = SILENCE if case.answer is None else 1.0
        mean = chances @ choices
        loss -= counts * float(np.log(chances[chosen]))
        gradient = gradient + counts * (mean - choices[chosen])
        curvature = curvature + counts * ((choices * chances[:, None]).T @ choices - np.outer(mean, mean))
    return loss, gradient, curvature


def judge(case: Case, model: Model) -> Judged:
    odds = model.odds(case)
    rank = len(odds) if case.answer is None else int((odds > odds[case.answer]).sum())
    return Judged(case.question.kind, case.answer is not None, rank == 0, rank < 3, float(odds.max()))


def unseen(cases: Sequence[Case]) -> list[Judged]:
    """Each text judged by what the others teach."""
    judged = []
    for text in dict.fromkeys(case.text for case in cases):
        model = learn([case for case in cases if case.text != text])
        judged += [judge(case, model) for case in cases if case.text == text]
    return judged


def in_window(text: TextQuestions, limits: GroundingLimits) -> tuple[int, int]:
    """Of the questions that the text answers, how many have the right sentence among the window's passages; and all."""
    base = knowledge_base(text.text or "", limits.passage_words)
    found = asked = 0
    for question in text.questions:
        if question.sentence is not None:
            words = " ".join(passage.text for passage in base.rank(question.ask, limits.max_passages).passages).split()
            found += question.sentence in " ".join(words[:WINDOW_WORDS])
            asked += 1
    return found, asked


def table(judged: Sequence[Judged]) -> str:
    lines = ["| questions | n | best sentence answers | among the first three | answered |", "|---|---|---|---|---|"]
    answerable = [one for one in judged if one.answerable]
    groups = {"all": answerable} | {
        kind: [one for one in answerable if one.kind == kind] for kind in sorted({one.kind for one in answerable})
    }
    for name, group in groups.items():
        shares = (
            np.mean([one.is_first for one in group]),
            np.mean([one.is_among_three for one in group]),
            np.mean([one.is_first and one.best > 0 for one in group]),
        )
        lines.append(f"| {name} | {len(group)} | " + " | ".join(f"{share:.3f}" for share in shares) + " |")
    lines += ["", "| questions that the text does not answer | n | declined |", "|---|---|---|"]
    for kind in ("other-attribute", "other-subject"):
        group = [one for one in judged if one.kind == kind]
        lines.append(f"| {kind} | {len(group)} | {np.mean([one.best <= 0 for one in group]):.3f} |")
    return "\n".join(lines)


def main() -> None:
    found = cases()
    say = sys.stdout.write
    say(table(unseen(found)) + "\n\n")
    for text in load(DEVELOPMENT):
        if len((text.text or "").split()) > WINDOW_WORDS:
            right, asked = in_window(text, GroundingLimits())
            say(f"{text.name}: the right sentence is in the window for {right} of {asked} questions\n")
    shipped = Model(np.array([WEIGHTS[feature] for feature in FEATURES]), THRESHOLD)
    seen = [judge(case, shipped) for case in found]
    say(f"serve_app.grounding as it is, on these texts: {_summary(seen)}\n\n")
    model = learn(found)
    for feature, weight in zip(FEATURES, model.weights, strict=True):
        say(f'    "{feature}": {weight:.2f},\n')
    say(f"THRESHOLD = {model.threshold:.2f}\n")


def _summary(judged: Sequence[Judged]) -> str:
    answerable, silent = [one for one in judged if one.answerable], [one for one in judged if not one.answerable]
    return (
        f"best sentence answers {np.mean([one.is_first for one in answerable]):.3f}, "
        f"answered {np.mean([one.is_first and one.best > 0 for one in answerable]):.3f}, "
        f"declined {np.mean([one.best <= 0 for one in silent]):.3f}"
    )


if __name__ == "__main__":
    main()
