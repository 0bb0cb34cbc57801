"""The launcher's parts, without Ray: what it reads from Serve, what it tells, and how it ends programs."""

import os
import signal
import subprocess
import sys
import textwrap
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

import psutil
import pytest

from launcher import haproxy
from launcher.preflight import Plan
from launcher.run import (
    RunError,
    StopRequested,
    StopSignals,
    Terminal,
    application_waits_for,
    child_environment,
    exception_text,
    ray_token,
    tail,
)

ROOT = Path(__file__).parents[2]
PLAN = Plan(Path("serve_config.yaml"), "127.0.0.1", 8000, "", "127.0.0.1", 8080)

# As Serve 2.60 reports a constructor that raises, shortened.
SERVE_MESSAGE = textwrap.dedent("""\
    The deployment failed to start 3 times in a row. See controller logs for details. Error:
    \x1b[36mray::ServeReplica:chat:Model.initialize_and_get_metadata()\x1b[39m (pid=1, ip=127.0.0.1)
      File "replica.py", line 1928, in initialize
        raise RuntimeError(traceback.format_exc()) from None
    RuntimeError: Traceback (most recent call last):
      File "model.py", line 9, in __init__
        raise ModelError("The model a/b cannot be had.")
        ^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^
    serve_app.errors.ModelError: The model a/b cannot be had.
    Name another `model`.
    """)


def application(status: str, message: str = "", **deployments: dict[str, Any]) -> dict[str, Any]:
    return {"chat": {"status": status, "message": message, "deployments": deployments}}


def deployment(*states: str, status: str = "UPDATING", message: str = "") -> dict[str, Any]:
    replicas = [{"state": state} for state in states]
    return {"status": status, "message": message, "target_num_replicas": 2, "replicas": replicas}


def test_progress_in_words() -> None:
    assert application_waits_for({}) == "starting Serve"
    assert application_waits_for(application("DEPLOYING")) == "finding the model, and downloading it if need be"
    loading = application("DEPLOYING", Model=deployment("RUNNING", "STARTING"))
    assert application_waits_for(loading) == "loading the model: Model 1 of 2"
    assert application_waits_for(application("RUNNING", Model=deployment("RUNNING", "RUNNING"))) is None


def test_a_try_that_failed_is_shown_while_serve_tries_again() -> None:
    text = application_waits_for(application("DEPLOYING", Model=deployment("STARTING", message=SERVE_MESSAGE)))
    assert text is not None
    assert "tried again after: serve_app.errors.ModelError: The model a/b cannot be had." in text


def test_a_failed_deployment_raises_with_the_applications_own_words() -> None:
    failed = application(
        "DEPLOY_FAILED",
        "Failed to update the deployments ['Model'].",
        Model=deployment(status="DEPLOY_FAILED", message=SERVE_MESSAGE),
        Ingress=deployment("RUNNING", status="HEALTHY"),
    )
    with pytest.raises(RunError) as error:
        application_waits_for(failed)
    assert str(error.value).endswith("ModelError: The model a/b cannot be had.\nName another `model`.")
    assert "File" not in str(error.value)


def test_a_failure_to_build_is_in_the_applications_message() -> None:
    with pytest.raises(RunError, match="ConfigError: no such key"):
        application_waits_for(
            application("DEPLOY_FAILED", 'x\n  File "a.py", line 1\n    code\nConfigError: no such key')
        )


@pytest.mark.parametrize("message", ["", "Deploying.", "two\nlines"])
def test_a_message_without_a_traceback_stays(message: str) -> None:
    assert exception_text(message) == message


def test_the_end_of_a_log(tmp_path: Path) -> None:
    log = tmp_path / "log"
    log.write_text("".join(f"\x1b[36mline {number}\x1b[0m\n" for number in range(100)))
    assert tail(log).splitlines()[-1] == "  line 99"
    assert len(tail(log).splitlines()) == 15
    log.write_text("")
    assert tail(log) == "  (empty)"


def test_ray_is_closed_to_others_and_writes_nothing_under_home(tmp_path: Path) -> None:
    environment = child_environment({"RAY_ADDRESS": "10.0.0.1:6379"}, PLAN, tmp_path)
    assert environment["RAY_AUTH_MODE"] == "token"
    assert environment["RAY_USAGE_STATS_ENABLED"] == "0"
    assert environment["RAY_SERVE_FORCE_STOP_UNHEALTHY_REPLICAS"] == "1"
    assert environment["RAY_kill_worker_timeout_milliseconds"] == "100"
    assert "RAY_ADDRESS" not in environment, "a cluster elsewhere is left alone"
    token_file = Path(environment["RAY_AUTH_TOKEN_PATH"])
    assert token_file.parent == tmp_path
    assert token_file.stat().st_mode & 0o077 == 0
    token = ray_token(environment)
    assert token is not None
    assert len(token) == 64
    assert ray_token(child_environment({}, PLAN, tmp_path)) == token, "the browser was told this one"


def test_what_the_person_has_set_stays(tmp_path: Path) -> None:
    theirs = {"RAY_AUTH_MODE": "disabled", "FRONTEND_BACKEND_URL": "http://gpu:8000", "RAY_USAGE_STATS_ENABLED": "1"}
    environment = child_environment(theirs, PLAN, tmp_path)
    assert theirs.items() <= environment.items()
    assert ray_token(environment) is None
    theirs = {"RAY_AUTH_TOKEN": "mine"}
    assert ray_token(child_environment(theirs, PLAN, tmp_path)) == "mine"


