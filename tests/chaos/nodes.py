"""Several Ray nodes on this machine, with their state in a real Redis, and what can become of them."""

import os
import shutil
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil

from launcher import haproxy
from launcher.preflight import free_port
from launcher.serve_environment import QUICK_REPLACEMENT
from tests.chaos.faults import REPLICAS, STALL_LIMIT_S, kill, roll_out, running, stop
from tests.support.backend import Backend, run_backend
from tests.support.waiting import eventually

_WORKERS = REPLICAS  # a model replica and an ingress on each
_GCS_AWAY_S = 3.0
# As its voltage sinks: what a node has begun then is certain to end with it, however quick replies are.
_FALTERS_S = 1.0
# A node that does not answer is given up after 4 s; by default after 20 s and more.
_QUICK_VERDICT = {
    "health_check_initial_delay_ms": 1000,
    "health_check_period_ms": 1000,
    "health_check_timeout_ms": 2000,
    "health_check_failure_threshold": 2,
}


@dataclass(frozen=True)
class Nodes(Backend):
    """The application on several nodes, behind Serve's own proxy on the head."""

    cluster: Any  # ray.cluster_utils.Cluster, which has no types

    def processes(self) -> list[psutil.Process]:
        return psutil.Process().children(recursive=True)

    def stop(self) -> None:
        """At once: what the nodes held is of no use any more."""
        self.process.kill()
        self.process.wait()
        for node in (*self.cluster.worker_nodes, self.cluster.head_node):
            _kill(_processes_of(node))
        self.cluster.shutdown()

    def lose_a_node(self) -> None:
        """A machine loses its power, and another one takes its place."""
        node = self._a_worker()
        processes = _processes_of(node)
        _suspend(processes)
        time.sleep(_FALTERS_S)
        self._lose(node, processes)

    def lose_a_raylet(self) -> None:
        """Ray's own process on a machine dies; what it had started notices, and ends."""
        node = self._a_worker()
        self._lose(node, [_raylet_of(node)])

    def _lose(self, node: Any, processes: list[psutil.Process]) -> None:
        _kill(processes)
        self.cluster.remove_node(node, allow_graceful=False)
        self._add_worker()

    def freeze_a_node(self) -> None:
        """A machine hangs until its replicas are replaced, on another one; then it loses its power."""
        node = self._a_worker()
        self._freeze(node, _processes_of(node))

    def freeze_a_raylet(self) -> None:
        """Of a machine hangs Ray's process alone."""
        node = self._a_worker()
        self._freeze(node, [_raylet_of(node)])

    def _freeze(self, node: Any, processes: list[psutil.Process]) -> None:
        _suspend(processes)
        before = {replica["node_id"] for replica in self.replicas()}
        self._add_worker()
        eventually(lambda: {each["node_id"] for each in _running(self)} - before != set(), 120, "a replica elsewhere")
        _kill(_processes_of(node))
        self.cluster.remove_node(node, allow_graceful=False)

    def restart_gcs(self) -> None:
        """Ray's head service dies, and comes again with what Redis has kept."""
        self.cluster.head_node.kill_gcs_server(check_alive=False)
        time.sleep(_GCS_AWAY_S)
        self.cluster.head_node.start_gcs_server()

    def _a_worker(self) -> Any:
        return next(iter(self.cluster.worker_nodes))

    def _add_worker(self) -> None:
        self.cluster.add_node(num_cpus=2)


def _suspend(processes: list[psutil.Process]) -> None:
    for process in processes:
        with suppress(psutil.NoSuchProcess):
            process.suspend()


def _kill(processes: list[psutil.Process]) -> None:
    for process in processes:
        with suppress(psutil.NoSuchProcess):
            process.kill()


def _processes_of(node: Any) -> list[psutil.Process]:
    """A node's own processes, and all that they started."""
    found: list[psutil.Process] = []
    for _, process in node.live_processes():
        with suppress(psutil.NoSuchProcess):
            found += [psutil.Process(process.pid), *psutil.Process(process.pid).children(recursive=True)]
    return found


def _raylet_of(node: Any) -> psutil.Process:
    return next(psutil.Process(process.pid) for kind, process in node.live_processes() if kind == "raylet")


def _running(backend: Backend) -> list[dict[str, Any]]:
    return [replica for replica in backend.replicas() if replica["state"] == "RUNNING"]


NODE_FAULTS: dict[str, Callable[[Nodes], None]] = {
    "kill -9 of a node": Nodes.lose_a_node,
    "GCS killed, and back 3 s later": Nodes.restart_gcs,
    "SIGSTOP of a node": Nodes.freeze_a_node,
    "kill -9 of a raylet": Nodes.lose_a_raylet,
    "SIGSTOP of a raylet": Nodes.freeze_a_raylet,
    "kill -9 of a model replica, many nodes": kill("GodelModel"),
    "SIGSTOP of a model replica, many nodes": stop("GodelModel"),
    "kill -9 of one of two ingresses": kill("Ingress"),
    "kill -9 of Serve's proxy": kill("ProxyActor"),
    "SIGSTOP of Serve's proxy": stop("ProxyActor"),
    "kill -9 of Serve's controller, many nodes": kill("ServeController"),
    "serve deploy of a changed deployment, many nodes": roll_out,
}
NODE_FAULTS_IN_SHORT = ("kill -9 of a node", "GCS killed, and back 3 s later")


@contextmanager
def nodes_to_break(folder: Path) -> Iterator[Nodes]:
    from ray.cluster_utils import Cluster  # here: it is slow to import, and most of the tests' processes need it not

    environment = {"RAY_AUTH_MODE": "disabled", "RAY_USAGE_STATS_ENABLED": "0"} | QUICK_REPLACEMENT | haproxy.OFF
    with _redis(folder) as redis, _in_environment(environment | {"RAY_REDIS_ADDRESS": redis}):
        cluster = Cluster(
            initialize_head=True,
            head_node_args={"num_cpus": 0, "gcs_server_port": free_port(), "_system_config": _QUICK_VERDICT},
        )
        try:
            for _ in range(_WORKERS):
                cluster.add_node(num_cpus=2)
            with run_backend(
                folder,
                {"stall_limit_s": STALL_LIMIT_S},
                {"num_replicas": REPLICAS, "max_replicas_per_node": 1, "autoscaling_config": None},
                ingress_deployment={"num_replicas": 2},
                proxy_location="HeadOnly",
                behind="serves-own",
                address=cluster.address,
            ) as backend:
                nodes = Nodes(**vars(backend), cluster=cluster)
                eventually(lambda: running(nodes) == REPLICAS, 60, "all replicas")
                yield nodes
                nodes.stop()
        finally:
            cluster.shutdown()  # type: ignore[no-untyped-call]  # Ray's


@contextmanager
def _redis(folder: Path) -> Iterator[str]:
    port = free_port()
    command = ["redis-server", "--port", str(port), "--bind", "127.0.0.1", "--save", "", "--dir", str(folder)]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    try:
        eventually(lambda: _listens(port), 30, "Redis listens")
        yield f"127.0.0.1:{port}"
    finally:
        process.kill()
        process.wait()


def has_redis() -> bool:
    return shutil.which("redis-server") is not None


def _listens(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


@contextmanager
def _in_environment(variables: dict[str, str]) -> Iterator[None]:
    before = dict(os.environ)
    os.environ.update(variables)
    try:
        yield
    finally:
        os.environ.clear()
        os.environ.update(before)
