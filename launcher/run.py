"""`make run`: backend and frontend on this machine, from one command to a page to chat on.

    python -m launcher.run                     # as serve_config.yaml says
    FRONTEND_PORT=9000 python -m launcher.run  # the frontend's settings are its FRONTEND_* variables

Checks the machine, starts both halves, tells how far the model is, waits until both are healthy and then until Ctrl-C.
Whatever ends it, no process is left behind; a second Ctrl-C ends everything at once.
"""

import argparse
import os
import re
import secrets
import shutil
import signal
import sys
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from types import FrameType
from typing import Any, NoReturn

import requests

from launcher import haproxy
from launcher.preflight import Plan, PlanError, find_problems, read_plan
from launcher.processes import Processes
from launcher.serve_environment import QUICK_REPLACEMENT

ROOT = Path(__file__).resolve().parents[1]
POLL_S = 0.5
HTTP_TIMEOUT_S = 2.0
ONE_REQUEST_S = 0.5  # signals closer together are one request: `make` passes on what its process group got already
STOP_S = 30.0  # for replies under way to end and for Ray to shut down; an idle service takes 5 to 10
TAIL_LINES = 15

_ANSI = re.compile(r"\x1b\[[0-9;]*m")
_DASHBOARD = re.compile(r"View the dashboard at +(http://\S+)")  # Ray's log line, once its processes run


class RunError(Exception):
    """The service cannot start or go on; the text is for the person at the terminal."""


class StopRequested(Exception):
    """Ctrl-C, or a signal that asks for an end."""


class Terminal:
    """Lines for a person; on a terminal, the line about progress is written over again and again."""

    def __init__(self) -> None:
        self._live = sys.stdout.isatty()
        self._progress = ""
        self._started = time.monotonic()

    def say(self, text: str) -> None:
        self._write(("\r\x1b[K" if self._live and self._progress else "") + text + "\n")
        self._progress = ""

    def progress(self, text: str) -> None:
        """What is being waited for. Elsewhere than on a terminal: a line only when that changes."""
        elapsed = f"{time.monotonic() - self._started:4.0f} s  "
        if self._live:
            self._write("\r\x1b[K" + (elapsed + text)[: _columns() - 1])
        elif text != self._progress:
            self._write(elapsed + text + "\n")
        self._progress = text

    @staticmethod
    def _write(text: str) -> None:
        with suppress(OSError):  # the terminal may be gone, and ending in good order matters more
            sys.stdout.write(text)
            sys.stdout.flush()


class StopSignals:
    """Counts requests to end. They are looked at between steps, so that none interrupts a step half-way."""

    def __init__(self) -> None:
        self.count = 0
        self._last_at = float("-inf")
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            if number != signal.SIGHUP or signal.getsignal(number) != signal.SIG_IGN:  # nohup
                signal.signal(number, self._receive)

    def sleep(self, seconds: float) -> None:
        """Raises StopRequested."""
        deadline = time.monotonic() + seconds
        while True:
            if self.count:
                raise StopRequested
            if time.monotonic() >= deadline:
                return
            time.sleep(min(0.1, seconds))

    def _receive(self, _number: int, _frame: FrameType | None) -> None:
        now = time.monotonic()
        if now - self._last_at > ONE_REQUEST_S:
            self.count += 1
        self._last_at = now


