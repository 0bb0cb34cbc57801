"""What counts as a message."""

import pytest

from frontend.errors import MessageRefused
from frontend.forms import checked_message


@pytest.mark.parametrize("text", ["", " ", "\r\n\t", "\N{NO-BREAK SPACE}"])
def test_blank_messages_are_refused(text: str) -> None:
    with pytest.raises(MessageRefused, match="empty"):
        checked_message(text, 100)


def test_long_messages_are_refused_with_the_numbers() -> None:
    with pytest.raises(MessageRefused, match=r"1,000,000 characters, at most 4,000 .* by 996,000"):
        checked_message("x" * 1_000_000, 4_000)


def test_the_limit_counts_characters_not_bytes() -> None:
    assert checked_message("🙂" * 10, 10) == "🙂" * 10


def test_messages_are_trimmed_and_cleaned() -> None:
    assert checked_message("  a\r\nb\0 ", 10) == "a\nb\N{REPLACEMENT CHARACTER}"
