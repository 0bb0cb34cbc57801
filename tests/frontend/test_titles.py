"""Titles: one line, never blank, never too long."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from frontend.errors import TitleRefused
from frontend.titles import FROM_MESSAGE_CHARS, MAX_TITLE_CHARS, UNTITLED, checked_title, title_of


@pytest.mark.parametrize(
    ("message", "title"),
    [
        ("What is a pod?", "What is a pod?"),
        ("  two\n lines\t of it ", "two lines of it"),
        ("word " * 40, "word " * 11 + "word…"),
        ("x" * 100, "x" * (FROM_MESSAGE_CHARS - 1) + "…"),
        ("a" * 58 + " b cd", "a" * 58 + "…"),
        ("a" * 57 + " b cd", "a" * 57 + " b…"),
        (" \n ", UNTITLED),
    ],
)
def test_a_title_is_the_beginning_of_the_message(message: str, title: str) -> None:
    assert title_of(message) == title


@given(st.text())
def test_every_message_gives_a_title_that_is_accepted(message: str) -> None:
    title = title_of(message)
    assert 1 <= len(title) <= FROM_MESSAGE_CHARS
    assert "\n" not in title


@pytest.mark.parametrize("raw", ["", "  ", "\n\t", "\u2003"])
def test_a_blank_title_is_refused(raw: str) -> None:
    with pytest.raises(TitleRefused, match="is empty"):
        checked_title(raw)


def test_a_title_that_is_too_long_is_refused_with_its_length() -> None:
    assert checked_title("x" * MAX_TITLE_CHARS) == "x" * MAX_TITLE_CHARS
    with pytest.raises(TitleRefused, match=r"10,000 characters, at most 200"):
        checked_title("x" * 10_000)


def test_a_title_is_stored_on_one_line_and_without_what_databases_refuse() -> None:
    assert checked_title(" a\r\nb\0 <i> ") == "a b\N{REPLACEMENT CHARACTER} <i>"
