"""The page of the cluster as it changes, and giving a chat a text of its own, in a real Chromium."""

import re

import pytest
from playwright.sync_api import Page, expect

from tests.browser.conftest import FrontendProcess
from tests.browser.test_chat import say, tag
from tests.support.stub_backend import StubBackend, cluster, replica


@pytest.fixture(autouse=True, scope="module")
def patience() -> None:
    """A busy machine is slow, and a passing test does not wait."""
    expect.set_options(timeout=20_000)


def test_replicas_are_seen_to_come_and_to_be_lost(page: Page, backend: StubBackend) -> None:
    backend.replicas = cluster(replica("GodelModel#aaaaaaaa"))
    page.get_by_role("link", name="Cluster").click()
    expect(page.locator("#live")).to_have_text("Live")
    row = page.locator("[data-list=replicas] tr")
    expect(row.first).to_contain_text("aaaaaaaa ready node-a godel-worker-0 3 of 16 2 42")
    expect(row.first.locator("polyline")).to_have_attribute("points", re.compile(r"^[\d.]+,0\.0 .*120\.0,0\.0$"))
    backend.replicas = cluster(replica("GodelModel#aaaaaaaa"), replica("GodelModel#bbbbbbbb", "STARTING"), target=2)
    expect(row).to_have_count(2)
    expect(page.get_by_text("1 starting, 1 ready; autoscaling wants 2.")).to_be_visible()
    backend.replicas = cluster(replica("GodelModel#bbbbbbbb", active=16), target=2)
    expect(row.first).to_have_attribute("data-state", "lost")
    expect(page.locator("[data-list=changes]")).to_contain_text("aaaaaaaa is lost: others go on with its replies")
    assert row.nth(1).locator("meter").evaluate("meter => [meter.value, meter.max]") == [16, 16]
    backend.stop()
    expect(page.get_by_text("The list is as it was last known.")).to_be_visible()


def test_a_hidden_page_looks_no_more(page: Page, backend: StubBackend, frontend_process: FrontendProcess) -> None:
    page.goto(f"{frontend_process.url}cluster")
    expect(page.locator("#live")).to_have_text("Live")
    with page.expect_event("requestfailed", lambda request: "/cluster/events" in request.url):  # it is closed
        page.evaluate(
            "() => { Object.defineProperty(document, 'hidden', {value: true, configurable: true});"
            " document.dispatchEvent(new Event('visibilitychange')); }"
        )
    with page.expect_request("**/cluster/events"):
        page.evaluate("() => { delete document.hidden; document.dispatchEvent(new Event('visibilitychange')); }")


def test_a_chat_answers_from_a_file_that_was_chosen(page: Page, backend: StubBackend) -> None:
    page.get_by_role("link", name="Give it a text of your own").click()
    told, file = page.locator("#told"), page.get_by_label("choose a .txt or .md file")
    file.set_input_files({"name": "cat.txt", "mimeType": "text/plain", "buffer": b"\x89PNG\r\n\x00"})
    expect(told).to_have_text("cat.txt is binary, not text in UTF-8, and would be refused.")
    file.set_input_files({"name": "bakery.md", "mimeType": "text/markdown", "buffer": "It opens at six ☀.".encode()})
    expect(told).to_have_text("bakery.md: 18 of 100,000 characters")
    page.get_by_role("button", name="Use this text").click()
    expect(page.get_by_role("link", name="bakery.md (18 characters)")).to_be_visible()
    page.locator("html[data-ready=true]").wait_for()
    say(page, "When does it open?")
    expect(tag(page)).to_contain_text("from this chat’s own text")
    assert backend.bodies[-1]["knowledge"] == "It opens at six ☀."
