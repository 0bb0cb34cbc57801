"""The rendered overlay `production` as pods on this machine, Redis and PostgreSQL with it.

These two are this machine's programs in place of the images'. The model asked for is not in the image and the hub is
out of reach, so that `models/mini` answers and says so; with PODS_MODEL=base in the environment the image has a model
of GODEL-base's size, to see what it takes in memory. The tests build on each other: the last ones take pods away.
"""

import logging
import os
import shutil
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import pytest
import requests

from manifest_checks.objects import ray_service
from manifest_checks.render import Rendering
from manifest_checks.serve_schema import application, serve_config
from serve_app.keys import digest, new_key
from tests.manifests import images
from tests.manifests.browser import Browser
from tests.manifests.chatbot import START_S, Chatbot
from tests.manifests.deployment import Deployment, wait_for
from tests.manifests.load import Load
from tests.manifests.machine import Machine, RunningPod, config_map
from tests.manifests.memory import Watch
from tests.support import postgres

FRONTENDS_KEY, OUR_KEY = new_key(), new_key()
SECRETS = {
    "ray-token": {"auth_token": "0123456789abcdef0123456789abcdef"},
    "redis": {"password": "r-4Vq8mZx2Lw"},
    "redis-frontend": {"password": "f-7Hk2pQn9Ts"},
    "postgres": {"password": "p-7Kd3nYc9Tb"},
    "frontend": {"secret-key": "kX9-vT2mQ7_rLp4wZs8bNc1yHd6fJg3e", "backend-key": FRONTENDS_KEY},
    "api-keys": {
        "frontend": f"{{sha256: {digest(FRONTENDS_KEY)}, for_visitors: true}}",
        "tests": f"{{sha256: {digest(OUR_KEY)}}}",
    },
}

pytestmark = pytest.mark.timeout(600)
log = logging.getLogger(__name__)


@pytest.fixture(scope="module")
def pods(pod_machine: Machine, overlay: Callable[[str], Rendering]) -> Deployment:
    """What `kubectl apply` makes of the overlay and the secrets, before anything runs."""
    binaries = postgres.programs()
    if binaries is None or shutil.which("redis-server") is None:
        pytest.skip("PostgreSQL and Redis are needed: initdb and redis-server are not both installed")
    rendering, backend = overlay("production"), images.backend(pod_machine.folder / "backend-image")
    if os.environ.get("PODS_MODEL") == "base":
        model = application(serve_config(ray_service(rendering.objects)))["args"]["model"]
        backend = images.with_model(backend, model, pod_machine.folder / "models")
    return Deployment(
        rendering,
        pod_machine,
        {
            "godel-backend": backend,
            "godel-frontend": images.frontend(pod_machine.folder / "frontend-image"),
            "redis": images.redis_image(pod_machine.folder / "redis-image"),
            "postgres": images.postgres_image(pod_machine.folder / "postgres-image", binaries, user=70),
        },
        SECRETS,
    )


@pytest.fixture(scope="module")
def stores(pods: Deployment) -> list[RunningPod]:
    """Redis and PostgreSQL, ready behind their Services."""
    stores = [pods.place(name, f"{name}-0") for name in ("redis", "postgres")]
    for name, pod in zip(("redis", "postgres"), stores, strict=True):
        pods.machine.name_service(name, [pod])
        pods.start(pod)
    for pod in stores:
        pods.wait(pod, "readiness", START_S)
    return stores


@pytest.fixture(scope="module")
def frontends(pods: Deployment, stores: list[RunningPod]) -> list[RunningPod]:
    """Two that start at the same moment: one makes the database's tables, the other waits and finds them."""
    frontends = [pods.place("frontend", f"frontend-{number}") for number in (1, 2)]
    for frontend in frontends:
        pods.start(frontend)
    return frontends


@pytest.fixture(scope="module")
def spare(pods: Deployment) -> RunningPod:
    """Placed, not started: what the autoscaler brings for a replica that needs a place."""
    return pods.place("worker", "worker-3")


@pytest.fixture(scope="module")
def chatbot(pods: Deployment, frontends: list[RunningPod], memory: Watch) -> Chatbot:
    """All runs; the frontends were there first, and wait for the backend's Service as on a cluster."""
    chatbot = Chatbot.place(pods, workers=2, key=OUR_KEY)
    chatbot.start(serve_config(pods.service))
    for frontend in frontends:
        pods.wait(frontend, "startup", START_S)
        pods.wait(frontend, "readiness", START_S)
    return chatbot


def test_every_probe_passes_as_written(chatbot: Chatbot, stores: list[RunningPod], frontends: list[RunningPod]) -> None:
    for pod in [*stores, *frontends, chatbot.head, *chatbot.workers]:
        for kind in chatbot.deployment.probes(pod):
            chatbot.deployment.wait(pod, kind, 30)


