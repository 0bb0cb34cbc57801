"""What a cluster would run, run here: the rendered overlay `local` as pods on this machine.

Head, two workers and the frontend each have a network, a process tree, a read-only root and an unprivileged user of
their own. Commands, environment, probes and grace periods are the manifests'; the operator's part of them is
stated in kuberay_pods.py. The tests build on each other: the last ones delete pods.
"""

import logging
import re
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
import requests
import yaml

from manifest_checks.objects import nodes
from manifest_checks.render import Rendering
from manifest_checks.serve_schema import deployment, serve_config
from serve_app.metrics import METRICS
from tests.manifests import images
from tests.manifests.browser import Browser
from tests.manifests.chatbot import APPLICATIONS, START_S, Chatbot
from tests.manifests.deployment import Deployment, tail, wait_for
from tests.manifests.kuberay_pods import CLUSTER
from tests.manifests.load import Load
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
def spare(pods: Deployment) -> RunningPod:
    """Placed, not started: what the autoscaler would bring."""
    return pods.place("worker", "worker-3")


@pytest.fixture(scope="module")
def chatbot(pods: Deployment, frontend: RunningPod, memory: Watch) -> Chatbot:
    """All runs; the frontend was there first, and waits for the backend's Service as on a cluster."""
    chatbot = Chatbot.place(pods, workers=2)
    chatbot.start(scaled_out(serve_config(pods.service)))
    pods.wait(frontend, "startup", START_S)
    return chatbot


def scaled_out(config: dict[str, Any]) -> dict[str, Any]:
    """The overlay's serve config with production's rule, two replicas on two nodes: the guide's scaling exercise."""
    deployment(config, "Ingress").update(num_replicas=2, max_replicas_per_node=1)
    model = deployment(config, "GodelModel")
    model["max_replicas_per_node"] = 1
    model["autoscaling_config"] |= {"min_replicas": 2, "max_replicas": 2}
    return config


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


def test_both_nodes_reply_and_say_so(chatbot: Chatbot) -> None:
    with ThreadPoolExecutor(8) as clients:
        asked = [clients.submit(chatbot.chat, chatbot.workers[number % 2]) for number in range(16)]
        replies = [each.result() for each in asked]
    names = {pod.name for pod in chatbot.workers}
    assert {reply["podName"] for reply in replies} == names
    assert {reply["nodeName"] for reply in replies} == {f"node-of-{name}" for name in names}
    assert len({reply["node_id"] for reply in replies}) == 2
    assert all("pod" in reply["response"].lower() for reply in replies)


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


def test_a_graceful_drain_drops_nothing(chatbot: Chatbot, spare: RunningPod) -> None:
    """What deleting a worker does: out of the endpoints, SIGTERM, and SIGKILL when the grace period is over."""
    pods, (leaving, staying) = chatbot.deployment, chatbot.workers
    with Load([leaving, staying]) as load:
        load.wait_for_replies(1, leaving)
        load.endpoints = [staying]
        assert load.under_way[leaving.name] > 0, "replies go through the pod that leaves"
        pods.start(spare)  # the autoscaler's answer to the replica that needs a place
        began = time.monotonic()
        leaving.terminate(pods.grace(leaving))
        log.info("drained in %.1f s", time.monotonic() - began)
        assert time.monotonic() - began < pods.grace(leaving), "Ray ended by itself"
        pods.wait(spare, "readiness", START_S)
        load.endpoints = [staying, spare]
        load.wait_for_replies(2, spare)
    assert load.failed == []
    moved = "the replica of the deleted pod on the new one"
    wait_for(lambda: chatbot.pods_with_replica(staying) == {staying.name, spare.name}, 60, moved, staying)


def test_a_killed_worker_is_survived(chatbot: Chatbot, spare: RunningPod) -> None:
    """Every process of a node ends at once. Replies that its replica was writing are completed by the other one."""
    survivor = chatbot.workers[1]
    with Load([survivor]) as load:
        load.wait_for_replies(1, survivor)
        writing = "replies are written by the replica of the pod that is killed"
        wait_for(lambda: active(chatbot, survivor, spare) > 0, 30, writing, survivor)
        spare.kill()
        load.wait_for_replies(3, survivor)
    assert load.failed == []
    assert chatbot.chat(survivor)["podName"] == survivor.name


def active(chatbot: Chatbot, asked: RunningPod, pod: RunningPod) -> int:
    """Replies that the replica on `pod` writes."""
    return sum(each["active"] for each in chatbot.replicas(asked) if each["podName"] == pod.name)


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
