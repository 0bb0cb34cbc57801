"""The teacher's two commands: writing goes on where it stopped, keeping filters. No model is loaded here."""

import json
from collections.abc import Sequence
from pathlib import Path
from random import Random
from typing import Any, ClassVar

import pytest

from tests.training.lexicon import SmallLexicon
from tests.training.test_corpus import write_articles
from training import teacher
from training.corpus import Article
from training.teacher import BATCH, Job, jobs, keep_good, openers, write

LEXICON = SmallLexicon()


class FakeTeacher:
    """Asks "OPENER the mill built?" of everything."""

    asked: ClassVar[list[Job]] = []  # shared by all instances on purpose

    def __init__(self, folder: Path) -> None:
        del folder

    def ask(self, batch: Sequence[Job]) -> list[str]:
        self.asked.extend(batch)
        return [f"{job.opener} the mill built?" for job in batch]

    def likelihoods(self, title: str, sentences: Sequence[str], question: str) -> list[float]:
        return [-1.0 if "1794" in sentence else -2.0 for sentence in sentences]


@pytest.fixture
def corpus(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    texts = {f"Mill {i}": f"Mill {i} was built in 1794. It was built in 1850." for i in range(BATCH)}
    write_articles(tmp_path, **texts)
    monkeypatch.setattr("training.wordnet.load", lambda folder: LEXICON)
    monkeypatch.setattr(teacher, "Teacher", FakeTeacher)
    monkeypatch.setattr(FakeTeacher, "asked", [])
    return tmp_path


def lines(file: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in file.read_text().splitlines()]


def test_openers_fit_the_sentence() -> None:
    found = {
        opener
        for seed in range(50)
        for opener in openers("It was built in 1794 by Samuel Greg with three floors.", LEXICON, Random(seed))
    }
    assert found == {"When was", "When did", "In which year", "How many floors", "Who"}
    assert openers("It is closed.", LEXICON, Random(1)) == []
    assert openers("It weighs 4 kilograms.", LEXICON, Random(1)) == ["How heavy"]
    assert openers("It is 4 metres deep.", LEXICON, Random(1)) == ["How deep"]


def test_jobs_are_shuffled_by_the_seed() -> None:
    found = [Article(f"Mill {i}", ("It was built in 1794.",)) for i in range(30)]
    first, again = (jobs(found, LEXICON, Random(1)) for _ in range(2))
    assert first == again and [job.title for job in first] != [article.title for article in found]


def test_writing_goes_on_where_it_was_broken_off(corpus: Path) -> None:
    file = corpus / "teacher.jsonl"
    write(file, corpus, count=BATCH)
    assert len(lines(file)) == BATCH
    file.write_text(file.read_text()[:-20])  # half a line is left
    write(file, corpus, count=None)
    written = lines(file)
    assert len(written) == 2 * BATCH == len({(line["title"], line["sentence"]) for line in written})
    assert len(FakeTeacher.asked) == 2 * BATCH + 1  # the half line again, the rest once
    write(file, corpus, count=None)
    assert lines(file) == written


def test_keeping_filters_by_evidence_and_by_likelihood(corpus: Path) -> None:
    file, kept = corpus / "teacher.jsonl", corpus / "kept.jsonl"
    asked = [
        ("Mill 1", 0, "Mill 1 was built in 1794.", "When was Mill 1 built?"),
        ("Mill 1", 1, "It was built in 1850.", "When was Mill 1 built?"),
        ("Mill 1", 0, "Mill 1 was built in 1794.", "Where was Mill 1 built?"),
    ]
    file.write_text(
        "".join(
            json.dumps({"title": title, "index": index, "sentence": sentence, "question": question}) + "\n"
            for title, index, sentence, question in asked
        )
    )
    keep_good(file, kept, corpus, likelier=False)
    assert [line["index"] for line in lines(kept)] == [0, 1]
    keep_good(file, kept, corpus, likelier=True)
    assert [line["index"] for line in lines(kept)] == [0]
