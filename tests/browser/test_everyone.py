"""The page for everyone, in a real Chromium: what axe-core finds, what a screen reader is told, keys, colours."""

from itertools import product
from pathlib import Path

import axe_playwright_python
import pytest
from playwright.sync_api import Page, expect

from tests.browser.conftest import FrontendProcess
from tests.browser.test_chat import box, exchange, reply, say, tag
from tests.support.stub_backend import Answer, StubBackend, cluster, replica

AXE = (Path(axe_playwright_python.__file__).parent / "axe.min.js").read_text()
FIND = """async () => (await axe.run(document, {resultTypes: ["violations"]})).violations.flatMap(
    ({id, nodes}) => nodes.map(({html, failureSummary}) => `${id}: ${html}\\n${failureSummary}`))"""


@pytest.fixture(autouse=True, scope="module")
def patience() -> None:
    """Conditions are awaited for long: a busy machine is slow, and a passing test does not wait."""
    expect.set_options(timeout=20_000)


def check(page: Page) -> None:
    """axe finds nothing, in either colours, on a narrow screen and a wide one; and nothing is cut off at the side."""
    page.evaluate(AXE)
    for colours, width in product(("light", "dark"), (320, 1280)):
        page.emulate_media(color_scheme=colours, reduced_motion="reduce")  # type: ignore[arg-type]  # a literal's
        page.set_viewport_size({"width": width, "height": 800})
        assert page.evaluate(FIND) == [], f"{page.url}, {colours}, {width} px"
        assert page.evaluate("document.documentElement.scrollWidth") <= width, f"{page.url} at {width} px"


def test_axe_finds_nothing_and_the_page_loads_nothing_from_elsewhere(
    page: Page, backend: StubBackend, frontend_process: FrontendProcess
) -> None:
    addresses: list[str] = []
    page.on("request", lambda request: addresses.append(request.url))
    url = frontend_process.url
    backend.replicas = cluster(replica("GodelModel#aaaaaaaa"), replica("GodelModel#bbbbbbbb", "LATE"), target=2)
    page.reload()
    page.locator("html[data-ready=true]").wait_for()
    check(page)
    say(page, "What is a pod?")
    expect(tag(page)).to_be_visible()
    backend.plan(Answer(status=400))
    say(page, "ما هو الـ pod؟")
    expect(exchange(page).get_by_role("button", name="Retry")).to_be_visible()
    page.locator(".tag").first.click()
    check(page)
    page.locator("#options summary").click()
    check(page)
    page.locator(".display > summary").click()
    page.get_by_text("Keyboard shortcuts").first.click()
    check(page)
    for address in (
        "conversations",
        "conversations?q=pod",
        "conversations?q=zebra",
        "data",
        "cluster",
        "knowledge",
        "new/knowledge",
        "new?temporary=true",
        f"conversations/{'0' * 32}",  # an error
    ):
        page.goto(url + address)
        check(page)
    page.goto(url + "knowledge")
    backend.plan(Answer(as_json=True), Answer(as_json=True))
    page.get_by_label("Question", exact=True).fill("What is a pod?")
    page.get_by_role("button", name="Try").click()
    expect(page.get_by_role("heading", name="Passages")).to_be_visible()
    check(page)
    assert [each for each in addresses if not each.startswith(url)] == []


def test_a_reply_is_announced_by_the_sentence(page: Page, backend: StubBackend) -> None:
    answer = backend.plan(
        Answer(tokens=("A pod ", "is small", ". A node", " is large. ", "Th", "at is all."), hold_after=3)
    )
    said = page.locator("#speech p")
    say(page, "What is a pod?")
    expect(reply(page)).to_have_text("A pod is small. A node")
    expect(said).to_have_text(["A pod is small."])
    answer.release.set()
    expect(said).to_have_text(["A pod is small.", "A node is large.", "That is all."])
    live = page.locator("#log, #log *").evaluate_all("all => all.filter(e => e.ariaLive || e.role === 'log').length")
    assert live == 0, "the log itself is not announced"


def test_keys(page: Page, backend: StubBackend) -> None:
    expect(box(page)).to_be_focused()
    page.keyboard.type("n?")
    expect(box(page)).to_have_value("n?")  # in a field a key is a letter
    box(page).fill("")
    page.keyboard.press("Escape")
    page.keyboard.press("?")
    expect(page.get_by_role("dialog", name="Keyboard shortcuts")).to_be_visible()
    expect(page.get_by_role("dialog").locator("kbd")).not_to_have_count(0)
    page.keyboard.press("Escape")
    expect(page.get_by_role("dialog")).to_be_hidden()
    page.keyboard.press("m")
    for text in ("one", "two"):
        say(page, text)
        expect(tag(page)).to_be_visible()
    page.keyboard.press("Escape")
    page.keyboard.press("k")
    expect(exchange(page, 1)).to_be_focused()
    page.keyboard.press("k")
    expect(exchange(page, 0)).to_be_focused()
    page.keyboard.press("/")
    expect(page.get_by_label("Search all chats")).to_be_focused()
    answer = backend.plan(Answer(hold_after=1))
    page.keyboard.press("Escape")
    page.keyboard.press("m")
    say(page, "three")
    expect(reply(page)).to_have_text("A pod is ")
    page.keyboard.press("Escape")
    page.keyboard.press("x")
    expect(exchange(page)).to_contain_text("The reply was stopped")
    answer.release.set()
    page.keyboard.press("Escape")
    page.keyboard.press("n")
    page.wait_for_url("**/new")


def test_single_keys_can_be_switched_off(page: Page) -> None:
    page.locator(".display > summary").click()
    page.get_by_text("Keyboard shortcuts").first.click()
    page.get_by_label("Single keys do something").uncheck()
    page.reload()
    page.locator("html[data-ready=true]").wait_for()
    page.keyboard.press("Escape")
    page.keyboard.press("?")
    expect(page.get_by_role("dialog")).to_be_hidden()


def test_colours_are_chosen_and_there_from_the_first_paint(page: Page, frontend_process: FrontendProcess) -> None:
    page.emulate_media(color_scheme="light")
    page.locator(".display > summary").click()
    with page.expect_response("**/display"):
        page.get_by_role("button", name="Dark").click()
    ground = "getComputedStyle(document.body).backgroundColor"
    assert page.evaluate(ground) == "rgb(19, 22, 24)"
    assert 'data-theme="dark"' in page.request.get(frontend_process.url).text()
    page.goto(frontend_process.url + "data")
    assert page.evaluate(ground) == "rgb(19, 22, 24)"
    page.locator(".display > summary").click()
    with page.expect_response("**/display"):
        page.get_by_role("button", name="System").click()
    assert page.evaluate(ground) == "rgb(247, 246, 243)"
