"""`make eval-model`, or `python -m training.evaluate [MODEL]`: how well a model answers, beside doing without one.

Hand-written questions about texts that no model was taught are asked in quote mode and freely, as the server would be
asked, and answered by the best sentence of two rankings alone. Prints one table; what is being done goes to stderr.
"""

import argparse
import asyncio
import json
import logging
import sys
import time
from collections.abc import Callable, Sequence
from itertools import count
from pathlib import Path

from transformers.utils.logging import disable_progress_bar

from serve_app.errors import ServeAppError
from serve_app.messages import GenerationOverrides
from training import baselines
from training.answering import Answered, Answerer, Asked
from training.baselines import Ranker
from training.judging import Known, Share
from training.questions import DEVELOPMENT, EVALUATION, Question, TextQuestions, is_right, load
from training.scores import ANSWERED, DECLINED, Column, Judged, Speed, as_json, table
from training.variants import asked_again

SETS = {"evaluation": EVALUATION, "development": DEVELOPMENT}
PRIORS = (0, 4, 8, 16, 32, 64, 128)

GIVEN = "the right sentence is in the prompt"
AGAIN = "first questions that are asked again later"

_MODES = {"quote mode": True, "free decoding": False}
_QUICK = 5  # every fifth question
_EACH_AGAIN = 3  # every third of them
_ALONE = 24  # questions that are asked one at a time, too, for the time that they take

log = logging.getLogger("evaluate")


