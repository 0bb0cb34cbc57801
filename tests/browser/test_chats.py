"""The list of chats and what can be done with them, in a real Chromium."""

import json
from pathlib import Path

import pytest
from playwright.sync_api import Browser, BrowserContext, Locator, Page, expect

from frontend.transfer import VERSIONS
from frontend.words import isolated
from tests.browser.conftest import FrontendProcess
from tests.browser.test_chat import HARD_TEXT, box, exchange, say, tag
from tests.support.stub_backend import Answer, StubBackend


@pytest.fixture(autouse=True, scope="module")
def patience() -> None:
    """Conditions are awaited for long: a busy machine is slow, and a passing test does not wait."""
    expect.set_options(timeout=20_000)


def begin(page: Page, text: str) -> None:
    """A new chat with an answered question."""
    page.get_by_role("link", name="New chat").click()
    page.locator("html[data-ready=true]").wait_for()
    say(page, text)
    expect(tag(page)).to_be_visible()


def beside(page: Page) -> Locator:
    """The titles in the list beside the chat."""
    return page.locator("#recent a")


def rows(page: Page) -> Locator:
    """The titles on the page of all chats."""
    return page.locator(".rows li > a")


def options(page: Page, number: int) -> Locator:
    """The menu of one of them, opened."""
    menu = page.locator(".rows .menu").nth(number)
    menu.locator("summary").click()
    return menu


def all_chats(page: Page) -> None:
    page.get_by_role("link", name="All chats").first.click()
    page.locator(".library").wait_for()
    page.locator("html[data-ready=true]").wait_for()


def test_chats_are_listed_newest_first_and_opened(page: Page) -> None:
    expect(page.get_by_text("Your chats will be listed here.")).to_be_visible()
    begin(page, "What is a pod?")
    expect(beside(page)).to_have_text(["What is a pod?"])
    expect(page.get_by_role("heading", level=1)).to_have_text("What is a pod?")
    expect(page).to_have_title("What is a pod? · Grounded chat")
    begin(page, HARD_TEXT)
    expect(beside(page)).to_have_count(2)
    expect(beside(page).first).to_contain_text("<script>")
    expect(beside(page).first).to_have_attribute("aria-current", "page")
    beside(page).nth(1).click()
    page.locator("html[data-ready=true]").wait_for()
    expect(exchange(page).locator("[data-field=message]")).to_have_text("What is a pod?")
    expect(page.locator("#log .exchange")).to_have_count(1)
    page.reload()
    expect(page.locator("#log .exchange")).to_have_count(1)
    assert page.title() != "owned"


def test_the_address_of_a_new_chat_is_its_own_once_it_is_stored(page: Page) -> None:
    say(page, "What is a pod?")
    expect(tag(page)).to_be_visible()
    assert "/conversations/" in page.url
    say(page, "And a node?")
    expect(tag(page, 1)).to_be_visible()
    expect(beside(page)).to_have_count(1)
    page.reload()
    expect(page.locator("#log .exchange")).to_have_count(2)


def test_a_chat_is_renamed_in_the_list_and_beside_itself(page: Page) -> None:
    begin(page, "What is a pod?")
    page.locator("#options summary").click()
    page.locator("#options").get_by_label("Title").fill("Pods")
    page.locator("#options").get_by_role("button", name="Rename").click()
    expect(page.get_by_role("heading", level=1)).to_have_text("Pods")
    all_chats(page)
    expect(rows(page)).to_have_text(["Pods"])
    menu = options(page, 0)
    menu.get_by_label("Title").fill(HARD_TEXT)
    menu.get_by_role("button", name="Rename").click()
    expect(rows(page)).to_have_text([HARD_TEXT])
    menu = options(page, 0)
    menu.get_by_label("Title").fill("   ")
    menu.get_by_role("button", name="Rename").click()
    expect(page.get_by_role("alert")).to_contain_text("The title is empty")
    expect(rows(page)).to_have_text([HARD_TEXT])


def test_a_chat_is_deleted_and_taken_back(page: Page) -> None:
    begin(page, "one")
    begin(page, "two")
    all_chats(page)
    options(page, 0).get_by_role("button", name="Delete").click()
    expect(page.get_by_role("status")).to_contain_text(f"“{isolated('two')}” is deleted")
    expect(rows(page)).to_have_text(["one"])
    page.get_by_role("button", name="Undo").click()
    expect(rows(page)).to_have_text(["two", "one"])


