"""Steady load whose every reply is known beforehand: streams and whole replies, of mixed lengths, from several clients.

A client does what the README tells clients to do: where the connection broke before the reply was complete, it asks
again by the same request id, and where it is refused, when the answer says.
"""

import itertools
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any
from uuid import uuid4

import requests

from tests.support.sse import events

_GIVE_UP_S = 60.0
_PAUSE_S = 0.2


@dataclass(frozen=True)
class Question:
    """One that has one answer: greedy, or with a seed."""

    dialog: tuple[str, ...]
    generation: dict[str, Any]
    stream: bool


def questions() -> list[Question]:
    lengths, seeds = (20, 60, 200), (None, 5, 6)
    return [
        Question(
            ("What is Ray Serve?",),
            {"quote": False, "max_length": length, "min_length": length, "do_sample": seed is not None, "seed": seed},
            stream,
        )
        for (length, seed), stream in itertools.product(zip(lengths, seeds, strict=True), (True, False))
    ]


@dataclass
class Record:
    """What became of the requests."""

    sent: int = 0
    identical: int = 0
    taken_over: int = 0  # begun by one replica and finished by another
    asked_again: int = 0
    refused: int = 0
    lost: list[str] = field(default_factory=list)
    wrong: list[str] = field(default_factory=list)
    last_trouble_at: float = 0.0  # when an attempt last failed, or took long

    @property
    def line(self) -> str:
        return (
            f"{self.sent} sent, {self.identical} identical, {self.taken_over} taken over, "
            f"{self.asked_again} asked again, {self.refused} refused, {len(self.lost)} lost, {len(self.wrong)} wrong,"
        )

    def add(self, other: "Record") -> None:
        for name, value in vars(other).items():
            setattr(self, name, getattr(self, name) + value)


class Pinger:
    def __init__(self, url: str, clients: int) -> None:
        self._url = url
        self._clients = clients
        self._questions = questions()
        self._lock = threading.Lock()
        self.record = Record()
        self.expected = {question.generation["seed"]: self._ask(question) for question in self._questions}

    @contextmanager
    def load(self) -> Iterator[Record]:
        """Clients ask all the time; after it every request has ended."""
        self.record = Record()
        over = threading.Event()
        clients = [threading.Thread(target=self._client, args=(n, over)) for n in range(self._clients)]
        for client in clients:
            client.start()
        try:
            yield self.record
        finally:
            over.set()
            for client in clients:
                client.join()

    def _client(self, number: int, over: threading.Event) -> None:
        for question in itertools.islice(itertools.cycle(self._questions), number, None):
            if over.is_set():
                return
            self._count(sent=1)
            try:
                response = self._ask(question)
            except Exception as error:
                with self._lock:
                    self.record.lost.append(f"{type(error).__name__}: {error}")
                continue
            with self._lock:
                if response == self.expected[question.generation["seed"]]:
                    self.record.identical += 1
                else:
                    self.record.wrong.append(response)

    def _ask(self, question: Question) -> str:
        """The reply's text. Raises what the last attempt raised."""
        request_id = uuid4().hex
        until = time.monotonic() + _GIVE_UP_S
        while True:
            began = time.monotonic()
            try:
                reply = self._attempt(question, request_id)
            except (requests.RequestException, _Refused, _Broken) as error:
                if time.monotonic() > until:
                    raise
                refused = isinstance(error, _Refused)
                self._count(refused=refused, asked_again=not refused, trouble=True)
                time.sleep(error.retry_after_s if isinstance(error, _Refused) else _PAUSE_S)
            else:
                self._count(taken_over=len(reply["origins"]) > 1, trouble=time.monotonic() - began > 3)
                return str(reply["response"])

    def _attempt(self, question: Question, request_id: str) -> dict[str, Any]:
        body = {"dialog": question.dialog, "generation": question.generation, "stream": question.stream}
        headers = {"x-request-id": request_id}
        with requests.post(
            f"{self._url}/chat", json=body, headers=headers, stream=question.stream, timeout=_GIVE_UP_S
        ) as response:
            if response.status_code in (429, 503) and "Retry-After" in response.headers:
                raise _Refused(int(response.headers["Retry-After"]))
            if response.status_code != 200:
                raise _Broken(f"{response.status_code}: {response.text[:200]}")
            if not question.stream:
                whole: dict[str, Any] = response.json()
                return whole
            for name, data in events(response):
                if name == "done":
                    return data
                if name == "error":
                    raise _Broken(str(data))
        raise _Broken("the stream ended before the reply did")

    def _count(
        self,
        sent: int = 0,
        taken_over: bool = False,
        asked_again: bool = False,
        refused: bool = False,
        trouble: bool = False,
    ) -> None:
        with self._lock:
            self.record.sent += sent
            self.record.taken_over += taken_over
            self.record.asked_again += asked_again
            self.record.refused += refused
            if trouble:
                self.record.last_trouble_at = time.monotonic()


class _Refused(Exception):
    def __init__(self, retry_after_s: int) -> None:
        super().__init__(f"refused; to be asked again after {retry_after_s} s")
        self.retry_after_s = min(retry_after_s, 2)


class _Broken(Exception):
    pass
