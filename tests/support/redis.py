"""A Redis server of the tests' own, where the machine has the program."""

import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from launcher.preflight import free_port

START_S = 20


def program() -> str | None:
    """`redis-server`, or None."""
    return shutil.which("redis-server")


@dataclass
class Server:
    """A server that keeps nothing on disk, at a port that stays the same when it is started again."""

    folder: Path
    port: int = field(default_factory=free_port)
    _process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        return f"redis://127.0.0.1:{self.port}"

    def start(self) -> None:
        """Start, and wait until it answers."""
        settings = ["--port", str(self.port), "--bind", "127.0.0.1", "--save", "", "--dir", str(self.folder)]
        self._process = subprocess.Popen(["redis-server", *settings], stdout=subprocess.DEVNULL)
        end = time.monotonic() + START_S
        while not self._answers():
            if self._process.poll() is not None or time.monotonic() > end:
                raise AssertionError("redis-server did not start")
            time.sleep(0.01)

    def stop(self) -> None:
        """End it, if it runs."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None

    def _answers(self) -> bool:
        try:
            with socket.create_connection(("127.0.0.1", self.port), timeout=1) as connection:
                connection.sendall(b"PING\r\n")
                return connection.recv(16).startswith(b"+PONG")
        except OSError:
            return False


@contextmanager
def temporary_server(folder: Path) -> Iterator[Server]:
    """A running server, gone afterwards."""
    server = Server(folder)
    server.start()
    try:
        yield server
    finally:
        server.stop()
