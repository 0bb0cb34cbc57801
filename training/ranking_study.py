"""How well the server's ranking finds the sentence that answers, on the development questions, which it has not learnt
from: `python -m training.ranking_study`.
"""

import sys
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from serve_app.grounding import KnowledgeBase
from serve_app.knowledge import knowledge_base
from serve_app.settings import GroundingLimits
from training.questions import Question, TextQuestions, load
from training.variants import asked_again, asked_in_other_words, asked_with_courtesy, mistyped

DEVELOPMENT = Path("training/questions/development")
PASSAGE_WORDS = 400  # no sentence is cut, so that each question's own is among them
WINDOW_WORDS = 380  # about what 512 tokens hold beside an instruction and a question
VARIANTS = {
    "asked again later": asked_again,
    "asked again in other words": asked_in_other_words,
    "with courtesy": asked_with_courtesy,
    "mistyped": mistyped,
}


@dataclass(frozen=True)
class Judged:
    kind: str
    answerable: bool
    is_first: bool  # the best sentence is the one that answers
    is_among_three: bool
    best: float  # its score


def judged(folder: Path = DEVELOPMENT) -> list[Judged]:
    found = []
    for text in load(folder):
        if text.text is not None:
            base = KnowledgeBase(text.text, PASSAGE_WORDS)
            found += [judge(base, question) for question in text.questions]
            for kind, variants in VARIANTS.items():
                found += [replace(judge(base, question), kind=kind) for question in variants(text)]
    return found


def judge(base: KnowledgeBase, question: Question) -> Judged:
    ranking = base.rank(question.ask, len(base.passages))
    sentences = sorted((s for each in ranking.sentences.values() for s in each), key=lambda s: -s.score)
    first = [sentence.text for sentence in sentences[:3]]
    return Judged(
        question.kind,
        question.sentence is not None,
        question.sentence == first[0],
        question.sentence in first,
        sentences[0].score,
    )


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
    groups = {"all": [one for one in answerable if one.kind not in VARIANTS]} | {
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
    for kind in ("other-attribute", "other-subject", "with courtesy", "mistyped"):
        group = [one for one in judged if one.kind == kind and not one.answerable]
        lines.append(f"| {kind} | {len(group)} | {np.mean([one.best <= 0 for one in group]):.3f} |")
    return "\n".join(lines)


def main() -> None:
    say = sys.stdout.write
    say(table(judged()) + "\n\n")
    for text in load(DEVELOPMENT):
        if len((text.text or "").split()) > WINDOW_WORDS:
            right, asked = in_window(text, GroundingLimits())
            say(f"{text.name}: the right sentence is in the window for {right} of {asked} questions\n")


if __name__ == "__main__":
    main()
