"""What a file says, kept up with it while it is edited. A bad edit never replaces a good one (law 6)."""

from collections.abc import Callable
from pathlib import Path
from threading import Lock
from typing import Generic, TypeVar

from serve_app.errors import ConfigError

T = TypeVar("T")


class WatchedFile(Generic[T]):
    """The newest good content, `current`; `error` says what is wrong with the file as it is now, if anything is.

    Several threads may call `refresh`, but not an event loop: a call waits for one that is reading, so that an old
    version never replaces a newer one.
    """

    def __init__(self, read: Callable[[], T], fingerprint: Callable[[], object]) -> None:
        """Raises ConfigError, as `read` does: a start needs a good file. fingerprint: differs where `read` may."""
        self._read = read
        self._fingerprint = fingerprint
        self._lock = Lock()
        self._seen = fingerprint()
        self.current = read()
        self.error: str | None = None

    def refresh(self) -> T:
        """`current`, read again if the file has changed."""
        with self._lock:
            fingerprint = self._fingerprint()
            if fingerprint != self._seen:
                self._seen = fingerprint
                try:
                    self.current = self._read()
                    self.error = None
                except ConfigError as error:
                    self.error = str(error)
            return self.current


def stamp(path: Path) -> tuple[int, int, int] | None:
    """Changes with the file. Costs one `stat`, which follows the links that Kubernetes swaps in a mounted volume."""
    try:
        stat = path.stat()
    except OSError:
        return None
    return stat.st_ino, stat.st_size, stat.st_mtime_ns
