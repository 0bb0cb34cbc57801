"""`python -m launcher.run` on a real Ray: it starts, says what goes wrong, and never leaves a process behind."""

import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from uuid import uuid4

import psutil
import pytest
import requests
import yaml

from launcher.haproxy import bundled_binary
from launcher.preflight import free_port
from tests.support.backend import ROOT
from tests.support.waiting import eventually

START_S = 120
STOP_S = 60
MARK = "LAUNCHER_TEST"  # every process of a run inherits it, wherever its parent has gone


@dataclass
class Launcher:
    process: subprocess.Popen[bytes]
    output_file: Path
    backend_port: int
    frontend_port: int
    mark: str = field(repr=False)

    @property
    def output(self) -> str:
        return self.output_file.read_text()

    def wait_for(self, text: str) -> None:
        eventually(lambda: text in self.output or self._has_ended(), START_S, f"{text!r} in:\n{self.output_file}")

    def family(self) -> list[psutil.Process]:
        """The launcher's descendants, orphans among them."""
        return [process for process in psutil.process_iter() if self._is_ours(process)]

    def names(self) -> set[str]:
        names = set()
        for process in self.family():
            try:
                names.add(process.name())
            except psutil.NoSuchProcess:
                continue
        return names

    def exposed(self) -> set[str]:
        """The names of what listens on more than this machine."""
        names = set()
        for process in self.family():
            try:
                listening = [each for each in process.net_connections("tcp") if each.status == psutil.CONN_LISTEN]
                if any(not each.laddr.ip.removeprefix("::ffff:").startswith("127.") for each in listening):
                    names.add(process.name())
            except psutil.Error:
                continue
        return names

    def assert_nothing_left(self, within_s: float = 0) -> None:
        eventually(lambda: not self.family(), within_s, f"no process left of {self.family()}")

    def _has_ended(self) -> bool:
        if self.process.poll() is not None:
            raise AssertionError(f"the launcher ended with {self.process.returncode}:\n{self.output}")
        return False

    def _is_ours(self, process: psutil.Process) -> bool:
        try:
            mark = process.environ().get(MARK)
            return mark == self.mark and process.pid != self.process.pid and process.status() != psutil.STATUS_ZOMBIE
        except psutil.Error:
            return False


Launch = Callable[..., Launcher]


@pytest.fixture
def launch(tmp_path: Path) -> Iterator[Launch]:
    """Starts `python -m launcher.run` with the stub application, on ports of its own."""
    started: list[Launcher] = []

    def start(error: str | None = None, load_s: float = 0, **environment: str) -> Launcher:
        backend_port, frontend_port = free_port(), free_port()
        config = {
            "http_options": {"host": "127.0.0.1", "port": backend_port},
            "applications": [
                {
                    "name": "stub",
                    "route_prefix": "/",
                    "import_path": "tests.chaos.stub_app:build",
                    "args": {"error": error, "load_s": load_s},
                }
            ],
        }
        (tmp_path / "config.yaml").write_text(yaml.safe_dump(config))
        mark = uuid4().hex
        ours = {
            MARK: mark,
            "FRONTEND_PORT": str(frontend_port),
            "FRONTEND_DATABASE_URL": f"sqlite:///{tmp_path}/chats.sqlite3",
        }
        inherited = {key: value for key, value in os.environ.items() if not key.startswith(("FRONTEND_", "RAY_"))}
        output = tmp_path / "output.txt"
        with output.open("wb") as stream:
            process = subprocess.Popen(
                [sys.executable, "-m", "launcher.run", tmp_path / "config.yaml", "--run-dir", tmp_path / "run"],
                cwd=ROOT,
                env=inherited | ours | environment,
                stdout=stream,
                stderr=subprocess.STDOUT,
                preexec_fn=lambda: signal.signal(signal.SIGHUP, signal.SIG_DFL),  # the tests may run under nohup
            )
        launcher = Launcher(process, output, backend_port, frontend_port, mark)
        started.append(launcher)
        return launcher

    yield start
    for launcher in started:
        launcher.process.kill()
        launcher.process.wait(STOP_S)
        for process in launcher.family():
            process.kill()


