"""A PostgreSQL server of the tests' own, from the machine's programs, where it has them."""

import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
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


@dataclass(frozen=True)
class Server:
    """A server on a Unix socket in a folder of its own."""

    folder: Path
    binaries: Path

    @property
    def url(self) -> str:
        """Its superuser's."""
        return f"postgresql+psycopg://postgres@/postgres?host={self.folder}"

    def start(self) -> None:
        """Start, and wait until it answers."""
        settings = f"-c listen_addresses= -c unix_socket_directories={self.folder} -c fsync=off"
        self._control(f"--log={self.folder}/log", f"--options={settings}", "start")

    def stop(self) -> None:
        """Cut all connections, and wait until it has ended."""
        self._control("stop")

    def make(self) -> None:
        """Make its empty database."""
        self._run("initdb", "--username=postgres", "--auth=trust", "--encoding=UTF8", "--no-locale", "--no-sync")

    def _control(self, *arguments: str) -> None:
        self._run("pg_ctl", "--silent", "--wait", *arguments)

    def _run(self, program: str, *arguments: str) -> None:
        command = [*become(), str(self.binaries / program), f"--pgdata={self.folder}/data", *arguments]
        subprocess.run(command, check=True, cwd=self.folder, stdout=subprocess.DEVNULL, timeout=START_S)


def become() -> tuple[str, ...]:
    """The words before a command that the server's owner is to run."""
    return AS_NOBODY if os.geteuid() == 0 else ()


@contextmanager
def temporary_server(binaries: Path) -> Iterator[Server]:
    """An empty running server, gone afterwards."""
    with tempfile.TemporaryDirectory(prefix="postgres-") as name:
        if become():
            os.chown(name, NOBODY, NOBODY)
        server = Server(Path(name), binaries)
        server.make()
        server.start()
        try:
            yield server
        finally:
            server.stop()
