"""What a cluster would run, run here: the rendered overlay `local` as pods on this machine.

Head, two workers and the frontend each have a network, a process tree, a read-only root and an unprivileged user of
their own. Commands, environment, probes and grace periods are the manifests'; the operator's part of them is
stated in kuberay_pods.py. The tests build on each other: the last ones delete pods.
"""

import logging
import os
import re
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import requests
import yaml

from tests.backend import ROOT
from tests.manifests import kuberay_pods, machine
from tests.manifests.deployment import Deployment, build, tail, wait_for
from tests.manifests.machine import Machine, RunningPod, config_map
from tools.manifests.contents import deployment, serve_config
from tools.manifests.objects import nodes
from tools.manifests.render import Rendering, kubectl

START_S = 180
REPLY_S = 90
LONG = {"min_length": 250, "max_length": 256}  # a reply that takes seconds when others are written beside it
CLIENTS = 16

pytestmark = [
    pytest.mark.timeout(900),
    pytest.mark.skipif(
        os.environ.get("TEST_PODS") != "1", reason="`make test-pods` runs it, with the machine to itself"
    ),
    pytest.mark.skipif(kubectl() is None, reason="kubectl is not on the PATH"),
    pytest.mark.skipif(machine.missing() is not None, reason=f"pods cannot be run here: {machine.missing()}"),
]


@dataclass
class Chatbot:
    """The running pods."""

    deployment: Deployment
    head: RunningPod
    workers: list[RunningPod]
    frontend: RunningPod
    spare: RunningPod  # placed, not started: what the autoscaler would bring

    def chat(self, worker: RunningPod, question: str = "What is a pod?", **fields: Any) -> dict[str, Any]:
        url = f"http://{worker.address}:8000/chat"
        response = requests.post(url, json={"dialog": [question], **fields}, timeout=REPLY_S)
        assert response.status_code == 200, response.text
        reply: dict[str, Any] = response.json()
        return reply

    def replicas(self, worker: RunningPod) -> list[dict[str, Any]]:
        body = requests.get(f"http://{worker.address}:8000/replicas", timeout=30).json()
        replicas: list[dict[str, Any]] = body["replicas"]
        return replicas

    def applications(self) -> dict[str, Any]:
        applications: dict[str, Any] = self.deployment.dashboard("GET", APPLICATIONS, self.head).json()["applications"]
        return applications


log = logging.getLogger(__name__)
APPLICATIONS = "/api/serve/applications/"


@pytest.fixture(scope="module")
def chatbot(overlay: Callable[[str], Rendering], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Chatbot]:
    folder = tmp_path_factory.mktemp("pods")
    folder.parent.chmod(0o755)
    with Machine(folder) as on:
        backend_image = build(ROOT / "docker/backend.Dockerfile", "cpu", folder / "backend-image")
        frontend_image = build(ROOT / "docker/frontend.Dockerfile", "stage-2", folder / "frontend-image")
        pods = Deployment(overlay("local"), on, backend_image, frontend_image)
        pods.mount_config_maps()
        head = pods.place("head", "head")
        workers = [pods.place("worker", f"worker-{number}") for number in (1, 2)]
        frontend = pods.place("deployment", "frontend")
        spare = pods.place("worker", "worker-3")
        on.name_service(kuberay_pods.head_service(pods.service), [head])
        on.name_service(kuberay_pods.serve_service(pods.service), workers)
        running = Chatbot(pods, head, workers, frontend, spare)
        start(running)
        yield running


def start(chatbot: Chatbot) -> None:
    """In the operator's order: head, workers, the Serve config, and then the Service for the frontend."""
    pods = chatbot.deployment
    pods.start("head", chatbot.head)
    pods.start("deployment", chatbot.frontend)
    pods.wait("head", chatbot.head, "startup", START_S)
    for worker in chatbot.workers:
        pods.start("worker", worker)
    for worker in chatbot.workers:
        pods.wait("worker", worker, "startup", START_S)
    answer = pods.dashboard("PUT", APPLICATIONS, chatbot.head, scaled_out(serve_config(pods.service)))
    assert answer.status_code == 200, answer.text
    for worker in chatbot.workers:
        pods.wait("worker", worker, "readiness", START_S)
    both = "a replica on each worker"
    wait_for(lambda: len(chatbot.replicas(chatbot.workers[0])) == 2, START_S, both, chatbot.head)


