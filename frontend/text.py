"""What may be stored of a text: everything that a database column and a page can hold."""

REPLACEMENT = "\N{REPLACEMENT CHARACTER}"


def clean(text: str) -> str:
    """`text` with Unix line ends, and a mark for what PostgreSQL (NUL) or UTF-8 (half a surrogate pair) refuses.

    Forms send CR LF for every line break, so without this a message would change on its way through a retry.
    """
    text = text.replace("\r\n", "\n").replace("\r", "\n").replace("\0", REPLACEMENT)
    return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
