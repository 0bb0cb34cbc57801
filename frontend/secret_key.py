"""The key that signs the session cookie: the given one, or one made once and kept beside the SQLite database."""

import contextlib
import os
import secrets
from pathlib import Path

from frontend.settings import Settings, check_secret


def secret_key(settings: Settings) -> str:
    """The signing key. Raises ValueError when the kept file does not hold a usable one."""
    if settings.secret_key is not None:
        return settings.secret_key.get_secret_value()
    database = settings.sqlite_path
    if database is None:
        raise ValueError("FRONTEND_SECRET_KEY is required with a database server")
    return _kept_key(database.with_name(database.name + ".secret"))


def _kept_key(path: Path) -> str:
    if not path.exists():
        _create(path)
    key = path.read_text("ascii").strip()
    try:
        check_secret(key)
    except ValueError as error:
        raise ValueError(f"the secret key in {path} {error}; delete the file to have a new one made") from None
    return key


def _create(path: Path) -> None:
    """Write a new key so that two processes starting at once end up with the same one.

    The file appears under its name only when it is complete, and `link` refuses to replace one that is there already.
    """
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    draft = path.with_name(f"{path.name}.{secrets.token_hex(8)}")
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "w") as file:
        file.write(secrets.token_urlsafe(48) + "\n")
    try:
        with contextlib.suppress(FileExistsError):
            os.link(draft, path)
    finally:
        draft.unlink()
