"""A real Prometheus, with the rules and the dashboard as they are shipped, watches a real service under load.

Every panel has data, every rule works, and no alert fires.
"""

import json
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import requests
import yaml

from launcher.preflight import free_port
from manifest_checks.monitoring import selectors
from manifest_checks.render import program
from tests.support.backend import ROOT, Backend
from tests.support.waiting import eventually

MONITORING = ROOT / "kuberay/overlays/monitoring"
RULES = yaml.safe_load((MONITORING / "godel-prometheusrule.yaml").read_text())["spec"]
PANELS = json.loads((MONITORING / "dashboard.json").read_text())["panels"]

# What alerts look for, and a healthy service does not have; other tests may have filled this one's queue before.
EMPTY_IN_HEALTH = {
    'ray_godel_refusals_total{reason="no_replica"}',
    'ray_godel_refusals_total{reason=~"queue_full|share|hopeless"}',
}

# One backend is enough: what its proxy counts is not asked for.
pytestmark = pytest.mark.parametrize("real_backend", ["haproxy"], indirect=True)


@dataclass(frozen=True)
class Prometheus:
    url: str

    def ask(self, question: str) -> list[tuple[dict[str, str], float]]:
        """The series that answer it, each with its value now; those that are no number are left out."""
        found = requests.get(f"{self.url}/api/v1/query", params={"query": question}, timeout=10).json()
        assert found["status"] == "success", (question, found)
        samples = [(each["metric"], float(each["value"][1])) for each in found["data"]["result"]]
        return [(labels, value) for labels, value in samples if value == value]

    def rules(self) -> list[dict[str, Any]]:
        groups = requests.get(f"{self.url}/api/v1/rules", timeout=10).json()["data"]["groups"]
        return [rule for group in groups for rule in group["rules"]]


@pytest.fixture
def prometheus(backend: Backend, tmp_path: Path) -> Iterator[Prometheus]:
    """Scrapes Ray's agent, and a real frontend, which it starts; both are under load meanwhile."""
    if program("prometheus") is None:
        pytest.skip("there is no prometheus, so what it is asked was only parsed; `make promtool` fetches it")
    with frontend(backend.url, tmp_path) as (page, frontend_metrics), load(backend, page):
        eventually(lambda: bool(_agent(backend)), 30, "Ray's metrics")
        with scraping(tmp_path, {"ray": _agent(backend), "frontend": frontend_metrics}) as running:
            yield running


def test_every_panel_has_data_and_no_alert_fires(prometheus: Prometheus) -> None:
    missing = {target["expr"] for panel in PANELS for target in panel["targets"]}
    missing |= {rule["record"] for group in RULES["groups"] for rule in group["rules"] if "record" in rule}
    missing |= {_text(each) for group in RULES["groups"] for rule in group["rules"] for each in selectors(rule["expr"])}
    missing -= EMPTY_IN_HEALTH
    assert len(missing) > 50

    def all_there() -> bool:
        missing.difference_update([question for question in missing if prometheus.ask(question)])
        return not missing

    with suppress(AssertionError):
        eventually(all_there, 90, "all of it in Prometheus")
    assert missing == set()
    rules = prometheus.rules()
    assert len(rules) == sum(len(group["rules"]) for group in RULES["groups"])
    assert [rule["name"] for rule in rules if rule["health"] != "ok"] == []
    assert [rule["name"] for rule in rules if rule.get("state") == "firing"] == []
    _check_labels(prometheus)


def _check_labels(prometheus: Prometheus) -> None:
    """They are of this service's making: no word of what was asked, and nothing else that a client chose."""
    names = {labels["ending"] for labels, _ in prometheus.ask("ray_godel_replies_total")}
    assert {"done", "deadline"} <= names <= {"done", "deadline", "cancelled", "failed"}
    everything = prometheus.ask('{__name__=~"ray_godel_.*|frontend_.*"}')
    assert everything
    assert not [labels for labels, _ in everything if "zebra" in str(labels).lower()]
    assert [value for labels, value in prometheus.ask('ray_godel_refusals_total{reason="invalid_request"}')] != []


