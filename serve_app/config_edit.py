"""Changes a configuration's file: wholly or not at all, and never over somebody else's change."""

import fcntl
import hashlib
import os
import tempfile
from contextlib import suppress
from pathlib import Path

from serve_app.chat_config import ConfigFile, VersionedConfig
from serve_app.errors import ConfigError, Forbidden, InvalidRequest, Outdated


def file_version(content: bytes) -> str:
    """Of the file as it is written: comments count, and what the environment says does not."""
    return hashlib.sha256(content).hexdigest()[:12]


def is_writable(path: Path) -> bool:
    """Whether the file can be replaced. Where it is mounted, as from a ConfigMap, it cannot."""
    return os.access(path.resolve().parent, os.W_OK)


def save(file: ConfigFile, content: bytes, version: str) -> VersionedConfig:
    """Put `content` in place of the file's, if that still has `version`; and return what is in use then.

    Every process that watches the file takes it up within a second. Raises InvalidRequest where it is no good
    configuration, Outdated where the file has changed, Forbidden where it cannot be written; the file is as it was.
    """
    try:
        file.check(content)
    except ConfigError as error:
        raise InvalidRequest(str(error)) from None
    path = file.path.resolve()  # a link stays one
    try:
        with path.open("rb") as old:
            fcntl.flock(old, fcntl.LOCK_EX)  # who waited here holds the lock of a file that has been replaced, and sees
            if file_version(path.read_bytes()) != version:
                raise Outdated("the file has been changed since it was read; read it again, and repeat the edit")
            _replace(path, content)
    except OSError as error:
        raise Forbidden(
            f"{file.path} cannot be written here ({error.strerror}); change it where it comes from, as a ConfigMap"
        ) from None
    return file.refresh()


def _replace(path: Path, content: bytes) -> None:
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(handle, "wb") as new:
            new.write(content)
            new.flush()
            os.fsync(new.fileno())
        Path(name).chmod(path.stat().st_mode & 0o777)
        os.replace(name, path)
    except BaseException:
        with suppress(OSError):
            os.unlink(name)
        raise
