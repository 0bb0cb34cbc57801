"""What can break, and what becomes of a steady load meanwhile."""

import random
import shutil
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import psutil
import requests
import yaml

from tests.chaos.pinger import Pinger, Record
from tests.support.backend import ROOT, Backend, model_deployment, run_backend
from tests.support.waiting import eventually

REPLICAS = 2
STALL_LIMIT_S = 4.0
_CLIENTS = 6
_LOOK_S = 0.2
_BEFORE, _AFTER = 12, 60  # replies under load before and after the fault, at least

Fault = Callable[[Backend], None]


def kill(name: str) -> Fault:
    return lambda backend: _busiest(backend, name).kill()


def stop(name: str) -> Fault:
    """It hangs, until that is noticed and it is killed."""

    def fault(backend: Backend) -> None:
        process = _busiest(backend, name)
        process.suspend()
        eventually(lambda: _has_ended(process), 60, f"{name}, which is stopped, is killed")

    return fault


def pause(name: str, seconds: float) -> Fault:
    """It hangs, and goes on after a while as if nothing had happened."""

    def fault(backend: Backend) -> None:
        process = process_of(backend, name)
        process.suspend()
        time.sleep(seconds)
        process.resume()

    return fault


def spoil_configuration(backend: Backend) -> None:
    """Garbage, a torn file, none at all; the good one again; then fifty good edits in quick succession."""
    good = backend.chat_config.read_text()
    for spoilt in ("\x00{", good[: good.index(":")], None):
        if spoilt is None:
            backend.chat_config.unlink()
        else:
            backend.chat_config.write_text(spoilt)
        eventually(lambda: backend.health()["config_error"] is not None, 30, "the spoilt configuration is reported")
    for edit in range(50):
        content = yaml.safe_load(good) | {"logging_level": ("INFO", "WARNING")[edit % 2]}
        draft = backend.chat_config.with_suffix(".draft")
        draft.write_text(yaml.safe_dump(content))
        draft.rename(backend.chat_config)
    eventually(lambda: backend.health()["config_error"] is None, 30, "the good configuration is in use")


def roll_out(backend: Backend) -> None:
    """A changed deployment, as `serve deploy` does it: every replica and the ingress are replaced."""
    eventually(lambda: running(backend) == REPLICAS, 120, "all replicas")
    before = {replica["replica_id"] for replica in _replicas(backend)}

    def change(application: dict[str, Any]) -> None:
        args = application["args"]
        args["encoding_cache_mb"] = args.get("encoding_cache_mb", 64) + 1

    backend.deploy(change)
    eventually(lambda: _all_are_new(backend, before), 180, "the new replicas alone")


def scale_down_and_up(backend: Backend) -> None:
    """To a single replica, whose fellow finishes its replies first; then to as many as before."""
    _scale(backend, 1)
    _scale(backend, REPLICAS)


def _scale(backend: Backend, replicas: int) -> None:
    def change(application: dict[str, Any]) -> None:
        model_deployment(application)["autoscaling_config"] |= {"min_replicas": replicas, "max_replicas": replicas}

    backend.deploy(change)
    eventually(lambda: len(_replicas(backend)) == running(backend) == replicas, 120, f"{replicas} replicas")


def fail_to_start(backend: Backend) -> None:
    """A replica dies, and those that are to replace it cannot start until the model's files are back."""
    config = yaml.safe_load(backend.config.read_text())
    model = Path(config["applications"][0]["args"]["model"])
    away = model.with_name("away")
    model.rename(away)
    try:
        kill("GodelModel")(backend)
        eventually(lambda: "failed to start" in backend.serve("status").stdout, 120, "a start that fails")
    finally:
        away.rename(model)


def _all_are_new(backend: Backend, before: set[str]) -> bool:
    now = {replica["replica_id"] for replica in _replicas(backend)}
    return len(now) == REPLICAS and not now & before


def storm(backend: Backend) -> None:
    """One `serve deploy` after the other, while something is killed every few seconds."""
    calm = threading.Event()
    rng = random.Random(1)

    def reap() -> None:
        while not calm.wait(rng.uniform(4, 8)):
            with suppress(psutil.NoSuchProcess, StopIteration):  # it has just gone, or is not there yet
                process_of(backend, rng.choice(("GodelModel", "Ingress", "ServeController", "Proxy"))).kill()

    reaper = threading.Thread(target=reap)
    reaper.start()
    try:
        for _ in range(2):
            roll_out(backend)
    finally:
        calm.set()
        reaper.join()