def test_everything_works_by_keyboard(page: Page) -> None:
    begin(page, "one")
    all_chats(page)
    rows(page).first.focus()
    page.keyboard.press("Tab")
    summary = page.locator(".rows summary").first
    expect(summary).to_be_focused()
    assert summary.evaluate("(e) => getComputedStyle(e).outlineStyle") == "solid"
    page.keyboard.press("Enter")
    page.keyboard.press("Tab")
    expect(page.get_by_label("Title")).to_be_focused()
    page.keyboard.press("Escape")
    expect(page.get_by_label("Title")).to_be_hidden()
    expect(summary).to_be_focused()
    page.keyboard.press("Enter")
    page.keyboard.press("Tab")
    page.keyboard.press("Control+A")
    page.keyboard.type("renamed")
    page.keyboard.press("Enter")
    expect(rows(page)).to_have_text(["renamed"])
    page.wait_for_load_state()  # until then, the row that the address names may take the focus
    page.locator(".rows summary").first.press("Enter")
    page.get_by_role("button", name="Delete").press("Enter")
    expect(page.get_by_role("button", name="Undo")).to_be_focused()
    page.keyboard.press("Enter")
    expect(rows(page)).to_have_text(["renamed"])
    page.get_by_role("searchbox").fill("one")
    page.keyboard.press("Enter")
    expect(page.locator(".hits li")).to_have_count(1)


def test_a_search_leads_to_the_message(page: Page, backend: StubBackend) -> None:
    for number in range(12):
        say(page, f"question {number}" + " about zebras" * (number == 1))
        expect(tag(page, number)).to_be_visible()
    page.get_by_role("searchbox", name="Search all chats").fill('"ZEBRA" OR (')
    page.keyboard.press("Enter")
    expect(page.get_by_text("Nothing was found")).to_be_visible()  # "or" is a word as any other
    page.get_by_role("searchbox").fill('"ZEBRA" (')
    page.keyboard.press("Enter")
    expect(page.locator(".hits mark")).to_have_text(["zebras"])
    page.locator(".hits").get_by_role("link").click()
    page.locator("html[data-ready=true]").wait_for()
    expect(exchange(page, 0)).to_be_in_viewport()
    expect(exchange(page, 0)).to_contain_text("about zebras")
    expect(exchange(page, 10)).not_to_be_in_viewport()
    page.get_by_role("link", name="Show the one before").click()
    expect(page.locator("#log .exchange")).to_have_count(12)


def test_chats_are_exported_and_imported(page: Page, browser: Browser, frontend_process: FrontendProcess) -> None:
    begin(page, HARD_TEXT)
    begin(page, "two")
    page.get_by_role("link", name="Your data").click()
    with page.expect_download() as download:
        page.get_by_role("link", name="JSON").click()
    file = download.value.path()
    other = browser.new_context().new_page()
    other.goto(frontend_process.url + "data")
    other.get_by_label("File of chats").set_input_files({"name": "x.json", "mimeType": "", "buffer": b"no JSON"})
    other.get_by_role("button", name="Import").click()
    expect(other.get_by_role("alert")).to_contain_text("is not JSON")
    other.get_by_label("File of chats").set_input_files(file)
    other.get_by_role("button", name="Import").click()
    expect(other.get_by_role("status")).to_contain_text("2 chats are imported")
    expect(rows(other).first).to_have_text("two")
    rows(other).nth(1).click()
    expect(exchange(other).locator("[data-field=message]")).to_have_text(HARD_TEXT)
    assert other.title() != "owned"
    with page.expect_download() as download:
        page.get_by_role("link", name="Markdown").click()
    assert "## Reply" in Path(download.value.path()).read_text()
    assert json.loads(Path(file).read_text())["version"] == VERSIONS[-1]