@contextmanager
def load(backend: Backend, page: str) -> Iterator[None]:
    """A few people ask: in both modes, one in vain, one wrongly, and one at the page."""
    stop = threading.Event()
    visitor = requests.Session()
    visitor.get(page, timeout=30)

    def people() -> None:
        while not stop.is_set():
            backend.chat("What is a zebra's pod?")
            backend.chat("And a node?", generation={"quote": False, "max_length": 20})
            visitor.post(f"{page}/messages", data={"text": "Who is a zebra?", "conversation": ""}, timeout=60)
            backend.chat(" ")

    eventually(lambda: _is_late(backend), 60, "a reply that is not complete in time")
    with ThreadPoolExecutor(2) as pool:
        asking = [pool.submit(people) for _ in range(2)]
        try:
            yield
        finally:
            stop.set()
    for each in asking:
        each.result()


def _is_late(backend: Backend) -> bool:
    """Whether the least deadline, a second, was too short for one of so many long replies, each slow to choose."""
    slow = {"quote": False, "max_length": 256, "min_length": 256, "do_sample": True, "no_repeat_ngram_size": 3}

    def ask(number: int) -> int:
        return backend.chat(f"Too late for {number}?", timeout_s=1, generation=slow).status_code

    with ThreadPoolExecutor(32) as pool:
        return 504 in list(pool.map(ask, range(32)))


@contextmanager
def frontend(backend_url: str, folder: Path) -> Iterator[tuple[str, str]]:
    """Its page's URL, and the address of its metrics."""
    port, metrics_port = free_port(), free_port()
    environment = os.environ | {
        "FRONTEND_PORT": str(port),
        "FRONTEND_METRICS_PORT": str(metrics_port),
        "FRONTEND_BACKEND_URL": backend_url,
        "FRONTEND_DATABASE_URL": f"sqlite:///{folder}/chats.sqlite3",
    }
    with _running([sys.executable, "-m", "frontend"], folder / "frontend.log", environment):
        page = f"http://127.0.0.1:{port}"
        eventually(lambda: _answers(f"{page}/readyz"), 60, f"the frontend; see {folder}/frontend.log")
        yield page, f"127.0.0.1:{metrics_port}"


@contextmanager
def scraping(folder: Path, targets: dict[str, str]) -> Iterator[Prometheus]:
    every = {"scrape_interval": "1s", "evaluation_interval": "1s"}
    jobs = [{"job_name": job, "static_configs": [{"targets": [target]}]} for job, target in targets.items()]
    (folder / "rules.yaml").write_text(yaml.safe_dump(RULES))
    config = folder / "prometheus.yaml"
    config.write_text(yaml.safe_dump({"global": every, "rule_files": ["rules.yaml"], "scrape_configs": jobs}))
    address = f"127.0.0.1:{free_port()}"
    command = [
        str(program("prometheus")),
        f"--config.file={config}",
        f"--storage.tsdb.path={folder}/prometheus",
        f"--web.listen-address={address}",
    ]
    with _running(command, folder / "prometheus.log", dict(os.environ)):
        eventually(lambda: _answers(f"http://{address}/-/ready"), 60, f"Prometheus; see {folder}/prometheus.log")
        yield Prometheus(f"http://{address}")


@contextmanager
def _running(command: list[str], log: Path, environment: dict[str, str]) -> Iterator[None]:
    with log.open("wb") as output:
        process = subprocess.Popen(command, cwd=ROOT, env=environment, stdout=output, stderr=subprocess.STDOUT)
    try:
        yield
    finally:
        process.terminate()
        process.wait(60)


def _answers(url: str) -> bool:
    try:
        return requests.get(url, timeout=5).status_code == 200
    except requests.RequestException:
        return False


def _agent(backend: Backend) -> str:
    """The address of the node's agent, which is whom Prometheus asks on Kubernetes; empty while it has nothing."""
    agent = next(process for process in backend.processes() if process.name() == "ray::DashboardAgent")
    for port in {each.laddr.port for each in agent.net_connections("tcp") if each.status == "LISTEN"}:
        try:
            if "\nray_" in requests.get(f"http://127.0.0.1:{port}/metrics", timeout=10).text:
                return f"127.0.0.1:{port}"
        except requests.RequestException:  # another of its ports
            continue
    return ""


def _text(selector: Any) -> str:
    return str(selector.prettify()).strip()
