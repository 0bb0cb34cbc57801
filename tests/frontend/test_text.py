"""Text that any database and any page can hold."""

import pytest

from frontend.text import clean


@pytest.mark.parametrize(
    ("raw", "stored"),
    [
        ("a\r\nb\rc\nd", "a\nb\nc\nd"),
        ("nul\0here", "nul\N{REPLACEMENT CHARACTER}here"),
        ("half \ud83d pair", "half \N{REPLACEMENT CHARACTER} pair"),
        ("\ud83d\ude42", "🙂"),
        ("שלום <script>🙂</script>", "שלום <script>🙂</script>"),
        ("", ""),
    ],
)
def test_clean(raw: str, stored: str) -> None:
    assert clean(raw) == stored