def test_a_chat_deleted_in_another_tab_is_said_and_its_undo_too(
    page: Page, context: BrowserContext, frontend_process: FrontendProcess
) -> None:
    begin(page, "What is a pod?")
    box(page).fill("half a thought")
    other = context.new_page()
    other.goto(frontend_process.url + "conversations")
    options(other, 0).get_by_role("button", name="Delete").click()
    expect(page.get_by_role("alert")).to_contain_text("It was deleted, perhaps in another tab")
    expect(page.locator("#log .exchange")).to_have_count(1)
    expect(beside(page)).to_have_count(0)
    other.get_by_role("button", name="Undo").click()
    expect(page.get_by_role("alert")).to_be_hidden()
    expect(beside(page)).to_have_count(1)
    expect(box(page)).to_have_value("half a thought")


def test_a_temporary_chat_leaves_no_trace(page: Page) -> None:
    page.get_by_role("link", name="Begin a temporary chat").click()
    page.locator("html[data-ready=true]").wait_for()
    expect(page.get_by_text("A temporary chat: it is in no list")).to_be_visible()
    for number in range(2):
        say(page, "between us")
        expect(tag(page, number)).to_be_visible()
    expect(beside(page)).to_have_count(0)
    page.reload()
    expect(page.locator("#log .exchange")).to_have_count(2)
    page.locator("#options summary").click()
    page.locator("#options").get_by_role("button", name="Delete now").click()
    expect(page.get_by_text("The temporary chat was deleted.")).to_be_visible()
    all_chats(page)
    expect(page.get_by_text("No chats yet")).to_be_visible()


def test_a_reply_is_finished_though_another_chat_is_open(page: Page, backend: StubBackend) -> None:
    say(page, "one")
    expect(tag(page)).to_be_visible()
    begin(page, "two")
    expect(beside(page)).to_have_text(["two", "one"])
    beside(page).nth(1).click()
    page.locator("html[data-ready=true]").wait_for()
    say(page, "more of one")
    expect(tag(page, 1)).to_be_visible()
    expect(beside(page)).to_have_text(["one", "two"])
    assert backend.dialogs[-1] == ["one", Answer().text, "more of one"]


def test_everything_is_deleted(page: Page) -> None:
    begin(page, "one")
    page.get_by_role("link", name="Your data").click()
    page.get_by_label("I am sure").check()
    page.get_by_role("button", name="Delete everything").click()
    expect(page.get_by_text("Everything that was kept of you is deleted")).to_be_visible()
    page.goto(page.url.split("/new")[0] + "/conversations")
    expect(page.get_by_text("No chats yet")).to_be_visible()


@pytest.mark.parametrize("width", [320, 600, 1_280])
def test_nothing_is_wider_than_the_screen(page: Page, width: int) -> None:
    page.set_viewport_size({"width": width, "height": 640})
    say(page, "x" * 300)
    expect(tag(page)).to_be_visible()
    page.locator("#options summary").click()
    address = page.url
    home = address.split("conversations")[0]
    for place in (address, home + "conversations", home + "conversations?q=x", home + "data", home + "new"):
        if place != address:
            page.goto(place)
        assert page.evaluate("document.documentElement.scrollWidth") <= width, place
        panels = page.locator(".panel:visible")
        for number in range(panels.count()):
            assert panels.nth(number).evaluate("(e) => e.getBoundingClientRect().left") >= 0


# ---- without the script


def test_without_the_script_all_of_it_works(browser: Browser, frontend_process: FrontendProcess) -> None:
    plain = browser.new_context(java_script_enabled=False).new_page()
    plain.goto(frontend_process.url)
    for text in ("one", "two"):
        plain.get_by_role("link", name="New chat").click()
        box(plain).fill(text)
        plain.get_by_role("button", name="Send").click()
        expect(tag(plain)).to_be_visible()
    expect(beside(plain)).to_have_text(["two", "one"])
    plain.get_by_role("link", name="All chats").first.click()
    menu = options(plain, 0)
    menu.get_by_label("Title").fill("renamed")
    menu.get_by_role("button", name="Rename").click()
    expect(rows(plain)).to_have_text(["renamed", "one"])
    options(plain, 0).get_by_role("button", name="Delete").click()
    expect(rows(plain)).to_have_text(["one"])
    plain.get_by_role("button", name="Undo").click()
    expect(rows(plain)).to_have_text(["renamed", "one"])
    plain.get_by_role("searchbox").fill("two")
    plain.get_by_role("searchbox").press("Enter")
    plain.locator(".hits").get_by_role("link").click()
    expect(exchange(plain).locator("[data-field=message]")).to_have_text("two")
