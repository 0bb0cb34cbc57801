"""The whole product: a real Chromium, the frontend, and a real model on Ray Serve."""

import pytest
from playwright.sync_api import Page, expect

from tests.backend import Backend
from tests.browser.conftest import FrontendProcess, open_chat
from tests.browser.test_browser_chat import exchange, reply, say, tag


@pytest.fixture(autouse=True, scope="module")
def patience() -> None:
    """A busy machine is slow, and a passing test does not wait."""
    expect.set_options(timeout=30_000)


@pytest.fixture
def backend_url(real_backend: Backend) -> str:
    return real_backend.url


def test_a_grounded_conversation_whose_later_question_depends_on_an_earlier_turn(
    page: Page, real_backend: Backend, frontend_process: FrontendProcess
) -> None:
    (replica,) = real_backend.replicas()
    say(page, "What is T5?")
    expect(reply(page)).to_contain_text("encoder-decoder")
    expect(tag(page)).to_contain_text(replica["replica_id"][:8])
    expect(tag(page)).to_contain_text("models/mini")
    say(page, "Who made it?")
    expect(reply(page)).to_contain_text("Google")
    page.reload()
    expect(exchange(page, 0)).to_contain_text("encoder-decoder")
    expect(reply(page)).to_contain_text("Google")
    frontend_process.restart()
    open_chat(page, frontend_process.url)
    expect(reply(page)).to_contain_text("Google")
