"""Replies under way, without a break, while pods come and go."""

import threading
from collections import Counter
from dataclasses import dataclass, field

import requests

from tests.manifests.chatbot import REPLY_S
from tests.manifests.deployment import wait_for
from tests.manifests.machine import RunningPod

CLIENTS = 2  # more would only take the processor from the pods that start meanwhile
LONG = 250  # tokens: a reply that takes a good part of a second


@dataclass
class Load:
    """Replies of so many tokens, streamed, one after the other by several clients, through a Service's endpoints."""

    endpoints: list[RunningPod]
    headers: dict[str, str]
    tokens: int = LONG
    pause_s: float = 0.0  # of a client after each reply: without one, two clients take all of two cores
    complete: Counter[int] = field(default_factory=Counter)  # by client
    under_way: Counter[str] = field(default_factory=Counter)  # by the pod that the connection leads to
    failed: list[str] = field(default_factory=list)
    done: threading.Event = field(default_factory=threading.Event)

    def __enter__(self) -> "Load":
        self._threads = [threading.Thread(target=self._client, args=(number,)) for number in range(CLIENTS)]
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.done.set()
        for thread in self._threads:
            thread.join(REPLY_S)

    def wait_for_replies(self, rounds: int, pod: RunningPod) -> None:
        """Until every client has had so many more, and none has failed. The second was asked for after this call."""
        goal = {number: self.complete[number] + rounds for number in range(CLIENTS)}

        def reached() -> bool:
            assert not self.failed, self.failed
            return all(self.complete[number] >= goal[number] for number in goal)

        wait_for(reached, rounds * REPLY_S, f"{rounds} more replies for every client", pod)

    def _client(self, number: int) -> None:
        while not self.done.is_set():
            endpoints = self.endpoints
            pod = endpoints[number % len(endpoints)]
            self.under_way[pod.name] += 1
            try:
                self._ask(pod)
                self.complete[number] += 1
            except (requests.RequestException, AssertionError) as error:
                self.failed.append(f"{pod.name}: {type(error).__name__} {str(error)[:300]}")
                return
            finally:
                self.under_way[pod.name] -= 1
            self.done.wait(self.pause_s)

    def _ask(self, pod: RunningPod) -> None:
        generation = {"min_length": self.tokens, "max_length": self.tokens, "quote": False}
        body = {"dialog": ["What is a pod?"], "stream": True, "generation": generation}
        url, timeout = f"http://{pod.address}:8000/chat", (5, REPLY_S)
        with requests.post(url, json=body, headers=self.headers, stream=True, timeout=timeout) as response:
            assert response.status_code == 200, response.text
            text = response.text
            assert "event: done" in text, text[-300:]
