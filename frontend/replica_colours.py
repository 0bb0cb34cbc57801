"""A colour for each replica, the same on every page, in every process and after a restart."""

from zlib import crc32

COLOURS = 12  # hues that can be told apart; their CSS is in static/replicas.css


def colour_class(replica_id: str) -> str:
    """The CSS class of a replica's colour, `replica-0` to `replica-11`. Colours help the eye; names tell the truth."""
    return f"replica-{crc32(replica_id.encode()) % COLOURS}"
