"""A real backend for tests: `serve run` in a process of its own, from the repository's serve_config.yaml."""

import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import psutil
import requests
import yaml

from launcher import haproxy
from launcher.preflight import free_port
from launcher.serve_environment import QUICK_REPLACEMENT
from tests.support.collector import Collector
from tests.support.waiting import eventually

ROOT = Path(__file__).resolve().parents[2]
Proxy = Literal["haproxy", "serves-own"]
PROXIES: tuple[Proxy, ...] = ("haproxy", "serves-own")  # in front of the ingress: make run's, and where it has none
START_S = 120
STOP_S = 60


@dataclass(frozen=True)
class Backend:
    url: str
    config: Path  # what it was started with, and
    chat_config: Path  # the other; copies of its own: a test may edit them
    log: Path
    process: subprocess.Popen[bytes]
    collector: Collector | None  # where its spans go

    def chat(self, *dialog: str, **fields: Any) -> requests.Response:
        return requests.post(f"{self.url}/chat", json={"dialog": list(dialog)} | fields, timeout=60)

    def health(self) -> dict[str, Any]:
        body: dict[str, Any] = requests.get(f"{self.url}/health", timeout=10).json()
        return body

    def replicas(self) -> list[dict[str, Any]]:
        body: list[dict[str, Any]] = requests.get(f"{self.url}/replicas", timeout=10).json()["replicas"]
        return body

    def ingress(self) -> str:
        """The replica id of one that answers."""
        answer = requests.get(f"{self.url}/replicas", timeout=10).json()
        return str(answer["ingress"]["replica_id"])

    @property
    def dashboard(self) -> str:
        """Where Ray has its dashboard."""
        found = re.search(r"View the dashboard at \S*?(http://[\w.:]+)", self.log.read_text())
        assert found, f"no dashboard in {self.log}"
        return found[1]

    def deploy(self, change: Callable[[dict[str, Any]], None]) -> None:
        """`serve deploy` of the configuration, whose application `change` changes; again where no dashboard answers."""
        config = yaml.safe_load(self.config.read_text())
        change(config["applications"][0])
        self.config.write_text(yaml.safe_dump(config))
        eventually(lambda: self.serve("deploy", str(self.config)).returncode == 0, 120, f"serve deploy; see {self.log}")

    def serve(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Serve's own command line; its errors are in the backend's log."""
        command = [sys.executable, "-m", "ray.serve.scripts", *arguments, "--address", self.dashboard]
        environment = {"RAY_AUTH_MODE": "token"} | os.environ  # the one that the local cluster has made
        with self.log.open("ab") as log:
            return subprocess.run(
                command,
                check=False,
                stdout=subprocess.PIPE,
                stderr=log,
                timeout=60,
                cwd=ROOT,
                env=environment,
                text=True,
            )

    @property
    def ray_logs(self) -> Path:
        arguments = [argument for process in self.processes() for argument in process.cmdline()]
        (session,) = {match[1] for argument in arguments if (match := re.search(r"(/\S*session_[^/\s]+)/", argument))}
        return Path(session) / "logs"

    def lines_about(self, request_id: str) -> list[dict[str, str]]:
        """What the replicas have logged about a request."""
        files = (self.ray_logs / "serve").glob("replica_*.log")
        return [json.loads(line) for file in files for line in file.read_text().splitlines() if request_id in line]

    def stop(self) -> None:
        """What a person's Ctrl-C does; no process of the cluster survives it."""
        started = self.processes()
        self.process.send_signal(signal.SIGTERM)
        self.process.wait(STOP_S)
        _, alive = psutil.wait_procs(started, timeout=STOP_S)
        for process in alive:
            process.kill()

    def processes(self) -> list[psutil.Process]:
        """The cluster's processes: all that `serve run` started."""
        return psutil.Process(self.process.pid).children(recursive=True) if self.process.poll() is None else []

    def is_idle(self) -> bool:
        """Whether no slot is taken, and no request waits."""
        return all(replica["active"] == replica["waiting"] == 0 for replica in self.replicas())

    def memory(self) -> int:
        """Bytes that the application's replicas, and Serve's proxy before them, have in memory."""
        parts = [each for each in self.processes() if re.search("ServeReplica|ProxyActor", " ".join(each.cmdline()))]
        return sum(part.memory_info().rss for part in parts)

    def metrics(self) -> list[str]:
        """The lines that Prometheus gets from the node's agent, which are some seconds old."""
        agent = next(process for process in self.processes() if process.name() == "ray::DashboardAgent")
        for port in {each.laddr.port for each in agent.net_connections("tcp") if each.status == "LISTEN"}:
            try:
                text = requests.get(f"http://127.0.0.1:{port}/metrics", timeout=10).text
            except requests.RequestException:  # another of its ports
                continue
            if samples := re.findall(r"^ray_.*", text, re.MULTILINE):
                return samples
        return []


@contextmanager
def run_backend(
    folder: Path,
    args: dict[str, Any] | None = None,
    model_deployment: dict[str, Any] | None = None,
    port: int | None = None,
    behind: Proxy = "haproxy",
    ingress_deployment: dict[str, Any] | None = None,
    proxy_location: str = "EveryNode",
    address: str = "local",
    max_replicas: int | None = None,
    collector: Collector | None = None,
) -> Iterator[Backend]:
    """The shipped configuration on a port of its own, with `args` and the deployments' options replaced.

    max_replicas: of the model, beside the rest of its autoscaling.
    address: of a cluster that runs; by default one is started.
    collector: of its spans; None: it makes none.
    """
    chat_config = folder / "chatbot.yaml"
    chat_config.write_bytes((ROOT / "configs/chatbot.yaml").read_bytes())
    config = yaml.safe_load((ROOT / "serve_config.yaml").read_text())
    port = port or free_port()
    config["http_options"]["port"] = port
    config["proxy_location"] = proxy_location
    application = config["applications"][0]
    application["args"] |= {"model": "models/mini", "chat_config": str(chat_config)} | (args or {})
    changed = {"GodelModel": model_deployment or {}, "Ingress": ingress_deployment or {}}
    for deployment in application["deployments"]:
        deployment |= changed[deployment["name"]]
        if "autoscaling_config" in deployment and max_replicas:
            deployment["autoscaling_config"]["max_replicas"] = max_replicas
    config_file = folder / "serve_config.yaml"
    config_file.write_text(yaml.safe_dump(config))
    log = folder / "serve.log"
    with haproxy.prepared() as proxy, log.open("wb") as output:
        process = subprocess.Popen(
            [sys.executable, "-m", "ray.serve.scripts", "run", "--address", address, str(config_file)],
            cwd=ROOT,
            env=os.environ
            | {"RAY_USAGE_STATS_ENABLED": "0", "RAY_metrics_report_interval_ms": "1000", "PYTHONPATH": str(ROOT)}
            | QUICK_REPLACEMENT
            | (proxy if behind == "haproxy" else haproxy.OFF)
            | (collector.environment if collector else {}),
            stdout=output,
            stderr=subprocess.STDOUT,
        )
        backend = Backend(f"http://127.0.0.1:{port}", config_file, chat_config, log, process, collector)
        try:
            healthy = f"a healthy backend; see {log}"
            eventually(lambda: is_healthy(backend.url) or _exited(process, log), START_S, healthy)
            yield backend
        finally:
            backend.stop()


def model_deployment(application: dict[str, Any]) -> dict[str, Any]:
    """The options of the model replicas."""
    found: dict[str, Any] = next(each for each in application["deployments"] if each["name"] == "GodelModel")
    return found


def is_healthy(url: str) -> bool:
    try:
        return bool(requests.get(f"{url}/health", timeout=5).json().get("status") == "ok")
    except requests.RequestException:  # not there yet, or Serve holds the request until it is
        return False


def _exited(process: subprocess.Popen[bytes], log: Path) -> bool:
    if process.poll() is not None:
        raise AssertionError(f"the backend exited with {process.returncode}:\n{log.read_text()[-3000:]}")
    return False
