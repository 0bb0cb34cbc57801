"""What the reader is taught: a prompt as the server makes it, the replies that are possible, and the one that is right.

A lesson's knowledge is a made-up everyday text, or articles of the encyclopedia, or pages of instructions; of its
sentences one answers, or none does. Sentences travel in passages, as the server cuts them, in the order that a ranking
might give.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from random import Random

import yaml

from serve_app.passages import join_passages
from training import everyday
from training.asking import subject_of
from training.clauses import Lexicon
from training.corpus import Article
from training.noisy_questions import casual, keywords, noisy
from training.question_rules import questions

INSTRUCTION = (
    "Instruction: given a dialog context and related knowledge, you need to answer the last question based on the "
    "knowledge."
)
UNKNOWN = "I don't know. My knowledge says nothing about that."
PASSAGE_WORDS = 40


@dataclass(frozen=True)
class Lesson:
    """`reply` is one of `sentences` (those of the passages, in their order) or of `phrases`."""

    turns: tuple[str, ...]
    passages: tuple[tuple[str, ...], ...]  # of sentences
    phrases: tuple[str, ...]
    reply: str
    instruction: str = INSTRUCTION

    @property
    def sentences(self) -> list[str]:
        return [sentence for passage in self.passages for sentence in passage]


# By the names of the configured phrases: replies, the configured one first, and what they reply to.
_DATA = yaml.safe_load((Path(__file__).parent / "small_talk.yaml").read_text())
SMALL_TALK: dict[str, tuple[list[str], list[str]]] = {
    kind: (talk["replies"], talk["said"]) for kind, talk in _DATA.items()
}
_OPENERS = ("", "", "", "", "oh, ", "ok, ", "well, ", "hm, ", "hey, ")
_CLOSERS = ("", "", "", "!", ".", "?", " :)", " my friend", " please")


class Lessons:
    def __init__(
        self,
        articles: Sequence[Article],
        asked: Callable[[Article, int], Sequence[str]],
        *,
        seed: int,
        longest: int = 14,
    ) -> None:
        """asked: questions that a sentence of an article answers. longest: most sentences of a lesson's knowledge."""
        self._articles = [article for article in articles if len(article.sentences) >= 2]
        self._asked = asked
        self._random = Random(seed)
        self.longest = longest

    def __iter__(self) -> Iterator[Lesson]:
        for _ in count():
            share = self._random.random()
            if share < 0.55:
                yield from self._everyday()
            elif share < 0.93:
                yield from self._encyclopedia()
            else:
                yield self._small_talk()

    def _everyday(self) -> Iterator[Lesson]:
        random = self._random
        text = everyday.sample(random)
        wanted = random.sample(text.questions, k=min(3, len(text.questions)))
        others = [everyday.sample(random).sentences] if random.random() < 0.25 else []
        for question in wanted:
            if question.sentence is None and random.random() < 0.35:
                continue
            reply = UNKNOWN if question.sentence is None else text.sentences[question.sentence]
            turns = (*self._before(question.history, text.sentences), *question.history, question.ask)
            yield self._lesson(turns, [text.sentences, *others], reply)

    def _before(self, history: Sequence[str], sentences: Sequence[str]) -> tuple[str, ...]:
        """An earlier exchange about something else, now and then."""
        if history or self._random.random() > 0.15:
            return ()
        said, reply = self._exchange() if self._random.random() < 0.5 else (self._other_question(), UNKNOWN)
        return said, reply

    def _other_question(self) -> str:
        text = everyday.sample(self._random)
        return text.questions[0].ask

    def _encyclopedia(self) -> Iterator[Lesson]:
        random = self._random
        article = random.choice(self._articles)
        others = random.sample(self._articles, k=random.choice((0, 1, 1, 2, 3, 4)))
        for index in random.sample(range(len(article.sentences)), k=min(2, len(article.sentences))):
            asked = self._asked(article, index)
            if not asked:
                continue
            reply, known = article.sentences[index], list(article.sentences)
            if random.random() < 0.15:  # the text does not say
                known.remove(reply)
                reply = UNKNOWN
            turns: tuple[str, ...] = (random.choice(list(asked)),)
            if index and random.random() < 0.2:
                turns = (
                    random.choice((f"What is {article.title}?", f"Tell me about {article.title}")),
                    article.sentences[0],
                    *turns,
                )
            yield self._lesson(turns, [known, *(other.sentences for other in others)], reply)

    def _small_talk(self) -> Lesson:
        random = self._random
        said, reply = self._exchange()
        text = everyday.sample(random).sentences if random.random() < 0.7 else random.choice(self._articles).sentences
        before: tuple[str, ...] = ()
        if random.random() < 0.4:
            before = (self._other_question(), random.choice(list(text)))
        return self._lesson((*before, said), [text], reply, small_talk=reply)

    def _exchange(self) -> tuple[str, str]:
        random = self._random
        replies, said = SMALL_TALK[random.choice(list(SMALL_TALK))]
        reply = replies[0] if random.random() < 0.8 else random.choice(replies)
        line = random.choice(_OPENERS) + random.choice(said) + random.choice(_CLOSERS)
        return (line.capitalize() if random.random() < 0.5 else line), reply

    def _lesson(
        self, turns: tuple[str, ...], texts: Sequence[Sequence[str]], reply: str, small_talk: str | None = None
    ) -> Lesson:
        random = self._random
        passages = join_passages(texts, PASSAGE_WORDS)
        right = [passage for passage in passages if reply in passage]
        share = random.random()
        if share < 0.6 and right:  # ranked well
            rest = [passage for passage in passages if passage is not right[0]]
            place = min(random.choice((0, 0, 0, 1, 2)), len(rest))
            passages = [*rest[:place], right[0], *rest[place:]]
        elif share < 0.85:
            random.shuffle(passages)
        kept, size = [], 0
        for passage in sorted(passages, key=lambda passage: passage not in right):  # the right one always fits
            if size + len(passage) <= self.longest:
                size += len(passage)
                kept.append(passage)
        passages = [passage for passage in passages if passage in kept]
        return Lesson(turns, tuple(passages), self._phrases(reply if small_talk else None), reply)

    def _phrases(self, reply: str | None) -> tuple[str, ...]:
        """One of each kind, as a configuration has; the one that is wanted among them."""
        random = self._random
        chosen = [
            reply if reply in replies else replies[0] if random.random() < 0.8 else random.choice(replies)
            for replies, _ in SMALL_TALK.values()
        ]
        return (*(phrase for phrase in chosen if phrase), UNKNOWN)


class RuleQuestions:
    """Questions by rules and in bits, kept once made."""

    def __init__(self, lexicon: Lexicon, seed: int, written: dict[str, list[str]]) -> None:
        """written: questions that the teacher wrote, by their sentence."""
        self._lexicon = lexicon
        self._random = Random(seed)
        self._written = written
        self._kept: dict[str, list[str]] = {}

    def __call__(self, article: Article, index: int) -> list[str]:
        sentence = article.sentences[index]
        if sentence not in self._kept:
            self._kept[sentence] = self._ask(article, sentence)
        asked = self._kept[sentence]
        return [casual(question, self._random) if self._random.random() < 0.4 else question for question in asked]

    def _ask(self, article: Article, sentence: str) -> list[str]:
        subject = subject_of(article.title, article.sentences, self._lexicon)
        asked = [*self._written.get(sentence, ())]
        asked += [question.text for question in questions(sentence, subject, self._lexicon, self._random)]
        if not asked or self._random.random() < 0.4:
            asked += [question.text for question in noisy(sentence, subject, self._lexicon, self._random)]
        if not asked and (bits := keywords(sentence, subject, self._lexicon, self._random)):
            asked.append(bits.text)
        return asked