class Evaluation:
    """The questions of some texts, put to one model and to rankings."""

    def __init__(self, answerer: Answerer, texts: Sequence[TextQuestions]) -> None:
        self._answerer = answerer
        self._questions = [(text, question) for text in texts for question in text.questions]
        self._again = [(text, question) for text in texts for question in asked_again(text)][::_EACH_AGAIN]
        self._known = {text.name: _known(text, answerer) for text in texts}

    async def by_model(self) -> list[Column]:
        """In quote mode and freely."""
        speeds = await self._alone()
        columns = []
        for (name, quote), speed in zip(_MODES.items(), speeds, strict=True):
            replies = await self._ask(name, GenerationOverrides(quote=quote), self._questions)
            given = Share.count(
                _is_given(question, reply)
                for (_, question), reply in zip(self._questions, replies, strict=True)
                if question.needs
            )
            again = await self._ask(f"{name}, again", GenerationOverrides(quote=quote), self._again)
            right = Share.count(
                is_right(reply.reply.response, question)
                for (_, question), reply in zip(self._again, again, strict=True)
            )
            further = {GIVEN: given, AGAIN: right}
            columns.append(Column(name, self._judged(replies), further, speed))
        return columns

    async def by_prior(self, prior: float) -> Column:
        """In quote mode."""
        name = f"prior {prior:g}"
        generation = GenerationOverrides(quote=True, quote_prior=prior)
        column = Column(name, self._judged(await self._ask(name, generation, self._questions)))
        log.info("%s: answers %s, declines %s", name, column.right[ANSWERED], column.right[DECLINED])
        return column

    def by_ranking(self, name: str, ranker: Ranker, threshold: float) -> Column:
        """Without a model, which small talk is left out for. A score above the threshold is an answer's."""
        judged, first = [], []
        for text, question in self._questions:
            if text.text is None:
                continue
            best = ranker(text.text, question.ask)
            reply = baselines.reply(best, threshold)
            judged.append(Judged(text, question, reply, self._known[text.name].judge(reply, question)))
            if question.needs:
                first.append(is_right(best.sentence, question))
        again = Share.count(
            is_right(baselines.reply(ranker(text.text or "", question.ask), threshold), question)
            for text, question in self._again
        )
        return Column(name, tuple(judged), {AGAIN: again, "the best-ranked sentence is right": Share.count(first)})

    async def _ask(
        self, name: str, generation: GenerationOverrides, questions: Sequence[tuple[TextQuestions, Question]]
    ) -> list[Answered]:
        asked = [_asked(text, question, generation) for text, question in questions]
        return await self._answerer.answer_all(asked, _progress(name, len(asked)))

    async def _alone(self) -> list[Speed]:
        """By mode. The modes take turns, so that whatever else the machine does strikes them alike."""
        sample = self._questions[:: max(1, len(self._questions) // _ALONE)]
        log.info("%d questions one at a time, for the time that they take", len(sample))
        taken: list[list[Answered]] = [[] for _ in _MODES]
        for text, question in [sample[0], *sample]:
            for quote, answered in zip(_MODES.values(), taken, strict=True):
                generation = GenerationOverrides(quote=quote)
                answered.append(await self._answerer.answer(_asked(text, question, generation)))
        return [_speed(answered[1:]) for answered in taken]  # the first one warmed up

    def _judged(self, answered: Sequence[Answered]) -> tuple[Judged, ...]:
        replies = [each.reply.response for each in answered]
        return tuple(
            Judged(text, question, reply, self._known[text.name].judge(reply, question))
            for (text, question), reply in zip(self._questions, replies, strict=True)
        )


def _known(text: TextQuestions, answerer: Answerer) -> Known:
    config = answerer.config
    knowledge = config.knowledge if text.text is None else text.text
    phrases = (*(phrase.reply for phrase in config.generation.phrases), baselines.DECLINING)
    return Known(knowledge, phrases, config.grounding.passage_words, config.generation.unsure)


def _asked(text: TextQuestions, question: Question, generation: GenerationOverrides) -> Asked:
    return Asked(question.ask, text.text, generation)


def _is_given(question: Question, answered: Answered) -> bool:
    """Whether the sentence that answers is in the prompt; one that is longer than a passage, with all its pieces."""
    passages = sorted(answered.reply.grounding.passages, key=lambda passage: int(passage.id.removeprefix("p")))
    return question.sentence is not None and question.sentence in " ".join(passage.text for passage in passages)


def _speed(answered: Sequence[Answered]) -> Speed:
    seconds = sum(each.seconds for each in answered)
    return Speed(seconds / len(answered), sum(each.reply.usage.completion_tokens for each in answered) / seconds)


def _progress(name: str, total: int) -> Callable[[int], None]:
    """A line after each tenth of the questions."""
    started = time.monotonic()

    def on_answer(done: int) -> None:
        if done * 10 // total > (done - 1) * 10 // total:
            log.info("%s: %d of %d questions answered, %.0f s", name, done, total, time.monotonic() - started)

    return on_answer


def evaluate(model: str, texts: Sequence[TextQuestions]) -> list[Column]:
    """The table's columns. model: a folder or a hub id. Raises ModelError, ConfigError."""
    answerer = Answerer(model)
    try:
        evaluation = Evaluation(answerer, texts)
        columns = asyncio.run(evaluation.by_model())
        hybrid = baselines.hybrid(answerer.config.grounding.passage_words)
    finally:
        answerer.close()
    threshold = baselines.chosen_threshold(load(DEVELOPMENT), baselines.bm25)
    log.info("BM25 declines up to a score of %.2f, which was chosen on the development set", threshold)
    return [
        *columns,
        evaluation.by_ranking("best sentence by the ranking", hybrid, 0),
        evaluation.by_ranking("best sentence by BM25", baselines.bm25, threshold),
    ]


def sweep(model: str, texts: Sequence[TextQuestions], priors: Sequence[float]) -> list[Column]:
    """A column for each prior of quote mode. Raises ModelError, ConfigError."""
    answerer = Answerer(model)
    try:
        evaluation = Evaluation(answerer, texts)

        async def columns() -> list[Column]:
            return [await evaluation.by_prior(prior) for prior in priors]

        return asyncio.run(columns())
    finally:
        answerer.close()


def main(arguments: Sequence[str] | None = None) -> int:
    """The exit code: 1 where the model cannot be had or the configuration is wrong."""
    logging.basicConfig(format="%(message)s")
    log.setLevel(logging.INFO)
    logging.getLogger("bm25s").setLevel(logging.WARNING)  # it speaks of every index
    disable_progress_bar()  # type: ignore[no-untyped-call]  # transformers' own, of weights that load in a moment
    options = _options(arguments)
    if options.plot:
        from training.score_plot import plot  # fails now where matplotlib is missing, not when all is answered
    texts = load(SETS[options.set])
    if options.quick:
        texts = _thinned(texts)
    try:
        columns = (
            evaluate(options.model, texts) if options.sweep is None else sweep(options.model, texts, options.sweep)
        )
    except ServeAppError as error:
        sys.stderr.write(f"{error}\n")
        return 1
    sys.stdout.write(f"{table(columns)}\n")
    if options.json:
        scores = {"model": options.model, "set": options.set, "columns": as_json(columns)}
        options.json.write_text(json.dumps(scores, indent=1, ensure_ascii=False), encoding="utf-8")
    if options.plot:
        plot(columns, options.plot, f"{options.model}, {options.set} set")
    return 0


def _options(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m training.evaluate", description=__doc__)
    parser.add_argument("model", nargs="?", default="models/mini", help="a model's folder, or its hub id")
    parser.add_argument("--set", choices=SETS, help="which questions; development with --sweep")
    parser.add_argument("--quick", action="store_true", help=f"every {_QUICK}th question only")
    parser.add_argument(
        "--sweep",
        nargs="*",
        type=float,
        metavar="PRIOR",
        help=f"quote mode with each of these priors, on the development set ({' '.join(map(str, PRIORS))})",
    )
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the scores and every reply there")
    parser.add_argument("--plot", type=Path, metavar="FILE", help="draw the shares that are right there")
    options = parser.parse_args(arguments)
    if options.sweep is not None:
        if options.set == "evaluation":
            parser.error("--sweep chooses a prior, and nothing is chosen on the evaluation set; leave out --set")
        options.set, options.sweep = "development", options.sweep or PRIORS
    options.set = options.set or "evaluation"
    for file in (options.json, options.plot):
        if file and not file.parent.is_dir():
            parser.error(f"{file}: there is no folder {file.parent}; make it first")
    return options


def _thinned(texts: Sequence[TextQuestions]) -> list[TextQuestions]:
    number = count()
    return [
        text.model_copy(update={"questions": tuple(q for q in text.questions if next(number) % _QUICK == 0)})
        for text in texts
    ]


if __name__ == "__main__":
    sys.exit(main())
