"""The whole product: a real Chromium, the frontend, and a real model on Ray Serve."""

import pytest
from playwright.sync_api import Page, expect

from tests.browser.conftest import FrontendProcess, open_chat
from tests.browser.test_chat import exchange, reply, say, tag
from tests.support.backend import Backend
from tests.support.waiting import eventually


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


BAKERY = """\
  The bakery opens at half past six in the morning.
  On Sundays it closes at noon.
  A loaf of rye bread costs 4.20 euros.
  The bakery was founded by Ida Holm in 1931.
"""


def test_the_readmes_tour(page: Page, real_backend: Backend) -> None:
    """Ask, follow up, teach it something else, ask again, and ask what it cannot know."""
    say(page, "What is a pod?")
    expect(reply(page)).to_contain_text("A pod is the smallest unit that Kubernetes schedules.")
    shipped = real_backend.chat_config.read_text()
    before, after = shipped.split("knowledge: |\n")[0], shipped.split("\ngeneration:")[1]
    version = real_backend.health()["config_version"]
    try:
        real_backend.chat_config.write_text(f"{before}knowledge: |\n{BAKERY}\ngeneration:{after}")
        eventually(lambda: real_backend.health()["config_version"] != version, 10, "the new knowledge")
        say(page, "How much is a loaf of rye bread?")
        expect(reply(page)).to_contain_text("A loaf of rye bread costs 4.20 euros.")
        say(page, "Who founded the bakery?")
        expect(reply(page)).to_contain_text("Ida Holm")
        expect(tag(page)).to_contain_text("grounded 100 %")
        say(page, "Who won the football match yesterday?")
        expect(reply(page)).to_contain_text("I don't know")
    finally:
        real_backend.chat_config.write_text(shipped)
