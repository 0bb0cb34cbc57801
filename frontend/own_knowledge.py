"""A text that a visitor gives to a conversation, from which its replies are to come in place of the configured one."""

from dataclasses import dataclass

from frontend.errors import KnowledgeRefused
from frontend.text import clean
from frontend.words import _, later

MAX_NAME_CHARS = 100
PASTED = later("pasted text")
# A text has none of these, but for white space; a file that begins so is a program, a picture or a document.
_CONTROLS = frozenset(map(chr, range(32))) - frozenset("\t\n\r\f")


@dataclass(frozen=True)
class OwnKnowledge:
    """The text, and the name that it is told by: its file's, or that it was pasted."""

    name: str
    text: str


def from_file(name: str, content: bytes, max_chars: int) -> OwnKnowledge:
    """The text of a file. Raises KnowledgeRefused, which says what is wrong with it."""
    if not name.lower().endswith((".txt", ".md")):
        raise KnowledgeRefused(_("Only .txt and .md files can be given. Copy the text of another file and paste it."))
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError:
        raise KnowledgeRefused(
            _("The file is not text in UTF-8: it is binary, or in an older encoding. Save it as plain text in UTF-8.")
        ) from None
    if not _CONTROLS.isdisjoint(text):
        raise KnowledgeRefused(_("The file is binary, not text. Save it as plain text in UTF-8."))
    return OwnKnowledge(_name(name), _checked(text, max_chars))


def from_paste(text: str, max_chars: int) -> OwnKnowledge:
    """A text that was typed or pasted. Raises KnowledgeRefused."""
    return OwnKnowledge(_(PASTED), _checked(text, max_chars))


def _name(name: str) -> str:
    """Without the folders that some browsers send, on one line."""
    return " ".join(clean(name.replace("\\", "/").rpartition("/")[2]).split())[-MAX_NAME_CHARS:]


def _checked(text: str, max_chars: int) -> str:
    text = clean(text).strip()
    if not text:
        raise KnowledgeRefused(_("There is no text in it. Paste some, or choose a file that holds some."))
    if len(text) > max_chars:
        raise KnowledgeRefused(
            _(
                "The text is too long: {length} characters, at most {limit} are possible. Shorten it by {excess}.",
                length=len(text),
                limit=max_chars,
                excess=len(text) - max_chars,
            )
        )
    return text