def scaled_out(config: dict[str, Any]) -> dict[str, Any]:
    """The overlay's serve config with production's rule, two replicas on two nodes: the guide's scaling exercise."""
    deployment(config, "Ingress").update(num_replicas=2, max_replicas_per_node=1)
    model = deployment(config, "GodelModel")
    model["max_replicas_per_node"] = 1
    model["autoscaling_config"] |= {"min_replicas": 2, "max_replicas": 2}
    return config


def test_every_probe_passes_as_written(chatbot: Chatbot) -> None:
    pods = [("head", chatbot.head), ("deployment", chatbot.frontend), *(("worker", each) for each in chatbot.workers)]
    for role, pod in pods:
        for kind in ("startup", "readiness", "liveness"):
            chatbot.deployment.wait(role, pod, kind, 30)


def test_pods_have_no_privileges(chatbot: Chatbot) -> None:
    """As the manifests' security contexts say: neither root, nor a capability, nor a writable root file system."""
    for pod in [chatbot.head, chatbot.frontend, *chatbot.workers]:
        for process in pod.first.children(recursive=True):
            assert process.uids().effective == pod.user
        status = pod.execute(["grep", "^CapEff", "/proc/1/status"], 20).stdout.decode()
        assert status.split()[1] == "0" * 16
        for place in ("/app/x", "/etc/godel/x", "/home/x"):
            assert pod.execute(["touch", place], 20).returncode != 0


def test_strangers_cannot_use_the_cluster(chatbot: Chatbot) -> None:
    assert requests.get(f"http://{chatbot.head.address}:8265{APPLICATIONS}", timeout=30).status_code == 401


def test_the_head_runs_no_replica(chatbot: Chatbot) -> None:
    titles = [" ".join(process.cmdline()) for process in chatbot.head.first.children(recursive=True)]
    assert not [title for title in titles if title.startswith("ray::ServeReplica")]


def test_the_applications_run(chatbot: Chatbot) -> None:
    """What the operator copies to the RayService's status, and the guide says to watch."""
    assert {name: each["status"] for name, each in chatbot.applications().items()} == {"godel": "RUNNING"}


def test_both_nodes_reply_and_say_so(chatbot: Chatbot) -> None:
    with ThreadPoolExecutor(8) as clients:
        asked = [clients.submit(chatbot.chat, chatbot.workers[number % 2]) for number in range(16)]
        replies = [each.result() for each in asked]
    names = {pod.name for pod in chatbot.workers}
    assert {reply["podName"] for reply in replies} == names
    assert {reply["nodeName"] for reply in replies} == {f"node-of-{name}" for name in names}
    assert len({reply["node_id"] for reply in replies}) == 2
    assert all("pod" in reply["response"].lower() for reply in replies)


def test_the_frontend_chats_through_the_service(chatbot: Chatbot) -> None:
    page = f"http://{chatbot.frontend.address}:8080"
    with requests.Session() as browser:
        found = re.search(r'name="conversation" value="([^"]*)"', browser.get(f"{page}/", timeout=30).text)
        assert found is not None
        form = {"text": "What is a pod?", "conversation": found[1]}
        answer = browser.post(f"{page}/messages", data=form, headers={"Origin": page}, timeout=REPLY_S)
        assert answer.status_code == 200
        assert any(worker.name in answer.text for worker in chatbot.workers), "the reply's tag names its pod"