def test_both_nodes_reply_and_say_so(chatbot: Chatbot) -> None:
    with ThreadPoolExecutor(8) as clients:
        asked = [clients.submit(chatbot.chat, chatbot.workers[number % 2]) for number in range(16)]
        replies = [each.result() for each in asked]
    names = {pod.name for pod in chatbot.workers}
    assert {reply["podName"] for reply in replies} == names
    assert {reply["nodeName"] for reply in replies} == {f"node-of-{name}" for name in names}
    assert len({reply["node_id"] for reply in replies}) == 2


def test_redis_asks_for_the_password(stores: list[RunningPod]) -> None:
    redis = stores[0]
    assert b"NOAUTH" in redis.execute(["redis-cli", "ping"], 20).stdout
    right = ["redis-cli", "--no-auth-warning", "-a", SECRETS["redis"]["password"], "dbsize"]
    assert int(redis.execute(right, 20).stdout) > 0, "the head keeps its state there"


def test_the_frontends_count_rates_in_redis_and_see_nothing_else_there(
    chatbot: Chatbot, stores: list[RunningPod], frontends: list[RunningPod]
) -> None:
    browser, redis = Browser(), stores[0]
    browser.send(frontends[0], "What is a pod?")
    head = ["redis-cli", "--no-auth-warning", "-a", SECRETS["redis"]["password"]]
    assert b"frontend:" in redis.execute([*head, "--scan", "--pattern", "frontend:*"], 20).stdout
    ours = ["redis-cli", "--no-auth-warning", "--user", "frontend", "-a", SECRETS["redis-frontend"]["password"]]
    assert b"NOPERM" in redis.execute([*ours, "get", "RAY"], 20).stdout
    assert b"NOPERM" in redis.execute([*ours, "flushall"], 20).stdout


def test_postgres_asks_for_the_password(stores: list[RunningPod], frontends: list[RunningPod]) -> None:
    query = ["psql", "--host=postgres", "--username=frontend", "--no-password", "--command=SELECT 1"]
    answer = frontends[0].execute(["env", "PGPASSWORD=wrong", *query], 20)
    assert b"password authentication failed" in answer.stderr


def test_a_conversation_is_continued_at_another_frontend(chatbot: Chatbot, frontends: list[RunningPod]) -> None:
    browser, (first, second) = Browser(), frontends
    browser.send(first, "What is a pod?")
    browser.send(second, "And what does KubeRay do?")
    shown = browser.conversation(first)
    assert [each["message"] for each in shown["exchanges"]] == ["What is a pod?", "And what does KubeRay do?"]
    assert all(each["reply"]["text"] for each in shown["exchanges"])


def test_api_keys_are_asked_for_and_rotated_without_a_restart(chatbot: Chatbot) -> None:
    """As the guide says: the new key beside the old one, then its client, then without the old one."""
    worker, folder = chatbot.workers[0], chatbot.deployment.secret_folder("api-keys")
    new, replicas = new_key(), {each["replica_id"] for each in chatbot.replicas(worker)}

    def statuses(key: str) -> set[int]:
        """Of each worker's ingress, which reads the keys by itself."""
        headers = {"Authorization": f"Bearer {key}"}
        urls = (f"http://{each.address}:8000/config" for each in chatbot.workers)
        return {requests.get(url, headers=headers, timeout=30).status_code for url in urls}

    assert [statuses(key) for key in (OUR_KEY, FRONTENDS_KEY, new)] == [{200}, {200}, {401}]
    config_map(folder, SECRETS["api-keys"] | {"tests-2": f"{{sha256: {digest(new)}}}"})
    wait_for(lambda: statuses(new) == {200}, 30, "the new key is taken", worker)
    assert statuses(OUR_KEY) == {200}
    config_map(folder, {"frontend": SECRETS["api-keys"]["frontend"], "tests-2": f"{{sha256: {digest(new)}}}"})
    wait_for(lambda: statuses(OUR_KEY) == {401}, 30, "the old key is refused", worker)
    config_map(folder, SECRETS["api-keys"])
    wait_for(lambda: statuses(OUR_KEY) == {200}, 30, "the first keys again", worker)
    assert {each["replica_id"] for each in chatbot.replicas(worker)} == replicas