FAULTS: dict[str, Fault] = {
    "kill -9 of a model replica": kill("GodelModel"),
    "SIGSTOP of a model replica": stop("GodelModel"),
    "kill -9 of the only ingress": kill("Ingress"),
    "SIGSTOP of the only ingress": stop("Ingress"),
    "kill -9 of Serve's controller": kill("ServeController"),
    "SIGSTOP of Serve's controller, for 15 s": pause("ServeController", 15),
    "kill -9 of HAProxy": kill("haproxy"),
    "SIGSTOP of HAProxy": stop("haproxy"),
    "kill -9 of the proxy's manager": kill("HAProxyManager"),
    "SIGSTOP of the proxy's manager": stop("HAProxyManager"),
    "serve deploy of a changed deployment": roll_out,
    "scaled down to one replica, and up again": scale_down_and_up,
    "kill -9 of a model replica whose successors fail to start": fail_to_start,
    "the configuration spoilt, lost, and edited fifty times": spoil_configuration,
    "two deployments one after the other, and a kill -9 every few seconds": storm,
}

# Of these `make test` takes what fails in the most different ways; `make chaos` takes all.
IN_SHORT = (
    "kill -9 of a model replica",
    "SIGSTOP of a model replica",
    "kill -9 of the only ingress",
    "kill -9 of HAProxy",
    "scaled down to one replica, and up again",
)


@contextmanager
def backend_to_break(folder: Path) -> Iterator[Backend]:
    scaling = {"autoscaling_config": {"min_replicas": REPLICAS, "max_replicas": REPLICAS}}
    model = shutil.copytree(ROOT / "models/mini", folder / "model")
    args = {"stall_limit_s": STALL_LIMIT_S, "model": str(model), "fallback_model": None}
    with run_backend(folder, args, scaling) as backend:
        eventually(lambda: running(backend) == REPLICAS, 60, "all replicas")
        yield backend


def pinger_of(backend: Backend) -> Pinger:
    return Pinger(backend.url, _CLIENTS)


def break_under_load(
    backend: Backend, pinger: Pinger, name: str, break_something: Callable[[], None]
) -> tuple[Record, float]:
    """-> what became of the requests, and the seconds until the last trouble; all is as before then."""
    with pinger.load() as record:
        eventually(lambda: record.identical >= _BEFORE, 60, "a load that runs")
        broken_at = time.monotonic()
        break_something()
        seen = record.identical

        def is_over() -> bool:
            # For as long as it takes to notice, what is broken may seem to run.
            noticed = time.monotonic() - broken_at > STALL_LIMIT_S + 2
            return noticed and record.identical >= seen + _AFTER and running(backend) == REPLICAS

        eventually(is_over, 120, f"recovery from {name}")
    return record, max(0.0, record.last_trouble_at - broken_at)


def running(backend: Backend) -> int:
    return sum(replica["state"] == "RUNNING" for replica in _replicas(backend))


def _replicas(backend: Backend) -> list[dict[str, Any]]:
    try:
        return backend.replicas()
    except (requests.RequestException, KeyError):  # no server answers
        return []


def _has_ended(process: psutil.Process) -> bool:
    try:
        return process.status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True


def _busiest(backend: Backend, name: str) -> psutil.Process:
    """Of those with that name the one that computes most: under load it is in the middle of something."""
    processes = processes_of(backend, name)
    for process in processes:
        process.cpu_percent()
    time.sleep(_LOOK_S)
    return max(processes, key=lambda process: process.cpu_percent())


def process_of(backend: Backend, name: str) -> psutil.Process:
    """The first with that name."""
    return next(iter(processes_of(backend, name)))


def processes_of(backend: Backend, name: str) -> list[psutil.Process]:
    """Those with that name that are no ghosts."""
    return [
        process
        for process in backend.processes()
        if not _has_ended(process) and name in f"{process.name()} {' '.join(process.cmdline())}"
    ]