def test_starts_says_where_everything_is_and_ends_with_ctrl_c(launch: Launch, tmp_path: Path) -> None:
    launcher = launch()
    launcher.wait_for("Ctrl-C stops everything.")
    output = launcher.output
    assert f"Page           http://127.0.0.1:{launcher.frontend_port}" in output
    assert f"API            http://127.0.0.1:{launcher.backend_port}/chat" in output
    assert "the fallback model stub answers. The hub has no answer." in output
    assert "loading the model" in output

    readyz = f"http://127.0.0.1:{launcher.frontend_port}/readyz"
    said = "the frontend was told where the backend is"
    eventually(lambda: requests.get(readyz, timeout=10).json()["backend"] == "fallback", 20, said)

    dashboard = re.search(r"Ray dashboard  (http://[\d.:]+)/#/serve  \(asks once for this token: (\w+)\)", output)
    assert dashboard is not None
    url = f"{dashboard[1]}/api/serve/applications/"
    assert requests.get(url, timeout=10).status_code == 401, "a stranger on this machine is refused"
    shown = requests.get(url, headers={"Authorization": f"Bearer {dashboard[2]}"}, timeout=10).json()
    assert shown["applications"]["stub"]["status"] == "RUNNING"
    assert (tmp_path / "run" / "ray_token").stat().st_mode & 0o077 == 0

    assert {"raylet", "gcs_server"} <= launcher.names()
    assert ("haproxy" in launcher.names()) is (bundled_binary() is not None)
    # Serve leaves no choice to its replicas' port for one another, which asks for Ray's token.
    assert {name.split(":stub:")[0] for name in launcher.exposed()} == {"ray::ServeReplica"}
    launcher.process.send_signal(signal.SIGINT)
    assert launcher.process.wait(STOP_S) == 0
    launcher.assert_nothing_left()
    assert launcher.output.endswith("Stopped.\n")


def test_what_hinders_the_deployment_is_told_and_nothing_is_left(launch: Launch) -> None:
    launcher = launch(error="The model a/b cannot be had: the hub says 404. Name another `model`.")
    assert launcher.process.wait(START_S) == 1
    assert "stub cannot be deployed:\nRuntimeError: The model a/b cannot be had" in launcher.output
    assert "Traceback" not in launcher.output
    launcher.assert_nothing_left()


@pytest.mark.parametrize(
    ("moment", "number"),
    [
        ("starting Ray", signal.SIGINT),
        ("starting Serve", signal.SIGTERM),
        ("loading the model", signal.SIGHUP),
    ],
)
def test_can_be_stopped_while_it_starts(launch: Launch, moment: str, number: signal.Signals) -> None:
    launcher = launch(load_s=600)
    launcher.wait_for(moment)
    launcher.process.send_signal(number)
    assert launcher.process.wait(STOP_S) == 0
    launcher.assert_nothing_left()


def test_a_second_ctrl_c_ends_at_once(launch: Launch) -> None:
    launcher = launch()
    launcher.wait_for("starting Serve")
    launcher.process.send_signal(signal.SIGINT)
    launcher.wait_for("Ctrl-C again: at once")
    time.sleep(1)  # signals closer together count as one
    launcher.process.send_signal(signal.SIGINT)
    second_at = time.monotonic()
    launcher.process.wait(STOP_S)
    assert time.monotonic() - second_at < 3
    launcher.assert_nothing_left()


def test_a_half_that_dies_ends_the_other_and_is_told(launch: Launch, tmp_path: Path) -> None:
    launcher = launch()
    launcher.wait_for("starting Ray")
    log = tmp_path / "run" / "frontend.log"
    eventually(lambda: "frontend on http://" in log.read_text(), START_S, "a frontend that runs")
    frontend = next(process for process in launcher.family() if process.cmdline()[-2:] == ["-m", "frontend"])
    frontend.kill()
    assert launcher.process.wait(STOP_S) == 1
    assert "The frontend has ended with exit code -9. The end of" in launcher.output
    assert "frontend on http://127.0.0.1" in launcher.output, "the end of its log is shown"
    launcher.assert_nothing_left()


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells children that their parent was killed")
def test_a_killed_launcher_leaves_nothing_either(launch: Launch) -> None:
    launcher = launch()
    launcher.wait_for("Ctrl-C stops everything.")
    launcher.process.kill()
    launcher.process.wait(STOP_S)
    launcher.assert_nothing_left(within_s=STOP_S)


def test_a_port_in_use_is_told_before_anything_starts(launch: Launch) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        launcher = launch(FRONTEND_PORT=str(port))
        assert launcher.process.wait(START_S) == 1
    assert f"Port {port}, meant for the page, is in use by" in launcher.output
    assert "starting Ray" not in launcher.output