def test_an_edit_of_the_config_map_changes_the_next_reply_without_a_restart(chatbot: Chatbot) -> None:
    worker, folder = chatbot.workers[0], chatbot.deployment.config_maps["chatbot"]
    before, replicas = chatbot.chat(worker), {each["replica_id"] for each in chatbot.replicas(worker)}
    original = (folder / "chatbot.yaml").read_text()
    config = yaml.safe_load(original)
    config["knowledge"] = "A pod is a family of whales.\n"
    config_map(folder, {"chatbot.yaml": yaml.safe_dump(config)})
    try:
        changed = "the next replies use the edit"
        wait_for(lambda: chatbot.chat(worker)["config_version"] != before["config_version"], 30, changed, worker)
        replies = [chatbot.chat(each) for each in chatbot.workers for _ in range(3)]
        wait_for(
            lambda: chatbot.chat(chatbot.workers[1])["config_version"] != before["config_version"], 30, changed, worker
        )
        texts = [passage["text"] for passage in replies[0]["grounding"]["passages"]]
        assert texts == ["A pod is a family of whales."]
        assert {each["replica_id"] for each in chatbot.replicas(worker)} == replicas
    finally:
        config_map(folder, {"chatbot.yaml": original})
    wait_for(lambda: chatbot.chat(worker)["config_version"] == before["config_version"], 30, "the original", worker)


def test_a_mistake_in_the_config_map_changes_nothing_but_is_told(chatbot: Chatbot) -> None:
    worker, folder = chatbot.workers[0], chatbot.deployment.config_maps["chatbot"]
    before, original = chatbot.chat(worker), (folder / "chatbot.yaml").read_text()
    config_map(folder, {"chatbot.yaml": original.replace("knowledge:", "knowlege:")})
    health = f"http://{worker.address}:8000/health"
    try:
        told = "the mistake on /health"
        wait_for(lambda: "knowlege" in str(requests.get(health, timeout=30).json()["config_error"]), 30, told, worker)
        assert chatbot.chat(worker)["config_version"] == before["config_version"]
    finally:
        config_map(folder, {"chatbot.yaml": original})


def test_every_metric_that_is_watched_exists(chatbot: Chatbot, overlay: Callable[[str], Rendering]) -> None:
    """Alerts and dashboard ask Prometheus for series that these pods export."""
    asked: set[str] = set()
    for obj in overlay("monitoring").objects:
        content = yaml.safe_load(obj["data"]["godel.json"]) if "godel.json" in obj.get("data", {}) else obj
        for place, value in nodes(content):
            if place[-1:] == ("expr",):
                asked |= set(re.findall(r"\bray_\w+", value))
    url = f"http://{chatbot.workers[0].address}:8000/chat"
    refused = requests.post(url, json={}, timeout=30)  # there is no series of errors before the first error
    assert refused.status_code == 422
    assert missing_series(chatbot, asked) == set(), tail(chatbot.head)


def missing_series(chatbot: Chatbot, asked: set[str]) -> set[str]:
    """Of `asked`, what no pod exports; metrics travel every few seconds, so it may take a while."""
    left, deadline = set(asked), time.monotonic() + 60
    while left and time.monotonic() < deadline:
        for pod in [chatbot.head, *chatbot.workers]:
            text = requests.get(f"http://{pod.address}:8080/metrics", timeout=30).text
            left -= set(re.findall(r"^(ray_\w+)", text, re.MULTILINE))
        time.sleep(1)
    return left


def test_memory_is_within_the_requests(chatbot: Chatbot) -> None:
    """The figures of the manifests' comments: `pytest --log-cli-level=INFO` shows them."""
    used = {pod.name: pod.memory() / 2**20 for pod in [chatbot.head, *chatbot.workers, chatbot.frontend]}
    log.info("MiB: %s", {name: round(mib) for name, mib in used.items()})
    assert used["head"] < 2048 and max(used["worker-1"], used["worker-2"]) < 2048 and used["frontend"] < 192, used


