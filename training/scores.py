"""Judged replies -> one table: a row for each measure, a column for each way of answering; as Markdown and as JSON."""

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from training.judging import Share, Verdict
from training.questions import Question, TextQuestions

SMALL_TALK, _WORKSHOP = "small talk", "a workshop's ConfigMap"
CATEGORIES = (
    "first questions",
    "follow-ups",
    "unanswerable: another subject",
    "unanswerable: not said of the subject",
    "shipped knowledge: first questions",
    "shipped knowledge: follow-ups",
    "shipped knowledge: unanswerable",
    _WORKSHOP,
    SMALL_TALK,
)
ANSWERED, DECLINED, RIGHT = "all that a text answers", "all that is unanswerable", "all questions"
WRONG, WRONGLY_DECLINED = "answered wrongly, of what a text answers", "declined wrongly, of what a text answers"


@dataclass(frozen=True)
class Judged:
    text: TextQuestions
    question: Question
    reply: str
    verdict: Verdict

    @property
    def category(self) -> str:
        """One of CATEGORIES."""
        if self.question.phrase is not None:
            return SMALL_TALK
        if self.text.name == "workshop":
            return _WORKSHOP
        if self.text.knowledge_of is not None:
            return f"shipped knowledge: {self._sort}"
        if self.question.declines:
            subject = "another subject" if self.question.kind == "other-subject" else "not said of the subject"
            return f"{self._sort}: {subject}"
        return self._sort

    @property
    def _sort(self) -> str:
        if self.question.declines:
            return "unanswerable"
        return "follow-ups" if len(self.question.ask) > 1 else "first questions"


@dataclass(frozen=True)
class Speed:
    """Of requests that come one at a time, from the question to the whole reply."""

    seconds_a_reply: float
    tokens_a_second: float


@dataclass(frozen=True)
class Column:
    """One way of answering. further: shares that its replies do not tell."""

    name: str
    judged: tuple[Judged, ...]
    further: dict[str, Share] = field(default_factory=dict)
    speed: Speed | None = None

    @property
    def right(self) -> dict[str, Share]:
        """By category, those that were asked about; then in all."""
        present = {judged.category for judged in self.judged}
        return {name: self._right(_is_of(name)) for name in CATEGORIES if name in present} | {
            ANSWERED: self._right(lambda judged: bool(judged.question.needs)),
            DECLINED: self._right(lambda judged: judged.question.declines),
            RIGHT: self._right(lambda judged: True),
        }

    @property
    def wrong(self) -> dict[str, Share]:
        """Of all that a text answers; what is not among them is right."""
        verdicts = [judged.verdict for judged in self.judged if judged.question.needs]
        declined = [verdict.declines or verdict.offers for verdict in verdicts]
        return {
            WRONG: Share.count(not v.right and not said_so for v, said_so in zip(verdicts, declined, strict=True)),
            WRONGLY_DECLINED: Share.count(
                not v.right and said_so for v, said_so in zip(verdicts, declined, strict=True)
            ),
        }

    @property
    def offered(self) -> dict[str, Share]:
        """Sentences that were given with a doubt; none of them counts as an answer."""
        answered = [judged.verdict for judged in self.judged if judged.question.needs]
        unanswerable = [judged.verdict for judged in self.judged if judged.question.declines]
        return {
            "offered with a doubt, and right, of what a text answers": Share.count(
                v.offers and v.holds_it for v in answered
            ),
            "offered with a doubt, and wrong, of what a text answers": Share.count(
                v.offers and not v.holds_it for v in answered
            ),
            "offered with a doubt, of what is unanswerable": Share.count(v.offers for v in unanswerable),
        }

    @property
    def broken(self) -> dict[str, Share]:
        """Replies as none should be, whatever is asked."""
        verdicts = [judged.verdict for judged in self.judged]
        return {
            "replies that loop": Share.count(verdict.loops for verdict in verdicts),
            "replies with a sentence that the knowledge has not": Share.count(
                bool(v.strange_sentences) for v in verdicts
            ),
            "replies with a word from nowhere": Share.count(bool(verdict.strange_words) for verdict in verdicts),
        }

    def _right(self, belongs: Callable[[Judged], bool]) -> Share:
        return Share.count(judged.verdict.right for judged in self.judged if belongs(judged))


def _is_of(category: str) -> Callable[[Judged], bool]:
    return lambda judged: judged.category == category


def table(columns: Sequence[Column]) -> str:
    """Markdown. A share has its 95 % interval behind; "-" where a column was not asked all of a row's questions."""
    lines = [
        _line("right replies to", "questions", *(column.name for column in columns)),
        "|---" * (len(columns) + 2) + "|",
    ]
    lines += _rows([column.right for column in columns])
    lines += _rows([column.wrong for column in columns])
    lines += _rows([column.offered for column in columns])
    lines += _rows([column.further for column in columns])
    for name in columns[0].broken:
        of, hits = len(columns[0].judged), [str(column.broken[name].hits) for column in columns]
        lines.append(_line(name, str(of), *hits))
    speeds = [column.speed for column in columns]
    if any(speeds):
        lines.append(_line("alone: seconds a reply", "", *(f"{s.seconds_a_reply:.3f}" if s else "-" for s in speeds)))
        lines.append(_line("alone: tokens a second", "", *(f"{s.tokens_a_second:.0f}" if s else "-" for s in speeds)))
    return "\n".join(lines)


def _rows(shares: Sequence[dict[str, Share]]) -> list[str]:
    lines = []
    for name in dict.fromkeys(name for column in shares for name in column):
        of = max(column[name].of for column in shares if name in column)
        cells = [str(column[name]) if name in column and column[name].of == of else "-" for column in shares]
        lines.append(_line(name, str(of), *cells))
    return lines


def _line(*cells: str) -> str:
    return f"| {' | '.join(cells)} |"


def as_json(columns: Sequence[Column]) -> dict[str, Any]:
    """By column: the shares, and every reply with what is wrong with it."""
    return {
        column.name: {
            group: {name: asdict(share) | {"interval": share.interval} for name, share in shares.items()}
            for group, shares in (
                ("right", column.right),
                ("wrong", column.wrong),
                ("offered", column.offered),
                ("found", column.further),
                ("broken", column.broken),
            )
        }
        | {
            "speed": asdict(column.speed) if column.speed else None,
            "replies": [
                {"text": judged.text.name, "category": judged.category, "ask": judged.question.ask}
                | {"reply": judged.reply, **asdict(judged.verdict)}
                for judged in column.judged
            ],
        }
        for column in columns
    }
