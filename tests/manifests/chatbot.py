"""The backend's pods, started in the operator's order, and what one asks of them."""

from dataclasses import dataclass
from functools import partial
from typing import Any

import requests

from tests.manifests import kuberay_pods
from tests.manifests.deployment import Deployment, wait_for
from tests.manifests.machine import RunningPod

START_S = 180
REPLY_S = 90
APPLICATIONS = "/api/serve/applications/"


@dataclass
class Chatbot:
    deployment: Deployment
    head: RunningPod
    workers: list[RunningPod]
    headers: dict[str, str]  # of every request to the backend

    @classmethod
    def place(cls, deployment: Deployment, workers: int, key: str | None = None) -> "Chatbot":
        """Pods that are not started yet, with the Services that lead to them. key: an API key, where one is needed."""
        headers = {"Authorization": f"Bearer {key}"} if key else {}
        chatbot = cls(deployment, deployment.place("head", "head"), [], headers)
        chatbot.lead_to([deployment.place("worker", f"worker-{number + 1}") for number in range(workers)])
        return chatbot

    def lead_to(self, workers: list[RunningPod]) -> None:
        """The endpoints of the backend's Service, from now on."""
        self.workers = workers
        self.deployment.machine.name_service(kuberay_pods.serve_service(self.deployment.service), workers)

    def start_head(self) -> None:
        """Its Service is headless: the name has an address while the head is ready, and is unknown else."""
        self.deployment.start(self.head)
        self.deployment.wait(self.head, "startup", START_S)
        self.deployment.wait(self.head, "readiness", START_S)
        self.deployment.machine.name_service(kuberay_pods.head_service(self.deployment.service), [self.head])

    def kill_head(self) -> None:
        """As when its node loses power."""
        self.head.kill()
        self.deployment.machine.name_service(kuberay_pods.head_service(self.deployment.service), [])

    def start(self, config: dict[str, Any]) -> None:
        """Head, workers, the Serve config; until each worker has a replica of the model, and each ingress knows all."""
        pods = self.deployment
        self.start_head()
        for worker in self.workers:
            pods.start(worker)
        for worker in self.workers:
            pods.wait(worker, "startup", START_S)
        answer = self.dashboard("PUT", APPLICATIONS, config)
        assert answer.status_code == 200, answer.text
        for worker in self.workers:
            pods.wait(worker, "readiness", START_S)
        for worker in self.workers:
            known = f"a replica on each worker, for the ingress of {worker.name}"
            wait_for(partial(self._is_complete, worker), START_S, known, self.head)

    def chat(self, worker: RunningPod, question: str = "What is a pod?", **fields: Any) -> dict[str, Any]:
        url, body = f"http://{worker.address}:8000/chat", {"dialog": [question], **fields}
        response = requests.post(url, json=body, headers=self.headers, timeout=REPLY_S)
        assert response.status_code == 200, response.text
        reply: dict[str, Any] = response.json()
        return reply

    def replicas(self, worker: RunningPod) -> list[dict[str, Any]]:
        body = requests.get(f"http://{worker.address}:8000/replicas", headers=self.headers, timeout=30).json()
        replicas: list[dict[str, Any]] = body["replicas"]
        return replicas

    def pods_with_replica(self, worker: RunningPod) -> set[str]:
        return {each["podName"] for each in self.replicas(worker)}

    def _is_complete(self, asked: RunningPod) -> bool:
        return self.pods_with_replica(asked) == {worker.name for worker in self.workers}

    def applications(self) -> dict[str, Any]:
        applications: dict[str, Any] = self.dashboard("GET", APPLICATIONS).json()["applications"]
        return applications

    def dashboard(self, method: str, path: str, body: Any = None) -> requests.Response:
        """What the operator asks of the head."""
        headers = {"Authorization": f"Bearer {self.deployment.token}"}
        url = f"http://{self.head.address}:8265{path}"
        return requests.request(method, url, headers=headers, json=body, timeout=30, allow_redirects=False)
