"""Pure: the titles of conversations."""

from frontend.errors import TitleRefused
from frontend.text import clean
from frontend.words import _, later

MAX_TITLE_CHARS = 200  # as the database's column
FROM_MESSAGE_CHARS = 60  # of a title that is made of a message: one line in a list
UNTITLED = later("Untitled")


def title_of(message: str) -> str:
    """A conversation's title, from its first message: its first words, on one line."""
    words = " ".join(message.split())
    if len(words) <= FROM_MESSAGE_CHARS:
        return words or _(UNTITLED)
    cut = words[: FROM_MESSAGE_CHARS - 1]
    whole_words = cut.rpartition(" ")[0] if words[len(cut)] != " " else cut
    return f"{(whole_words or cut).rstrip()}…"


def checked_title(raw: str) -> str:
    """The title to store, on one line. Raises TitleRefused with a sentence that says what to change."""
    title = " ".join(clean(raw).split())
    if not title:
        raise TitleRefused(_("The title is empty, so the old one was kept. Write at least one letter."))
    if len(title) > MAX_TITLE_CHARS:
        raise TitleRefused(
            _(
                "The title is too long: {length} characters, at most {limit} are possible. The old one was kept.",
                length=len(title),
                limit=MAX_TITLE_CHARS,
            )
        )
    return title
