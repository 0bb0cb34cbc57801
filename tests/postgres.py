"""A PostgreSQL server of the tests' own, from the machine's programs, where it has them."""

import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

START_S = 60
NOBODY = 65534  # the server refuses to run as root
AS_NOBODY = ("setpriv", f"--reuid={NOBODY}", f"--regid={NOBODY}", "--clear-groups")


def programs() -> Path | None:
    """The folder that holds `initdb` and `postgres`, or None. Debian keeps it off the PATH."""
    on_path = shutil.which("initdb")
    if on_path is not None:
        return Path(on_path).resolve().parent
    versions = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"), key=lambda file: float(file.parts[4]))
    return versions[-1].parent if versions else None


@contextmanager
def temporary_server(binaries: Path) -> Iterator[str]:
    """An empty server on a Unix socket, gone afterwards: the URL of its superuser."""
    with tempfile.TemporaryDirectory(prefix="postgres-") as name:
        folder, is_root = Path(name), os.geteuid() == 0
        if is_root:
            os.chown(folder, NOBODY, NOBODY)
        data, become = f"--pgdata={folder}/data", AS_NOBODY if is_root else ()
        control = [*become, str(binaries / "pg_ctl"), data, "--silent", "--wait"]
        settings = f"-c listen_addresses= -c unix_socket_directories={folder} -c fsync=off"
        initdb = [*become, str(binaries / "initdb"), data, "--username=postgres", "--auth=trust"]
        _run(folder, *initdb, "--encoding=UTF8", "--no-locale", "--no-sync")
        _run(folder, *control, f"--log={folder}/log", f"--options={settings}", "start")
        try:
            yield f"postgresql+psycopg://postgres@/postgres?host={folder}"
        finally:
            _run(folder, *control, "stop")


def _run(folder: Path, *command: str) -> None:
    subprocess.run(command, check=True, cwd=folder, stdout=subprocess.DEVNULL, timeout=START_S)