def test_a_graceful_drain_drops_nothing(chatbot: Chatbot, spare: RunningPod) -> None:
    """What deleting a worker does: out of the endpoints, SIGTERM, and SIGKILL when the grace period is over."""
    pods, (leaving, staying) = chatbot.deployment, chatbot.workers
    with Load(chatbot.workers, chatbot.headers) as load, ThreadPoolExecutor(1) as kubelet:
        load.wait_for_replies(1, leaving)
        pods.start(spare)
        wait_for(lambda: load.under_way[leaving.name] > 0, 30, "a reply through the pod that leaves", leaving)
        chatbot.lead_to([staying])
        load.endpoints = chatbot.workers
        began = time.monotonic()
        ended = kubelet.submit(leaving.terminate, pods.grace(leaving))
        pods.wait(spare, "readiness", START_S)
        chatbot.lead_to([staying, spare])
        load.endpoints = chatbot.workers
        load.wait_for_replies(2, spare)
        ended.result()
        log.info("drained in %.1f s", time.monotonic() - began)
        assert time.monotonic() - began < pods.grace(leaving), "Ray ended by itself"
    assert load.failed == []
    moved = "the replica of the deleted pod on the new one"
    wait_for(lambda: chatbot.pods_with_replica(staying) == {staying.name, spare.name}, 60, moved, staying)


def test_a_lost_head_is_survived(chatbot: Chatbot, frontends: list[RunningPod]) -> None:
    """Its node loses power; the operator brings a new head, at another address, which finds all in Redis.

    Until then, workers and replicas go on without one; afterwards they are still the same.
    """
    pods, worker, browser = chatbot.deployment, chatbot.workers[0], Browser()
    replicas = model_replicas(chatbot)
    assert len(replicas) == 2
    with Load(chatbot.workers, chatbot.headers, tokens=60, pause_s=0.5) as load:  # a head starts on the same cores
        load.wait_for_replies(1, worker)
        began = time.monotonic()
        chatbot.kill_head()
        load.wait_for_replies(3, worker)
        browser.send(frontends[0], "What is a pod?")
        assert browser.conversation(frontends[0])["exchanges"][0]["reply"]["text"]
        for pod in chatbot.workers:
            assert [pods.probe(pod, kind) for kind in ("readiness", "liveness")] == [None, None]
        _start_another_head(chatbot)
        wait_for(lambda: is_running(chatbot), START_S, "the application, without being deployed", chatbot.head)
        log.info("a new head has the application %.0f s after the old one's end", time.monotonic() - began)
        load.wait_for_replies(2, worker)
    assert load.failed == []
    assert model_replicas(chatbot) == replicas, "as the new head knows them"
    assert {each["replica_id"] for each in chatbot.replicas(worker)} == replicas, "as the ingress knows them"


def test_a_killed_worker_is_survived(chatbot: Chatbot) -> None:
    """Every process of a node ends at once. Replies that its replica was writing are completed by the other one."""
    survivor, killed = chatbot.workers
    with Load([survivor], chatbot.headers) as load:
        load.wait_for_replies(1, survivor)
        writing = "replies are written by the replica of the pod that is killed"
        wait_for(lambda: active(chatbot, survivor, killed) > 0, 30, writing, survivor)
        killed.kill()
        load.wait_for_replies(3, survivor)
    assert load.failed == []
    assert chatbot.chat(survivor)["podName"] == survivor.name


def active(chatbot: Chatbot, asked: RunningPod, pod: RunningPod) -> int:
    """Replies that the replica on `pod` writes."""
    return sum(each["active"] for each in chatbot.replicas(asked) if each["podName"] == pod.name)


def model_replicas(chatbot: Chatbot) -> set[str]:
    """Those of the model that Serve's controller, on the head, has."""
    return {each["replica_id"] for each in chatbot.applications()["godel"]["deployments"]["GodelModel"]["replicas"]}


def is_running(chatbot: Chatbot) -> bool:
    try:
        applications = chatbot.applications()
    except requests.ConnectionError:  # a dashboard that has just begun may hang up; the operator asks again, too
        return False
    application = applications.get("godel", {"status": "not there", "deployments": {}})
    deployments = [each["status"] for each in application["deployments"].values()]
    return bool(application["status"] == "RUNNING" and deployments == ["HEALTHY", "HEALTHY"])


def test_memory_is_within_the_requests(chatbot: Chatbot, memory: Watch) -> None:
    """The most that was held in all of the above: the figures of the manifests' comments."""
    log.info("held at most: %s", memory)
    requested = {pod.name: chatbot.deployment.memory_request(pod) for pod in chatbot.deployment.machine.pods}
    assert {name for name in requested if not 0 < memory.peaks[name] <= requested[name]} == set()


def _start_another_head(chatbot: Chatbot, attempts: int = 3) -> None:
    """As the operator does: a pod whose `ray start` gave up, after 30 s on a busy machine, is followed by another."""
    for number in range(2, 2 + attempts):
        chatbot.head = chatbot.deployment.place("head", f"head-{number}")
        try:
            return chatbot.start_head()
        except AssertionError:
            if chatbot.head.runs or number == 1 + attempts:
                raise
