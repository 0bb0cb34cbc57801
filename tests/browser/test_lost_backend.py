"""The real backend, changed and broken under an open page: edited, one replica ended, and at last all of it killed."""

import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import requests
import yaml
from playwright.sync_api import Page, expect

from launcher.preflight import free_port
from tests.browser.conftest import FrontendProcess, open_chat
from tests.browser.test_chat import exchange, reply, say, tag
from tests.support.backend import Backend, run_backend

PORT = free_port()
PAGE_KEY, OPERATORS_KEY = "sk-of-the-page-in-this-test", "sk-of-the-operator-in-this-test"
LONG = {"quote": False, "do_sample": True, "min_length": 250, "max_length": 256}


@pytest.fixture(autouse=True, scope="module")
def patience() -> None:
    """A busy machine is slow, and a passing test does not wait."""
    expect.set_options(timeout=60_000)


@pytest.fixture
def backend_url() -> str:
    return f"http://127.0.0.1:{PORT}"


@pytest.fixture
def frontend_settings() -> dict[str, str]:
    return {"FRONTEND_BACKEND_KEY": PAGE_KEY, "FRONTEND_DEMO": "true"}


@pytest.fixture(scope="module")
def backend(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Backend]:
    """Two replicas in a demo, which the page's key and the operator's may ask. The last test kills it."""
    with backend_with_keys(tmp_path_factory.mktemp("lost_backend")) as running:
        yield running


@contextmanager
def backend_with_keys(folder: Path) -> Iterator[Backend]:
    keys = folder / "keys.yaml"
    keys.write_text(yaml.safe_dump({"page": PAGE_KEY, "operator": {"key": OPERATORS_KEY, "admin": True}}))
    two = {"autoscaling_config": {"min_replicas": 2, "max_replicas": 2}}
    with run_backend(folder, {"keys": str(keys), "demo": True}, two, port=PORT) as running:
        yield running


def test_the_configuration_is_edited_on_the_page(
    page: Page, frontend_process: FrontendProcess, backend: Backend
) -> None:
    page.goto(f"{frontend_process.url}knowledge")
    before = page.locator(".heading code").inner_text()
    page.get_by_label("Key", exact=True).fill(OPERATORS_KEY)
    page.get_by_role("button", name="Open the file").click()
    file = page.get_by_label("The file, as YAML")
    shipped = file.input_value()
    assert shipped == backend.chat_config.read_text()
    file.fill("knowledge: 3")
    page.get_by_role("button", name="Check and save").click()
    expect(page.get_by_role("alert")).to_contain_text("Nothing was saved. ")
    expect(file).to_have_value("knowledge: 3")
    file.fill(shipped.replace("Ray Serve listens on port 8000.", "Ray Serve listens on port 4711."))
    page.get_by_role("button", name="Check and save").click()
    saved = page.get_by_text("Saved: configuration")
    expect(saved).to_be_visible()
    version = page.locator(".heading code").inner_text()
    assert version != before and version in saved.inner_text()
    saved.get_by_role("link", name="Cluster").click()
    expect(page.get_by_text(f"Configuration {version} is in use everywhere.")).to_be_visible()
    open_chat(page, frontend_process.url)
    say(page, "Which port does Ray Serve listen on?")
    expect(reply(page)).to_contain_text("4711")
    expect(tag(page)).to_contain_text(f"configuration {version[:8]}")


def test_a_question_is_tried_in_both_ways(page: Page, frontend_process: FrontendProcess, backend: Backend) -> None:
    page.goto(f"{frontend_process.url}knowledge")
    page.get_by_label("Question", exact=True).fill("What is a pod?")
    page.get_by_role("button", name="Try").click()
    expect(page.locator(".way", has_text="Quote mode")).to_contain_text("A pod is the smallest unit")
    expect(page.locator(".way", has_text="Written freely").locator(".said")).to_have_text(re.compile(r"\w"))
    expect(page.locator(".scored .fits").first).to_contain_text("A pod is the smallest unit")


def test_a_replica_that_is_ended_is_seen_lost_and_replaced(
    page: Page, frontend_process: FrontendProcess, backend: Backend, backend_url: str
) -> None:
    """Under load: not one reply is lost, and some are begun by one replica and finished by another."""
    page.goto(f"{frontend_process.url}cluster")
    rows = page.locator("[data-list=replicas] tr")
    expect(page.locator("tr[data-state=running]")).to_have_count(2)
    with replies_meanwhile(backend_url) as replies:
        expect(rows.first).to_contain_text(re.compile(r"[1-9]\d* of 16"))
        page.get_by_role("button", name="End it").first.click()
        expect(page.locator("tr[data-state=lost]")).to_have_count(1)
        expect(page.locator("tr[data-state=starting]")).to_have_count(1)
        expect(page.locator("tr[data-state=running]")).to_have_count(2)
    expect(page.locator("[data-list=changes]")).to_contain_text("is lost: others go on with its replies")
    assert {each.status_code for each in replies} == {200}
    assert max(len(each.json()["origins"]) for each in replies) == 2


@contextmanager
def replies_meanwhile(backend_url: str) -> Iterator[list[requests.Response]]:
    """What came of requests that were made, some at once, while the block ran."""
    replies: list[requests.Response] = []
    ended = threading.Event()

    def ask() -> None:
        while not ended.is_set():
            body = {"dialog": ["What is a pod?"], "generation": LONG}
            headers = {"Authorization": f"Bearer {PAGE_KEY}"}
            replies.append(requests.post(f"{backend_url}/chat", json=body, headers=headers, timeout=60))

    askers = [threading.Thread(target=ask) for _ in range(8)]
    for asker in askers:
        asker.start()
    try:
        yield replies
    finally:
        ended.set()
        for asker in askers:
            asker.join()


def test_a_killed_backend_is_an_error_with_a_retry_that_works_when_it_is_back(page: Page, backend: Backend) -> None:
    say(page, "What is a pod?")
    expect(reply(page)).to_contain_text("pod")
    expect(tag(page)).to_contain_text("models/mini")
    _kill(backend)
    say(page, "What is a node?")
    expect(exchange(page)).to_contain_text("The chat service is away")
    page.reload()
    expect(exchange(page)).to_contain_text("What is a node?")
    expect(exchange(page)).to_contain_text("The chat service is away")
    with backend_with_keys(backend.config.parent):
        exchange(page).get_by_role("button", name="Retry").click()
        expect(reply(page)).to_contain_text("node")
        expect(tag(page)).to_contain_text("models/mini")


def _kill(backend: Backend) -> None:
    for process in backend.processes():
        process.kill()
    backend.process.kill()
    backend.process.wait()