def test_rays_dashboard_can_import_what_the_configuration_names(tmp_path: Path) -> None:
    assert child_environment({}, PLAN, tmp_path)["PYTHONPATH"] == str(ROOT)
    theirs = child_environment({"PYTHONPATH": "/theirs"}, PLAN, tmp_path)
    assert theirs["PYTHONPATH"].split(os.pathsep) == [str(ROOT), "/theirs"]


def test_who_turns_haproxy_off_has_none_of_its_settings(tmp_path: Path) -> None:
    with haproxy.prepared() as proxy:
        theirs = {"RAY_SERVE_ENABLE_HA_PROXY": "0"}
        assert child_environment(theirs, PLAN, tmp_path, proxy).items() >= haproxy.OFF.items()
        assert child_environment({}, PLAN, tmp_path, proxy).items() >= proxy.items()


def test_progress_is_one_line_a_change_when_nobody_watches(capsys: pytest.CaptureFixture[str]) -> None:
    terminal = Terminal()
    for text in ("starting Ray", "starting Ray", "loading the model"):
        terminal.progress(text)
    terminal.say("Ready.")
    lines = capsys.readouterr().out.splitlines()
    assert [line.split("s  ")[-1] for line in lines] == ["starting Ray", "loading the model", "Ready."]


def test_signals_wait_for_the_end_of_a_step_and_echoes_count_once() -> None:
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)}
    try:
        signals = StopSignals()
        signals.sleep(0)
        signal.raise_signal(signal.SIGTERM)
        signal.raise_signal(signal.SIGTERM)  # as `make` sends after its process group was sent one
        assert signals.count == 1
        with pytest.raises(StopRequested):
            signals.sleep(60)
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


# Starts a grandchild that ignores requests to end, loses it to another parent, and says its number.
PARENT_OF_A_STUBBORN_ORPHAN = """
import subprocess, sys, time
stubborn = "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); print(1, flush=True); time.sleep(600)"
middle = f'''
import subprocess, sys
orphan = subprocess.Popen([sys.executable, "-c", {stubborn!r}], stdout=subprocess.PIPE, start_new_session=True)
orphan.stdout.readline()
print(orphan.pid)
'''
print(subprocess.run([sys.executable, "-c", middle], stdout=subprocess.PIPE, text=True).stdout, flush=True)
time.sleep(600)
"""

# A launcher in small, that runs the program above and then does what its argument says. In a process of its own: it
# ends every child of the process that it is part of.
LAUNCHER = """
import os, signal, sys, time
from pathlib import Path
from launcher import processes as module
from launcher.processes import Processes
module.STRAGGLER_S = 0.5  # what is left is killed sooner than a person's Ray is
folder = Path(sys.argv[2])
processes = Processes()

def start(name, code):
    return processes.start(name, [sys.executable, "-c", code], folder / name, signal.SIGTERM, os.environ, folder)

start("parent", (folder / "parent.py").read_text())
while not (folder / "parent").read_text().strip():
    processes.notice()
    time.sleep(0.05)
if sys.argv[1] == "sleep":
    time.sleep(600)
if sys.argv[1] == "notice":
    assert processes.ended() is None
    short = start("short", "exit(3)")
    short.process.wait(30)
    assert processes.ended() == short and short.exit_code == 3
assert processes.stop(10, hurry=lambda: False) == []
"""


def launcher(action: str, folder: Path) -> subprocess.Popen[bytes]:
    (folder / "parent.py").write_text(PARENT_OF_A_STUBBORN_ORPHAN)
    return subprocess.Popen([sys.executable, "-c", LAUNCHER, action, folder], cwd=ROOT)


def orphan(folder: Path, within_s: float = 30) -> psutil.Process:
    deadline = time.monotonic() + within_s
    while not (number := _text(folder / "parent")):
        assert time.monotonic() < deadline
        time.sleep(0.02)
    return psutil.Process(int(number))


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere an orphan is known only if it was seen before")
def test_an_orphan_that_will_not_end_is_killed(tmp_path: Path) -> None:
    process = launcher("stop", tmp_path)
    stubborn = orphan(tmp_path)
    assert process.wait(60) == 0
    assert not stubborn.is_running()


@pytest.mark.skipif(sys.platform != "linux", reason="the Linux kernel tells a child of its parent's death")
def test_a_killed_launcher_takes_its_programs_along(tmp_path: Path) -> None:
    process = launcher("sleep", tmp_path)
    stubborn = orphan(tmp_path)
    (program,) = psutil.Process(process.pid).children()[:1]
    process.kill()
    process.wait(60)
    try:
        psutil.wait_procs([program], timeout=30)
        assert not program.is_running()
    finally:
        stubborn.kill()  # only a program asked to end can end what it started


def test_a_program_that_ended_is_noticed(tmp_path: Path) -> None:
    process = launcher("notice", tmp_path)
    stubborn = orphan(tmp_path)
    try:
        assert process.wait(60) == 0
    finally:
        with suppress(psutil.NoSuchProcess):
            stubborn.kill()


def _text(file: Path) -> str:
    return file.read_text().strip() if file.exists() else ""
