"""Pure: the colour of a replica, the same on every page, in every process and after every restart."""

from zlib import crc32

HUES = 12  # as many as the stylesheet has classes `hue-0`, `hue-1`, ...; beside a colour the name always stands


def hue(replica_id: str) -> int:
    """The number of the replica's colour."""
    return crc32(replica_id.encode()) % HUES
