"""Cutting a text into passages of whole sentences."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from serve_app.passages import join_passages, split_paragraphs, split_sentences


def split_passages(text: str, max_words: int) -> list[tuple[str, ...]]:
    return join_passages(split_paragraphs(text, max_words), max_words)


def joined(text: str, max_words: int) -> list[str]:
    return [" ".join(sentences) for sentences in split_passages(text, max_words)]


def test_passages_are_whole_sentences_up_to_the_limit() -> None:
    text = "One two three. Four five! Six seven? Eight nine ten eleven."
    assert joined(text, 5) == ["One two three. Four five!", "Six seven?", "Eight nine ten eleven."]
    assert joined(text, 6) == ["One two three. Four five!", "Six seven? Eight nine ten eleven."]
    assert joined(text, 400) == [text]
    assert split_passages(text, 5)[0] == ("One two three.", "Four five!")


@pytest.mark.parametrize(
    "sentence",
    [
        "Tools, e.g. a hammer, help.",
        "The best one, i.e. the first, won.",
        "Mr. Smith met Dr. Jones.",
        "Mrs. Lee of St. Ives wrote to Prof. Aho and Ms. Oh.",
        "It is open from 9 a.m. to 5 p.m. on weekdays.",
        "Rome vs. Carthage is No. 5.",
        "J. R. R. Tolkien wrote it.",
        "The U.S. Congress met.",
        "Pi is 3.14 and the version is v1.2.3 today.",
        "Write to info@example.com or see example.com/a.html first.",
    ],
)
def test_an_abbreviation_or_number_does_not_end_a_sentence(sentence: str) -> None:
    assert split_sentences(f"Go on. {sentence}") == ["Go on.", sentence]
    assert joined(f"Go on. {sentence}", len(sentence.split())) == ["Go on.", sentence]


def test_a_time_of_day_may_end_a_sentence() -> None:
    assert split_sentences("It closes at 5 p.m. The bar opens then.") == ["It closes at 5 p.m.", "The bar opens then."]


def test_a_passage_does_not_cross_a_paragraph() -> None:
    assert joined("One.\n\nTwo.\n  \nThree.\nFour.", 40) == ["One.", "Two.", "Three.", "Four."]


def test_a_heading_that_a_blank_line_sets_apart_is_a_sentence() -> None:
    assert split_sentences("What it costs\n\nIt is\nfree. Come in!") == ["What it costs", "It is free.", "Come in!"]


def test_sentences_are_those_that_passages_are_made_of() -> None:
    text = "Opening hours\n\nOpen from 9\nto 5. Ask Dr. Aho!  Closed\non Mondays"
    assert split_sentences(text) == ["Opening hours", "Open from 9 to 5.", "Ask Dr. Aho!", "Closed on Mondays"]
    assert " ".join(split_sentences(text)) == " ".join(joined(text, 40))
    assert split_sentences(" \n\n ") == []


def test_wrapped_lines_are_one_sentence() -> None:
    assert joined("A sentence that was\nwrapped by  an\n  editor. Next.", 40) == [
        "A sentence that was wrapped by an editor. Next."
    ]


def test_a_very_long_sentence_is_cut_between_words() -> None:
    words = [f"word{i}" for i in range(103)]
    passages = joined(" ".join(words) + ".", 40)
    assert [len(passage.split()) for passage in passages] == [40, 40, 23]
    assert " ".join(passages).split() == [*words[:-1], "word102."]


TEXTS = st.text(st.sampled_from("ab .!?\n\t\x1c\u00a0é。🙂"), max_size=300) | st.text(max_size=200)


@given(TEXTS, st.integers(1, 12))
def test_passages_keep_every_word_in_order_and_never_exceed_the_limit(text: str, max_words: int) -> None:
    passages = split_passages(text, max_words)
    assert " ".join(sentence for passage in passages for sentence in passage).split() == text.split()
    for passage in passages:
        assert 1 <= len(" ".join(passage).split()) <= max_words
        assert all(sentence.strip() for sentence in passage)


@given(TEXTS)
def test_where_no_sentence_is_too_long_passages_hold_the_sentences_of_the_text(text: str) -> None:
    passages = split_passages(text, 400)
    assert [sentence for passage in passages for sentence in passage] == split_sentences(text)
