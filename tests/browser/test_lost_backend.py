"""The real backend is killed under an open page, and comes back."""

from pathlib import Path

import pytest
from playwright.sync_api import Page, expect

from launcher.preflight import free_port
from tests.browser.test_chat import exchange, reply, say, tag
from tests.support.backend import Backend, run_backend

PORT = free_port()


@pytest.fixture
def backend_url() -> str:
    return f"http://127.0.0.1:{PORT}"


def test_a_killed_backend_is_an_error_with_a_retry_that_works_when_it_is_back(page: Page, tmp_path: Path) -> None:
    expect.set_options(timeout=30_000)
    with run_backend(tmp_path, port=PORT) as backend:
        say(page, "What is a pod?")
        expect(reply(page)).to_contain_text("pod")
        expect(tag(page)).to_contain_text("models/mini")
        _kill(backend)
    say(page, "What is a node?")
    expect(exchange(page)).to_contain_text("The chat service is away")
    page.reload()
    expect(exchange(page)).to_contain_text("What is a node?")
    expect(exchange(page)).to_contain_text("The chat service is away")
    with run_backend(tmp_path, port=PORT):
        exchange(page).get_by_role("button", name="Retry").click()
        expect(reply(page)).to_contain_text("node")
        expect(tag(page)).to_contain_text("models/mini")


def _kill(backend: Backend) -> None:
    for process in backend.processes():
        process.kill()
    backend.process.kill()
    backend.process.wait()
