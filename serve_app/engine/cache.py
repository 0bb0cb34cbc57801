"""The folder in which a process leaves what the next one need not make again: compiled kernels, quantised weights."""

import os
import stat
from pathlib import Path


class NoCache(Exception):
    """There is no cache folder that this process may trust; says why."""


def cache_folder() -> Path:
    """`godel-serve` in the user's cache folder (XDG_CACHE_HOME), made if it is missing.

    Raises NoCache where it cannot be written, or if another user could: what lies in it is executed, and computed with.
    """
    try:
        folder = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "godel-serve"
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        found = folder.stat()
    except (OSError, RuntimeError) as error:  # RuntimeError: this user has no home
        raise NoCache(f"there is no cache folder: {error}") from error
    if found.st_uid != os.geteuid() or found.st_mode & (stat.S_IWGRP | stat.S_IWOTH):
        mode = stat.S_IMODE(found.st_mode)
        raise NoCache(f"{folder} belongs to user {found.st_uid} with mode {mode:o}, and others could write to it")
    if not os.access(folder, os.W_OK):
        raise NoCache(f"{folder} cannot be written to")
    return folder