@dataclass
class Load:
    """Long replies, streamed, one after the other by several clients, through a Service's endpoints."""

    endpoints: list[RunningPod]
    complete: int = 0
    under_way: Counter[str] = field(default_factory=Counter)  # by the pod that the connection leads to
    failed: list[str] = field(default_factory=list)
    done: threading.Event = field(default_factory=threading.Event)

    def __enter__(self) -> "Load":
        self._clients = [threading.Thread(target=self._client, args=(number,)) for number in range(CLIENTS)]
        for client in self._clients:
            client.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.done.set()
        for client in self._clients:
            client.join(REPLY_S)

    def _client(self, number: int) -> None:
        while not self.done.is_set():
            endpoints = self.endpoints
            worker = endpoints[number % len(endpoints)]
            try:
                self.under_way[worker.name] += 1
                self._ask(worker)
                self.complete += 1
            except (requests.RequestException, AssertionError) as error:
                self.failed.append(f"{worker.name}: {type(error).__name__} {str(error)[:300]}")
            finally:
                self.under_way[worker.name] -= 1

    def _ask(self, worker: RunningPod) -> None:
        body = {"dialog": ["What is a pod?"], "stream": True, "generation": LONG}
        with requests.post(
            f"http://{worker.address}:8000/chat", json=body, stream=True, timeout=(5, REPLY_S)
        ) as response:
            assert response.status_code == 200, response.text
            text = response.text
            assert "event: done" in text, text[-300:]


def test_a_graceful_drain_drops_nothing(chatbot: Chatbot) -> None:
    """What deleting a worker does: out of the endpoints, SIGTERM, and SIGKILL when the grace period is over."""
    pods, (leaving, staying) = chatbot.deployment, chatbot.workers
    grace = pods.template("worker").spec["terminationGracePeriodSeconds"]
    with Load([leaving, staying]) as load:
        time.sleep(5)
        load.endpoints = [staying]
        assert load.under_way[leaving.name] > 0, "replies go through the pod that leaves"
        pods.start("worker", chatbot.spare)  # the autoscaler's answer to the replica that needs a place
        began = time.monotonic()
        leaving.terminate(grace)
        log.info("drained in %.1f s", time.monotonic() - began)
        assert time.monotonic() - began < grace, "Ray ended by itself"
        pods.wait("worker", chatbot.spare, "readiness", START_S)
        load.endpoints = [staying, chatbot.spare]
        time.sleep(5)
    assert load.failed == []
    assert load.complete > CLIENTS
    names, moved = {staying.name, chatbot.spare.name}, "the replica of the deleted pod on the new one"
    wait_for(lambda: {each["podName"] for each in chatbot.replicas(staying)} == names, 60, moved, staying)


def test_a_killed_worker_is_survived(chatbot: Chatbot) -> None:
    """Every process of a node ends at once. Replies that its replica was writing are completed by the other one."""
    killed, survivor = chatbot.spare, chatbot.workers[1]
    with Load([survivor]) as load:
        time.sleep(3)
        killed.kill()
        time.sleep(15)
    assert load.failed == []
    assert load.complete > 4
    assert chatbot.chat(survivor)["podName"] == survivor.name


def test_the_frontend_ends_within_its_grace(chatbot: Chatbot) -> None:
    grace = chatbot.deployment.template("deployment").spec["terminationGracePeriodSeconds"]
    began = time.monotonic()
    chatbot.frontend.terminate(grace)
    assert time.monotonic() - began < grace


def test_images_hold_what_the_tests_run(tmp_path: Path) -> None:
    """The layout that is made here from the Dockerfiles has the application, and nothing else of the repository."""
    backend = build(ROOT / "docker/backend.Dockerfile", "cpu", tmp_path / "backend")
    assert {path.name for path in (backend.folder / "app").iterdir()} == {"serve_app", "models"}
    frontend = build(ROOT / "docker/frontend.Dockerfile", "stage-2", tmp_path / "frontend")
    assert {path.name for path in (frontend.folder / "app").iterdir()} == {"frontend"}