class Service:
    """Both halves, as processes and as their HTTP interfaces tell of themselves."""

    def __init__(self, plan: Plan, run_dir: Path, environment: Mapping[str, str]) -> None:
        self.plan = plan
        self.processes = Processes()
        self._run_dir = run_dir
        self._environment = environment
        self._http = requests.Session()
        self._http.trust_env = False  # no proxy between this machine and itself
        self.ray_token = ray_token(environment)
        self._ray_headers = {"Authorization": f"Bearer {self.ray_token}"} if self.ray_token else {}

    def start(self) -> None:
        """The frontend starts within a second or two and then shows that the backend is still on its way."""
        # `--address local`: never join a Ray cluster that happens to run on this machine, and never shut it down.
        serve = ["-m", "ray.serve.scripts", "run", "--address", "local", str(self.plan.config.resolve())]
        self._start("backend", serve, signal.SIGINT)
        self._start("frontend", ["-m", "frontend"], signal.SIGTERM)

    def _start(self, name: str, arguments: Sequence[str], stop_signal: signal.Signals) -> None:
        log = self._run_dir / f"{name}.log"
        self.processes.start(name, [sys.executable, *arguments], log, stop_signal, self._environment, ROOT)

    def check(self) -> None:
        """Raises RunError when a half has ended or cannot start."""
        ended = self.processes.ended()
        if ended is not None:
            end_of_log = f"The end of {ended.log}:\n{tail(ended.log)}"
            raise RunError(f"The {ended.name} has ended with exit code {ended.exit_code}. {end_of_log}")

    def waits_for(self) -> str | None:
        """What is not ready yet; None when both halves are healthy. Raises RunError when the backend cannot start."""
        if self.dashboard_url is None:
            return "starting Ray"
        waits = application_waits_for(self._applications())
        if waits is None and self.health() is None:
            waits = "waiting for a healthy backend"
        if waits is None and self._get(f"{self.plan.frontend_url}/readyz") is None:
            waits = "waiting for a healthy frontend"
        return waits

    @property
    def dashboard_url(self) -> str | None:
        """Where Ray put its dashboard; None before it did."""
        log = (self._run_dir / "backend.log").read_text(errors="replace")
        found = _DASHBOARD.search(_ANSI.sub("", log))
        return found[1] if found else None

    def health(self) -> dict[str, Any] | None:
        """What the backend says of itself; None while it is not healthy."""
        return self._get(f"{self.plan.backend_url}/health")

    def _applications(self) -> dict[str, Any]:
        status = self._get(f"{self.dashboard_url}/api/serve/applications/", self._ray_headers) or {}
        applications: dict[str, Any] = status.get("applications", {})
        return applications

    def _get(self, url: str, headers: Mapping[str, str] | None = None) -> dict[str, Any] | None:
        """A JSON object, or None for anything else than 200."""
        try:
            response = self._http.get(url, headers=headers, timeout=HTTP_TIMEOUT_S)
            content = response.json() if response.ok else None
        except requests.RequestException:
            return None
        return content if isinstance(content, dict) else None


def application_waits_for(applications: dict[str, Any]) -> str | None:
    """What Serve still does, None when all applications run. Raises RunError when one cannot be deployed."""
    if not applications:
        return "starting Serve"
    for name, application in applications.items():
        deployments: dict[str, Any] = application["deployments"]
        if application["status"] == "DEPLOY_FAILED":
            failed = [d["message"] for d in deployments.values() if d["status"] == "DEPLOY_FAILED"]
            reasons = "\n".join(exception_text(message) for message in failed or [application["message"]])
            raise RunError(f"The application {name} cannot be deployed:\n{reasons}")
        if application["status"] != "RUNNING":
            replicas = ", ".join(_replicas(name, deployment) for name, deployment in deployments.items())
            return f"loading the model: {replicas}" if replicas else "finding the model, and downloading it if need be"
    return None


def _replicas(name: str, deployment: dict[str, Any]) -> str:
    """One deployment's progress: replicas that run, replicas wanted, and what went wrong at the last try."""
    states = [replica["state"] for replica in deployment["replicas"]]
    wanted = max(deployment.get("target_num_replicas") or 1, 1)
    problem = exception_text(deployment["message"]).splitlines()
    return f"{name} {states.count('RUNNING')} of {wanted}" + (f" (tried again after: {problem[0]})" if problem else "")


def exception_text(message: str) -> str:
    """The exception at the end of Serve's message, without the traceback before it."""
    lines = _ANSI.sub("", message).rstrip().splitlines()
    frames = [number for number, line in enumerate(lines) if line.startswith('  File "')]
    if frames:
        lines = lines[frames[-1] + 1 :]
        while len(lines) > 1 and lines[0].startswith("    "):  # the frame's source line, and carets below it
            lines = lines[1:]
    return "\n".join(lines)


def tail(log: Path) -> str:
    lines = _ANSI.sub("", log.read_text(errors="replace")).splitlines()
    return "\n".join(f"  {line}" for line in lines[-TAIL_LINES:]) or "  (empty)"


def child_environment(
    environment: Mapping[str, str], plan: Plan, run_dir: Path, proxy: Mapping[str, str] = haproxy.OFF
) -> dict[str, str]:
    """This environment and what the halves need to find each other; what the person has set stays.

    A Ray cluster runs any code it is sent. Its ports are therefore bound to this machine alone, and it asks for a
    token: Serve's replicas listen on all interfaces whatever one sets, and without a token they would obey anybody. Ray
    would make one under HOME; this one is the project's own, and stays, so that a browser is given it once.
    """
    defaults = {
        "FRONTEND_BACKEND_URL": plan.backend_url,
        "RAY_AUTH_MODE": "token",
        "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0",  # a cluster of one machine, bound to 127.0.0.1; works on Linux too
        "RAY_USAGE_STATS_ENABLED": "0",
        "PYTHONUNBUFFERED": "1",  # logs that are complete up to the moment of a crash
    }
    if environment.get("RAY_SERVE_ENABLE_HA_PROXY", "1") != "1":
        proxy = haproxy.OFF  # who turns HAProxy off turns off with it what is of use with it only
    result = defaults | QUICK_REPLACEMENT | dict(proxy) | dict(environment) | {"FRONTEND_PORT": str(plan.frontend_port)}
    result.pop("RAY_ADDRESS", None)
    # Ray's dashboard imports what a Serve config names, a policy for one, when `serve deploy` sends it the config.
    result["PYTHONPATH"] = os.pathsep.join(filter(None, (str(ROOT), environment.get("PYTHONPATH"))))
    if "RAY_AUTH_TOKEN" not in result and "RAY_AUTH_TOKEN_PATH" not in result:
        result["RAY_AUTH_TOKEN_PATH"] = str(_token_file(run_dir))
    return result


