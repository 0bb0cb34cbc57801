"""A visitor of the frontend's pods."""

import re
from typing import Any

import requests

from tests.manifests.chatbot import REPLY_S
from tests.manifests.machine import RunningPod


class Browser:
    """Keeps the session's cookie whatever the pod, as behind a Service and a proxy that ends TLS."""

    def __init__(self) -> None:
        self._cookies: dict[str, str] = {}

    def send(self, frontend: RunningPod, text: str) -> None:
        """Post a message as the page without JavaScript does, and wait for the reply."""
        found = re.search(r'name="conversation" value="([^"]*)"', self._ask("GET", frontend, "/").text)
        assert found is not None
        answer = self._ask("POST", frontend, "/messages", {"text": text, "conversation": found[1]})
        assert answer.status_code == 303, answer.text

    def conversation(self, frontend: RunningPod) -> dict[str, Any]:
        """What the page shows, as data."""
        shown: dict[str, Any] = self._ask("GET", frontend, "/conversation").json()
        return shown

    def _ask(
        self, method: str, frontend: RunningPod, path: str, form: dict[str, str] | None = None
    ) -> requests.Response:
        site = f"http://{frontend.address}:8080"
        headers = {"Origin": site, "Cookie": "; ".join(f"{name}={value}" for name, value in self._cookies.items())}
        answer = requests.request(
            method, f"{site}{path}", data=form, headers=headers, timeout=REPLY_S, allow_redirects=False
        )
        self._cookies |= answer.cookies.get_dict()
        return answer
