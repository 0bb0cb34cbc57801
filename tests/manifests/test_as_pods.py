"""What a cluster would run, run here: the rendered overlay `local` as pods on this machine.

Head, worker and frontend each have a network, a process tree, a read-only root and an unprivileged user of
their own. Commands, environment, probes and grace periods are the manifests'; the operator's part of them is
stated in kuberay_pods.py. What needs two workers is in test_production_as_pods.py.
"""

import logging
import re
import time
from collections.abc import Callable
from pathlib import Path

import pytest
import requests
import yaml

from manifest_checks.objects import nodes
from manifest_checks.render import Rendering
from manifest_checks.serve_schema import serve_config
from serve_app.metrics import METRICS
from tests.manifests import images
from tests.manifests.browser import Browser
from tests.manifests.chatbot import APPLICATIONS, START_S, Chatbot
from tests.manifests.deployment import Deployment, tail, wait_for
from tests.manifests.kuberay_pods import CLUSTER
from tests.manifests.machine import Machine, RunningPod, config_map
from tests.manifests.memory import Watch

SECRETS = {CLUSTER: {"auth_token": "0123456789abcdef0123456789abcdef"}}  # the operator makes it

pytestmark = pytest.mark.timeout(600)
log = logging.getLogger(__name__)


@pytest.fixture(scope="module")
def pods(pod_machine: Machine, overlay: Callable[[str], Rendering]) -> Deployment:
    """What `kubectl apply` makes of the overlay, before anything runs."""
    return Deployment(
        overlay("local"),
        pod_machine,
        {
            "godel-backend": images.backend(pod_machine.folder / "backend-image"),
            "godel-frontend": images.frontend(pod_machine.folder / "frontend-image"),
        },
        SECRETS,
    )


@pytest.fixture(scope="module")
def frontend(pods: Deployment) -> RunningPod:
    frontend = pods.place("frontend", "frontend")
    pods.start(frontend)
    return frontend


@pytest.fixture(scope="module")
def chatbot(pods: Deployment, frontend: RunningPod, memory: Watch) -> Chatbot:
    """All runs; the frontend was there first, and waits for the backend's Service as on a cluster."""
    chatbot = Chatbot.place(pods, workers=1)
    chatbot.start(serve_config(pods.service))
    pods.wait(frontend, "startup", START_S)
    return chatbot


def test_every_probe_passes_as_written(chatbot: Chatbot, frontend: RunningPod) -> None:
    for pod in [chatbot.head, frontend, *chatbot.workers]:
        for kind in ("startup", "readiness", "liveness"):
            chatbot.deployment.wait(pod, kind, 30)


def test_pods_have_no_privileges(chatbot: Chatbot, frontend: RunningPod) -> None:
    """As the manifests' security contexts say: neither root, nor a capability, nor a writable root file system."""
    for pod in [chatbot.head, frontend, *chatbot.workers]:
        for process in pod.processes:
            assert process.uids().effective == pod.user
        status = pod.execute(["grep", "^CapEff", "/proc/1/status"], 20).stdout.decode()
        assert status.split()[1] == "0" * 16
        for place in ("/app/x", "/etc/godel/x", "/home/x"):
            assert pod.execute(["touch", place], 20).returncode != 0


def test_strangers_cannot_use_the_cluster(chatbot: Chatbot) -> None:
    assert requests.get(f"http://{chatbot.head.address}:8265{APPLICATIONS}", timeout=30).status_code == 401


def test_the_head_runs_no_replica(chatbot: Chatbot) -> None:
    titles = [" ".join(process.cmdline()) for process in chatbot.head.processes]
    assert not [title for title in titles if title.startswith("ray::ServeReplica")]


def test_the_applications_run(chatbot: Chatbot) -> None:
    """What the operator copies to the RayService's status, and the guide says to watch."""
    assert {name: each["status"] for name, each in chatbot.applications().items()} == {"godel": "RUNNING"}


def test_a_reply_says_its_pod_and_node(chatbot: Chatbot) -> None:
    (worker,) = chatbot.workers
    reply = chatbot.chat(worker)
    assert (reply["podName"], reply["nodeName"]) == (worker.name, f"node-of-{worker.name}")
    assert "pod" in reply["response"].lower()


def test_the_frontend_chats_through_the_service(chatbot: Chatbot, frontend: RunningPod) -> None:
    browser = Browser()
    browser.send(frontend, "What is a pod?")
    shown = str(browser.conversation(frontend))
    assert any(worker.name in shown for worker in chatbot.workers), "the reply's tag names its pod"


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
        texts = [passage["text"] for passage in chatbot.chat(worker)["grounding"]["passages"]]
        assert texts == ["A pod is a family of whales."]
        assert {each["replica_id"] for each in chatbot.replicas(worker)} == replicas
    finally:
        config_map(folder, {"chatbot.yaml": original})
    wait_for(lambda: chatbot.chat(worker)["config_version"] == before["config_version"], 30, "the original", worker)


def test_a_mistake_in_the_config_map_changes_nothing_but_is_reported(chatbot: Chatbot) -> None:
    worker, folder = chatbot.workers[0], chatbot.deployment.config_maps["chatbot"]
    before, original = chatbot.chat(worker), (folder / "chatbot.yaml").read_text()
    config_map(folder, {"chatbot.yaml": original.replace("knowledge:", "knowlege:")})
    health = f"http://{worker.address}:8000/health"
    try:
        wait_for(lambda: "knowlege" in str(requests.get(health, timeout=30).json()["config_error"]), 30, health, worker)
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
    # Counters and histograms of our own begin with what they count: tests/serve/test_metrics.py makes it happen.
    asked -= {name for metric in METRICS if metric.kind != "gauge" for name in metric.series}
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


def test_the_frontend_ends_within_its_grace(pods: Deployment, frontend: RunningPod) -> None:
    began = time.monotonic()
    frontend.terminate(pods.grace(frontend))
    assert time.monotonic() - began < pods.grace(frontend)


def test_memory_is_within_the_requests(chatbot: Chatbot, memory: Watch) -> None:
    """The most that was held in all of the above: the figures of the manifests' comments."""
    log.info("held at most: %s", memory)
    requested = {pod.name: chatbot.deployment.memory_request(pod) for pod in chatbot.deployment.machine.pods}
    assert {name for name in requested if not 0 < memory.peaks[name] <= requested[name]} == set()


def test_images_hold_what_the_tests_run(tmp_path: Path) -> None:
    """The layout that is made here from the Dockerfiles has the application, and nothing else of the repository."""
    backend = images.backend(tmp_path / "backend")
    assert {path.name for path in (backend.folder / "app").iterdir()} == {"serve_app", "models"}
    frontend = images.frontend(tmp_path / "frontend")
    assert {path.name for path in (frontend.folder / "app").iterdir()} == {"frontend"}