def ray_token(environment: Mapping[str, str]) -> str | None:
    """The token that Ray will ask for, or None if it will ask for none."""
    if environment["RAY_AUTH_MODE"].lower() != "token":
        return None
    return environment.get("RAY_AUTH_TOKEN") or Path(environment["RAY_AUTH_TOKEN_PATH"]).read_text().strip()


def _token_file(run_dir: Path) -> Path:
    path = (run_dir / "ray_token").resolve()
    if not path.exists():
        path.touch(mode=0o600)
        path.write_text(secrets.token_hex(32))
    return path


def announce(service: Service, terminal: Terminal) -> None:
    token = f"  (asks once for this token: {service.ray_token})" if service.ray_token else ""
    terminal.say("")
    terminal.say(f"  Page           {service.plan.frontend_url}")
    terminal.say(f"  API            {service.plan.backend_url}/chat")
    terminal.say(f"  Ray dashboard  {service.dashboard_url}/#/serve{token}")
    terminal.say("")
    model = (service.health() or {}).get("model", {})
    if model.get("fallback"):
        terminal.say(f"Notice: the fallback model {model.get('name')} answers. {model.get('reason')}")
    terminal.say("Ctrl-C stops everything.")


def run(service: Service, terminal: Terminal, signals: StopSignals) -> NoReturn:
    """Ends by StopRequested, or by RunError when the service cannot start or go on."""
    service.start()
    while (waits := service.waits_for()) is not None:
        terminal.progress(waits)
        service.check()
        signals.sleep(POLL_S)
    announce(service, terminal)
    while True:
        service.check()
        service.processes.notice()
        signals.sleep(POLL_S)


def stop(service: Service, terminal: Terminal, signals: StopSignals) -> bool:
    """Whether no process is left."""
    requests_before = signals.count
    terminal.progress(f"stopping (within {STOP_S:.0f} s; Ctrl-C again: at once)")
    left = service.processes.stop(STOP_S, hurry=lambda: signals.count > requests_before)
    if left:
        terminal.say(f"These processes could not be ended: {', '.join(str(process.pid) for process in left)}.")
    else:
        terminal.say("Stopped.")
    return not left


def main(arguments: Sequence[str] | None = None) -> int:
    """The exit code: 0 after a Ctrl-C, 1 when something failed, 2 for a wrong configuration."""
    parser = argparse.ArgumentParser(
        prog="python -m launcher.run", description="Run backend and frontend on this machine."
    )
    parser.add_argument("config", nargs="?", default="serve_config.yaml", type=Path, help="Serve config to run")
    parser.add_argument("--run-dir", default=ROOT / ".run", type=Path, help="folder for logs and Ray's token")
    options = parser.parse_args(arguments)
    terminal = Terminal()
    try:
        plan = read_plan(options.config)
    except PlanError as error:
        terminal.say(str(error))
        return 2
    problems = find_problems(plan)
    for problem in problems:
        terminal.say(problem.sentence)
    if any(problem.fatal for problem in problems):
        return 1
    signals = StopSignals()
    run_dir: Path = options.run_dir
    run_dir.mkdir(parents=True, exist_ok=True)
    with haproxy.prepared(haproxy.limits(plan.config)) as proxy:
        service = Service(plan, run_dir, child_environment(os.environ, plan, run_dir, proxy))
        succeeded = True
        try:
            run(service, terminal, signals)
        except StopRequested:
            terminal.say("")
        except RunError as error:
            succeeded = False
            terminal.say(f"{error}\nThe logs are in {run_dir}.")
        finally:
            succeeded &= stop(service, terminal, signals)
    return 0 if succeeded else 1


def _columns() -> int:
    return shutil.get_terminal_size().columns


if __name__ == "__main__":
    sys.exit(main())
