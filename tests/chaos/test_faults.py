"""Components of a real backend are killed and stopped under load: no reply is lost, and none differs.

Each test prints what became of the requests (`-s` shows it).
"""

import sys
import time
from collections.abc import Callable, Iterator

import psutil
import pytest

from tests.backend import Backend, eventually, run_backend
from tests.chaos.pinger import Pinger, Record

REPLICAS = 2
STALL_LIMIT_S = 4.0


@pytest.fixture(scope="module")
def backend(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Backend]:
    scaling = {"min_replicas": REPLICAS, "max_replicas": REPLICAS}
    with run_backend(
        tmp_path_factory.mktemp("faults"),
        args={"stall_limit_s": STALL_LIMIT_S},
        model_deployment={"autoscaling_config": scaling, "health_check_period_s": 2, "health_check_timeout_s": 5},
    ) as running:
        eventually(lambda: _running(running) == REPLICAS, 60, "all replicas")
        yield running


@pytest.fixture(scope="module")
def pinger(backend: Backend) -> Pinger:
    return Pinger(backend.url, clients=6)


def test_a_killed_model_replica(backend: Backend, pinger: Pinger) -> None:
    record = _under_load(backend, pinger, "kill -9 of a model replica", lambda: _one(backend, "GodelModel").kill())
    assert record.taken_over, "it wrote nothing when it died"


def test_a_stopped_model_replica(backend: Backend, pinger: Pinger) -> None:
    stopped = _one(backend, "GodelModel")
    record = _under_load(backend, pinger, "SIGSTOP of a model replica", stopped.suspend)
    assert record.taken_over, "it wrote nothing when it was stopped"
    assert not stopped.is_running() or stopped.status() == psutil.STATUS_ZOMBIE, "Serve replaced it"


def test_a_killed_ingress(backend: Backend, pinger: Pinger) -> None:
    record = _under_load(backend, pinger, "kill -9 of the only ingress", lambda: _one(backend, "Ingress").kill())
    assert record.asked_again


def test_a_killed_controller(backend: Backend, pinger: Pinger) -> None:
    _under_load(backend, pinger, "kill -9 of Serve's controller", lambda: _one(backend, "ServeController").kill())


def test_a_killed_proxy(backend: Backend, pinger: Pinger) -> None:
    _under_load(backend, pinger, "kill -9 of HAProxy", lambda: _one(backend, "haproxy").kill())


def _under_load(backend: Backend, pinger: Pinger, name: str, fault: Callable[[], None]) -> Record:
    """Nothing is lost or wrong; afterwards all is as before."""
    with pinger.load() as record:
        eventually(lambda: record.identical > 12, 60, "a load that runs")
        broken_at = time.monotonic()
        fault()
        seen = record.identical
        eventually(lambda: record.identical > seen + 60 and _is_whole(backend, broken_at), 90, f"recovery from {name}")
    sys.stdout.write(record.line(name, max(0.0, record.last_trouble_at - broken_at)) + "\n")
    assert not record.lost and not record.wrong
    assert record.identical == record.sent
    return record


def _is_whole(backend: Backend, broken_at: float) -> bool:
    # For as long as it takes to notice a stalled replica, one may seem to run.
    return time.monotonic() - broken_at > STALL_LIMIT_S + 2 and _running(backend) == REPLICAS


def _running(backend: Backend) -> int:
    try:
        return sum(replica["state"] == "RUNNING" for replica in backend.replicas())
    except Exception:
        return 0


def _one(backend: Backend, name: str) -> psutil.Process:
    return next(process for process in backend.processes() if name in f"{process.name()} {' '.join(process.cmdline())}")
