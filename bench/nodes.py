"""What a service of many replicas and nodes costs, at rest and for each request: `python -m bench.nodes`, ten minutes.

A Ray cluster of small nodes on this machine, with real replicas, proxies and a controller of Serve, over a model that
only waits (`bench/stub_app.py`). For more and more of them it prints, as Markdown, the processor time that one process
of each kind takes in a second: what grows with the replicas or with the ingresses gives way first.
"""

import asyncio
import os
import secrets
import sys
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass

import aiohttp
import click
import psutil
import requests

SECONDS = 20.0  # of each measurement
SETTLE_S = 10.0
START_S = 900.0
RATE = 20.0  # requests/s of the load
URL = "http://127.0.0.1:8000/"

# Parts of the command lines as Ray writes them. The last is of all that remains.
KINDS = {
    "ingress": "ray::ServeReplica:nodes:StubIngress",
    "replica": "ray::ServeReplica:nodes:StubModel",
    "controller": "ray::ServeController",
    "proxy": "ray::ProxyActor",
    "GCS": "/gcs_server",
    "raylet": "/raylet",
    "agents": "/ray/",
}
ENVIRONMENT = {
    "RAY_AUTH_MODE": "token",  # Ray runs any code that it is sent
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_SERVE_ENABLE_HA_PROXY": "0",
    "RAY_SERVE_THROUGHPUT_OPTIMIZED": "0",
    "OMP_NUM_THREADS": "1",
}


@dataclass(frozen=True)
class Used:
    """Processor time in ms a second of all processes of a kind, and how many they are."""

    ms: Mapping[str, float]
    number: Counter[str]

    def one(self, kind: str) -> float:
        """Of one of them."""
        return self.ms[kind] / max(1, self.number[kind])

    @property
    def cores(self) -> float:
        """Of all."""
        return sum(self.ms.values()) / 1_000


@click.command()
@click.option("--nodes", default=10, show_default=True)
@click.option("--sizes", default="25x5 50x10 100x20", show_default=True, help="model replicas x ingresses")
def main(nodes: int, sizes: str) -> None:
    """Measure services of more and more replicas."""
    services = [tuple(map(int, size.split("x"))) for size in sizes.split()]
    most = max(replicas for replicas, _ in services)
    click.echo(f"| replicas | ingresses | status calls/s | {' | '.join(KINDS)} | all, cores |")
    click.echo("|" + "---|" * (4 + len(KINDS)))
    with _cluster(nodes, cpus=-(-most // nodes) + 1):
        for replicas, ingresses in services:
            _measure(replicas, ingresses)


def _measure(replicas: int, ingresses: int) -> None:
    for watches in (False, True):
        with _progress(f"{replicas} x {ingresses}{'' if watches else ', whose pools ask nobody'}"):
            _deploy(replicas, ingresses, watches)
        time.sleep(SETTLE_S)
        idle = used(lambda: time.sleep(SECONDS))
        cells = [f"{idle.one(kind):.1f}" for kind in KINDS]
        calls = replicas * ingresses if watches else 0
        click.echo(f"| {replicas} | {ingresses} | {calls:,} | {' | '.join(cells)} | {idle.cores:.2f} |")
    times: list[float] = []
    busy = used(lambda: times.extend(asyncio.run(_load())))
    a_request = {kind: (busy.ms[kind] - idle.ms[kind]) / RATE for kind in KINDS}
    told = ", ".join(f"{kind} {ms:.1f}" for kind, ms in a_request.items())
    p50, p95 = (sorted(times)[int(share * len(times))] * 1_000 for share in (0.5, 0.95))
    click.echo(f"\n{RATE:.0f} requests/s: ms of processor time for each: {told}; p50 {p50:.0f} ms, p95 {p95:.0f} ms\n")


def used(act: Callable[[], object]) -> Used:
    """What Ray's processes use while `act` goes on; of those that are there before and after it."""
    before, began = _processes(), time.monotonic()
    act()
    after, seconds = _processes(), time.monotonic() - began
    ms: defaultdict[str, float] = defaultdict(float)
    number: Counter[str] = Counter()
    for pid in before.keys() & after.keys():
        kind = after[pid][0]
        number[kind] += 1
        ms[kind] += (after[pid][1] - before[pid][1]) * 1_000 / seconds
    return Used(ms, number)


def _processes() -> dict[int, tuple[str, float]]:
    """Kind, and processor time in seconds, by process id."""
    found = {}
    for process in psutil.process_iter(["cmdline", "cpu_times"]):
        command, times = " ".join(process.info["cmdline"] or ())[:2_000], process.info["cpu_times"]
        kind = next((kind for kind, part in KINDS.items() if part in command.split(" --", 1)[0]), None)
        if kind and times:
            found[process.pid] = (kind, times.user + times.system)
    return found


def _deploy(replicas: int, ingresses: int, watches: bool) -> None:
    """Return when all run, and each ingress that watches has heard all replicas."""
    from ray import serve
    from ray.serve._private.common import ReplicaState

    from bench.stub_app import APP, build

    serve.run(build(replicas, ingresses, watches=watches), name=APP, route_prefix="/", blocking=False)
    deadline = time.monotonic() + START_S
    while time.monotonic() < deadline:
        deployments = serve.status().applications[APP].deployments
        running = [
            deployments[name].replica_states.get(ReplicaState.RUNNING, 0) for name in ("StubModel", "StubIngress")
        ]
        if running == [replicas, ingresses] and serve.status().applications[APP].status == "RUNNING":
            answer = requests.get(URL + "ready", timeout=30)
            if answer.ok and (not watches or answer.json()["ready"] == replicas):
                return
        time.sleep(1)
    raise click.ClickException(f"{replicas} replicas and {ingresses} ingresses were not ready after {START_S:.0f} s")


async def _load() -> list[float]:
    """Requests at a fixed rate for `SECONDS`; the seconds that each took."""

    async def ask() -> float:
        began = time.monotonic()
        async with session.get(URL) as answer:
            answer.raise_for_status()
            await answer.read()
        return time.monotonic() - began

    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)) as session, asyncio.TaskGroup() as group:
        asked = []
        for _ in range(int(RATE * SECONDS)):
            asked.append(group.create_task(ask()))
            await asyncio.sleep(1 / RATE)
    return [each.result() for each in asked]


@contextmanager
def _cluster(nodes: int, cpus: int) -> Iterator[None]:
    """A cluster on this machine with Serve on each node, stopped afterwards."""
    os.environ.update(ENVIRONMENT, RAY_AUTH_TOKEN=secrets.token_hex(16))  # before Ray is imported, which reads them
    import ray
    from ray import serve
    from ray.cluster_utils import Cluster

    cluster = Cluster()
    try:
        for number in range(nodes):
            with _progress(f"node {number + 1} of {nodes}"):
                cluster.add_node(num_cpus=cpus, include_dashboard=False, object_store_memory=80 * 1024**2)
        ray.init(address=cluster.address, log_to_driver=False)
        serve.start(proxy_location="EveryNode", http_options={"host": "127.0.0.1", "port": 8000})
        yield
        serve.shutdown()  # type: ignore[no-untyped-call]  # Ray's
    finally:
        ray.shutdown()
        cluster.shutdown()  # type: ignore[no-untyped-call]  # Ray's


@contextmanager
def _progress(what: str) -> Iterator[None]:
    began = time.monotonic()
    yield
    free = psutil.virtual_memory().available / 1024**3
    sys.stderr.write(f"{what}: {time.monotonic() - began:.0f} s; {free:.1f} GiB of memory are free\n")


if __name__ == "__main__":
    main()
