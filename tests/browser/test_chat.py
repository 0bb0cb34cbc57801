"""The page in a real Chromium, against a real frontend process and a stub backend."""

from collections.abc import Callable

import pytest
from playwright.sync_api import Browser, BrowserContext, Locator, Page, expect

from tests.browser.conftest import FrontendProcess, open_chat
from tests.support.stub_backend import BEGINS, REPLICA, Answer, StubBackend

REPLY = Answer().text
HARD_TEXT = "<script>document.title='owned'</script><img src=x onerror=\"document.title='owned'\"> שלום 🙂"


@pytest.fixture(autouse=True, scope="module")
def patience() -> None:
    """Conditions are awaited for long: a busy machine is slow, and a passing test does not wait."""
    expect.set_options(timeout=20_000)


def say(page: Page, text: str) -> None:
    """Type a message and send it with Enter."""
    page.get_by_label("Your message").fill(text)
    page.keyboard.press("Enter")


def exchange(page: Page, number: int = -1) -> Locator:
    """One exchange of the log, the last one by default."""
    return page.locator("#log .exchange").nth(number)


def reply(page: Page, number: int = -1) -> Locator:
    """The text of its reply."""
    return exchange(page, number).locator("[data-field=text]")


def tag(page: Page, number: int = -1) -> Locator:
    """The line that says where the reply came from; there only once the reply is complete."""
    return exchange(page, number).locator(".tag")


def background(element: Locator) -> str:
    return str(element.evaluate("(e) => getComputedStyle(e).backgroundColor"))


def box(page: Page) -> Locator:
    return page.get_by_label("Your message")


# ---- a reply


def test_a_model_that_starts_first_is_waited_for_and_the_page_says_so(page: Page, backend: StubBackend) -> None:
    backend.plan(Answer(status=503, error_type="starting", headers={"Retry-After": "1"}))
    say(page, "What is a pod?")
    expect(exchange(page)).to_contain_text("The model is starting")
    expect(reply(page)).to_have_text(REPLY)
    expect(exchange(page)).not_to_contain_text("The model is starting")


def test_a_reply_is_seen_growing_then_tagged(page: Page, backend: StubBackend) -> None:
    answer = backend.plan(Answer(hold_after=1, seed=7, start=BEGINS))
    say(page, "What is a pod?")
    expect(reply(page)).to_have_text("A pod is ")
    begun = exchange(page).locator("[data-list=begun]")
    expect(begun).to_contain_text("replica 7f3c9a1e")
    expect(begun).to_contain_text("first token 40 ms")
    expect(tag(page)).to_be_hidden()
    colour = background(begun.locator(".hue"))
    assert colour != "rgba(0, 0, 0, 0)"
    answer.release.set()
    expect(reply(page)).to_have_text(REPLY)
    expect(begun).to_be_hidden()
    expect(tag(page)).to_contain_text("replica 7f3c9a1e")
    assert background(tag(page).locator(".hue")) == colour
    expect(tag(page)).to_contain_text("node node-a")
    expect(tag(page)).to_contain_text("model models/mini")
    expect(tag(page)).to_contain_text("8.9 tokens/s")
    expect(tag(page)).to_contain_text("1.2 s")
    expect(box(page)).to_have_value("")
    expect(box(page)).to_be_focused()


def test_typing_is_shown_until_the_first_token(page: Page, backend: StubBackend) -> None:
    answer = backend.plan(Answer(hold_after=0))
    say(page, "What is a pod?")
    expect(exchange(page).locator("[data-part=typing]")).to_contain_text("Writing")
    expect(exchange(page).locator("[data-part=bot]")).to_have_attribute("aria-busy", "true")
    answer.release.set()
    expect(reply(page)).to_have_text(REPLY)
    expect(exchange(page).locator("[data-part=typing]")).to_be_hidden()
    expect(exchange(page).locator("[data-part=bot]")).to_have_attribute("aria-busy", "false")


def test_details_tell_the_rest(page: Page) -> None:
    say(page, "What is a pod?")
    exchange(page).get_by_text("Details").click()
    details = exchange(page).locator(".details")
    for told in (REPLICA, "req-1", "c0ffee12", "120 in the prompt", "p17 · score 4.25", "A pod is the smallest unit."):
        expect(details).to_contain_text(told)
    meter = details.get_by_role("meter")
    assert [meter.evaluate(f"(e) => e.{name}") for name in ("value", "max")] == [120, 512]
    expect(details).to_contain_text("120 of 512 tokens read, no earlier turn left out")


SOURCES = {
    "grounding": {
        "passages": [
            {"id": "p4", "text": "A node runs pods.", "score": 0.5, "filling": False},
            {"id": "p9", "text": "Indeed A POD IS the smallest unit.", "score": 0.2, "filling": False},
            {"id": "p1", "text": "Far away.", "score": -0.3, "filling": True},
        ]
    },
    "citations": [{"start": 0, "end": 26, "passage": "p9", "passage_start": 7, "passage_end": 33}],
    "grounded": 0.6667,
}


def test_cited_words_lead_to_their_passage(page: Page, backend: StubBackend) -> None:
    """As the script has just shown it, and as the server renders it after a reload; by mouse, and by keyboard."""
    backend.plan(Answer(extra=SOURCES))
    say(page, "What is a pod?")
    uses: list[Callable[[Locator], None]] = [Locator.click, lambda link: link.press("Enter")]
    for use in uses:
        expect(tag(page)).to_contain_text("grounded 67 %")
        cited = reply(page).get_by_role("link")
        expect(cited).to_have_text("A pod is the smallest unit")
        assert "underline" in str(cited.evaluate("(e) => getComputedStyle(e).textDecorationLine"))
        passages = exchange(page).locator("[data-list=passages] li")
        expect(passages.nth(1)).to_be_hidden()
        use(cited)
        expect(passages.nth(1)).to_be_focused()
        expect(passages.nth(1)).to_have_class("shown")
        expect(passages.nth(1)).to_be_in_viewport()
        expect(passages.locator("mark")).to_have_text("A POD IS the smallest unit")
        assert "#" not in page.url
        page.reload()
        page.locator("html[data-ready=true]").wait_for()


def test_passages_that_only_filled_the_window_are_folded_away(page: Page, backend: StubBackend) -> None:
    backend.plan(Answer(extra=SOURCES))
    say(page, "What is a pod?")
    exchange(page).get_by_text("Details").click()
    expect(exchange(page).get_by_text("A node runs pods.")).to_be_visible()
    expect(exchange(page).get_by_text("Far away.")).to_be_hidden()
    exchange(page).get_by_text("Also given: 1 passage without a match").click()
    expect(exchange(page).get_by_text("Far away.")).to_be_visible()
    page.evaluate("document.querySelector('#log .exchange').classList.add('old')")
    page.evaluate("document.dispatchEvent(new Event('visibilitychange'))")
    expect(page.locator("#log .old")).to_have_count(0)
    expect(exchange(page).get_by_text("Far away.")).to_be_visible()  # what was open stays open when it is shown anew


def test_a_later_question_is_sent_with_what_was_said(page: Page, backend: StubBackend) -> None:
    say(page, "What is a pod?")
    expect(tag(page)).to_be_visible()
    say(page, "Who made it?")
    expect(tag(page, 1)).to_be_visible()
    assert backend.dialogs[1] == ["What is a pod?", REPLY, "Who made it?"]


def test_a_suggestion_is_sent_by_a_click(page: Page) -> None:
    page.get_by_role("button", name="What does KubeRay do?").click()
    expect(exchange(page).locator("[data-field=message]")).to_have_text("What does KubeRay do?")
    expect(reply(page)).to_have_text(REPLY)
    expect(page.locator("#welcome")).to_be_hidden()


def test_the_script_shows_what_the_server_renders(page: Page, backend: StubBackend) -> None:
    """One structure, filled twice: the log that the script built equals the log of a page without the script."""
    passages = [{"id": f"p{n}", "text": HARD_TEXT, "score": n / 3, "filling": n == 2} for n in range(3)]
    backend.plan(
        Answer(response=f"so: {HARD_TEXT}!", extra={"grounding": {"passages": passages}, "citations": [QUOTE]}),
        Answer(response=" "),
        Answer(status=503, message="no replica"),
    )
    for number in range(3):
        say(page, HARD_TEXT)
        expect(page.locator("#stop")).to_be_hidden()
        expect(page.locator("#log .exchange")).to_have_count(number + 1)
    built = page.evaluate(f"({LOOK})(document)")
    rendered = page.evaluate(
        f"""async () => ({LOOK})(await new Promise((resolve) => {{
          const request = new XMLHttpRequest();
          request.responseType = 'document';
          request.onload = () => resolve(request.response);
          request.open('GET', '/');
          request.send();
        }}))"""
    )
    assert len(built) > 100
    assert built == rendered
    # The same once more, when the script has shown everything anew.
    page.evaluate("document.querySelector('#log .exchange').classList.add('old')")
    page.evaluate("document.dispatchEvent(new Event('visibilitychange'))")
    expect(page.locator("#log .old")).to_have_count(0)
    assert page.evaluate(f"({LOOK})(document)") == rendered


# Of HARD_TEXT, after "so: ".
QUOTE = {"start": 4, "end": 24, "passage": "p1", "passage_start": 0, "passage_end": 20}

# Left out: times, which are in the reader's zone, and what only the script can do.
LOOK = """(page) => [...page.querySelectorAll('#log *')]
  .filter((e) => !e.matches('time, .copy, .typing, .typing *'))
  .map((e) => [e.tagName, e.className, e.id, e.hidden, e.title, e.value,
               ...['action', 'href', 'tabindex'].map((name) => e.getAttribute(name)),
               ...[...e.childNodes].map((n) => n.nodeName === '#text' ? n.data.trim() : '').filter(Boolean)
              ].join('|'))"""


def test_focus_and_selection_stay_when_another_tab_has_the_log_shown_anew(
    page: Page, context: BrowserContext, frontend_process: FrontendProcess
) -> None:
    """In a log that the server has rendered, and in one that the script has."""
    say(page, "What is a pod?")
    expect(tag(page)).to_be_visible()
    other = context.new_page()
    open_chat(other, frontend_process.url)
    for number in (1, 2):
        good = exchange(other, 0).get_by_role("button", name="Good reply")
        good.focus()
        other.evaluate("getSelection().selectAllChildren(document.querySelector('[data-field=message]'))")
        say(page, "And a node?")
        expect(tag(page, number)).to_be_visible()
        expect(tag(other, number)).to_be_visible()
        expect(good).to_be_focused()
    assert other.evaluate("getSelection().toString()") == "What is a pod?"


# ---- versions and branches


def versions(page: Page, number: int = -1) -> Locator:
    return exchange(page, number).get_by_role("navigation", name="Versions")


def test_a_reply_is_regenerated_and_every_version_reached(
    page: Page, context: BrowserContext, frontend_process: FrontendProcess, backend: StubBackend
) -> None:
    backend.plan(Answer(response="first"), Answer(response="second"), Answer(status=422, message="no"))
    say(page, "What is a pod?")
    expect(reply(page)).to_have_text("first")
    expect(versions(page)).to_be_hidden()
    other = context.new_page()
    open_chat(other, frontend_process.url)
    exchange(page).get_by_role("button", name="Regenerate").click()
    expect(reply(page)).to_have_text("second")
    expect(versions(page)).to_contain_text("2/2")
    expect(reply(other)).to_have_text("second")
    other.close()  # it shows this page anew when a reply has ended, perhaps between a link's focus and its key
    exchange(page).get_by_role("button", name="Regenerate").click()
    expect(exchange(page)).to_contain_text("not accepted")  # what failed is a version too, and the others are kept
    expect(versions(page)).to_contain_text("3/3")
    for text in ("second", "first"):
        versions(page).get_by_role("link", name="Earlier version").press("Enter")
        expect(reply(page)).to_have_text(text)
    expect(versions(page).get_by_role("link", name="Later version")).to_be_focused()
    page.reload()
    expect(reply(page)).to_have_text("first")
    say(page, "And a node?")
    expect(tag(page, 1)).to_be_visible()
    assert backend.dialogs[-1] == ["What is a pod?", "first", "And a node?"]


def test_an_earlier_message_is_edited_and_its_branch_kept(page: Page, backend: StubBackend) -> None:
    for number, text in enumerate(("one", "two", "three")):
        say(page, text)
        expect(tag(page, number)).to_be_visible()
    edit = exchange(page, 1).get_by_role("link", name="Edit")
    edit.click()
    expect(box(page)).to_have_value("two")
    page.get_by_role("link", name="Cancel").click()
    expect(box(page)).to_have_value("")
    edit.click()
    say(page, "2")
    expect(page.locator("#log .exchange")).to_have_count(2)
    expect(versions(page, 1)).to_contain_text("2/2")
    expect(tag(page, 1)).to_be_visible()
    expect(page.locator("#editing")).to_be_hidden()
    assert backend.dialogs[-1] == ["one", REPLY, "2"]
    versions(page, 1).get_by_role("link", name="Earlier version").click()
    expect(page.locator("#log .exchange")).to_have_count(3)
    expect(exchange(page, 2).locator("[data-field=message]")).to_have_text("three")
    say(page, "four")
    expect(tag(page, 3)).to_be_visible()
    assert backend.dialogs[-1] == ["one", REPLY, "two", REPLY, "three", REPLY, "four"]


def test_an_edited_message_waits_for_another_tabs_reply(
    page: Page, context: BrowserContext, frontend_process: FrontendProcess, backend: StubBackend
) -> None:
    say(page, "one")
    expect(tag(page)).to_be_visible()
    other = context.new_page()
    open_chat(other, frontend_process.url)
    exchange(other).get_by_role("link", name="Edit").click()
    answer = backend.plan(Answer(hold_after=1))
    say(page, "two")
    expect(reply(page, 1)).to_have_text("A pod is ")
    expect(reply(other, 1)).to_have_text("A pod is ")
    box(other).fill("1")
    other.keyboard.press("Enter")  # it waits in the box until the reply is complete
    answer.release.set()
    expect(tag(other, 1)).to_be_visible()
    expect(box(other)).to_have_value("1")
    other.keyboard.press("Enter")
    expect(versions(other, 0)).to_contain_text("2/2")
    expect(tag(other)).to_be_visible()
    assert backend.dialogs[-1] == ["1"]


def test_a_reply_is_rated_and_the_rating_taken_back(page: Page) -> None:
    say(page, "What is a pod?")
    good, bad = (exchange(page).get_by_role("button", name=f"{name} reply") for name in ("Good", "Bad"))
    good.click()
    expect(good).to_have_attribute("aria-pressed", "true")
    bad.click()
    expect(bad).to_have_attribute("aria-pressed", "true")
    expect(good).to_have_attribute("aria-pressed", "false")
    page.reload()
    page.locator("html[data-ready=true]").wait_for()
    expect(bad).to_have_attribute("aria-pressed", "true")
    bad.click()
    expect(bad).to_have_attribute("aria-pressed", "false")
    page.reload()
    expect(bad).to_have_attribute("aria-pressed", "false")


# ---- it lasts


def test_a_reload_keeps_the_conversation(page: Page) -> None:
    say(page, "What is a pod?")
    expect(tag(page)).to_be_visible()
    page.reload()
    expect(page.locator("#log .exchange")).to_have_count(1)
    expect(reply(page)).to_have_text(REPLY)
    expect(tag(page)).to_contain_text("replica 7f3c9a1e")


def test_a_restart_of_the_frontend_keeps_the_conversation(
    page: Page, frontend_process: FrontendProcess, backend: StubBackend
) -> None:
    say(page, "What is a pod?")
    expect(tag(page)).to_be_visible()
    frontend_process.restart()
    say(page, "And now?")  # without a reload: the session goes on
    expect(tag(page, 1)).to_be_visible()
    assert backend.dialogs[1] == ["What is a pod?", REPLY, "And now?"]
    page.reload()
    expect(page.locator("#log .exchange")).to_have_count(2)


def test_a_new_chat_is_empty(page: Page) -> None:
    say(page, "What is a pod?")
    expect(tag(page)).to_be_visible()
    page.get_by_role("link", name="New chat").click()
    expect(page.locator("#welcome")).to_be_visible()
    page.reload()
    expect(page.locator("#log .exchange")).to_have_count(0)


# ---- things go wrong


def test_stop_frees_the_backend_and_retry_writes_anew(page: Page, backend: StubBackend) -> None:
    backend.plan(Answer(hold_after=1), Answer(response="a whole reply"))
    say(page, "What is a pod?")
    expect(reply(page)).to_have_text("A pod is ")
    page.get_by_role("button", name="Stop").click()
    expect(exchange(page)).to_contain_text("The reply was stopped")
    expect(reply(page)).to_have_text("A pod is ")
    backend.wait_for_hangup()
    exchange(page).get_by_role("button", name="Retry").click()
    expect(reply(page)).to_have_text("a whole reply")
    expect(tag(page)).to_be_visible()
    expect(exchange(page)).not_to_contain_text("The reply was stopped")


def test_stop_before_the_first_word(page: Page, backend: StubBackend) -> None:
    backend.plan(Answer(hold_after=0))
    say(page, "What is a pod?")
    backend.wait_for_question()  # a reply that is stopped before leaves this answer to the retry
    page.get_by_role("button", name="Stop").click()
    expect(exchange(page)).to_contain_text("The reply was stopped")
    exchange(page).get_by_role("button", name="Retry").click()
    expect(reply(page)).to_have_text(REPLY)


def test_a_stopped_reply_is_kept_and_can_be_retried_after_a_reload(page: Page, backend: StubBackend) -> None:
    backend.plan(Answer(hold_after=1))
    say(page, "What is a pod?")
    expect(reply(page)).to_have_text("A pod is ")
    page.get_by_role("button", name="Stop").click()
    expect(exchange(page)).to_contain_text("The reply was stopped")
    built = page.evaluate(f"({LOOK})(document)")
    page.reload()
    page.locator("html[data-ready=true]").wait_for()
    assert page.evaluate(f"({LOOK})(document)") == built
    expect(exchange(page)).to_contain_text("The reply was stopped")
    expect(reply(page)).to_have_text("A pod is ")
    expect(reply(page)).to_have_class("text partial")
    exchange(page).get_by_role("button", name="Retry").click()
    expect(reply(page)).to_have_text(REPLY)


def test_a_page_reloaded_in_the_middle_goes_on_and_can_stop(page: Page, backend: StubBackend) -> None:
    answer = backend.plan(Answer(hold_after=1), Answer(hold_after=1))
    say(page, "What is a pod?")
    expect(reply(page)).to_have_text("A pod is ")
    page.reload()
    expect(reply(page)).to_have_text("A pod is ")
    answer.release.set()
    expect(tag(page)).to_be_visible()
    expect(reply(page)).to_have_text(REPLY)
    say(page, "And now?")
    expect(reply(page)).to_have_text("A pod is ")
    page.reload()
    page.get_by_role("button", name="Stop").click()
    expect(exchange(page)).to_contain_text("The reply was stopped")
    backend.wait_for_hangup()


def test_a_reply_is_written_though_its_tab_was_closed(
    page: Page, context: BrowserContext, frontend_process: FrontendProcess, backend: StubBackend
) -> None:
    answer = backend.plan(Answer(hold_after=1))
    say(page, "What is a pod?")
    expect(reply(page)).to_have_text("A pod is ")
    page.close()
    answer.release.set()
    again = context.new_page()
    open_chat(again, frontend_process.url)
    expect(tag(again)).to_be_visible()
    expect(reply(again)).to_have_text(REPLY)


def test_a_lost_connection_to_the_page_is_a_pause_and_no_error(
    page: Page, context: BrowserContext, backend: StubBackend
) -> None:
    """What a phone's tunnel does: the stream breaks, and the rest comes over another."""
    page.add_init_script(BREAKS_ONCE)
    page.reload()
    page.locator("html[data-ready=true]").wait_for()
    answer = backend.plan(Answer(hold_after=2))
    say(page, "What is a pod?")
    page.wait_for_function("() => window.broken")
    answer.release.set()
    expect(tag(page)).to_be_visible()
    expect(reply(page)).to_have_text(REPLY)
    assert len(backend.dialogs) == 1


# The first stream ends in an error after its first piece, as a connection does that breaks.
BREAKS_ONCE = """
const real = window.fetch;
window.fetch = async (url, options) => {
  const response = await real(url, options);
  if (window.broken || options?.method !== 'POST') return response;
  const reader = response.body.getReader();
  const body = new ReadableStream({ async pull(controller) {
    if (window.broken === false) { window.broken = true; reader.cancel(); controller.error(new TypeError('broken')); }
    else { controller.enqueue((await reader.read()).value); window.broken = false; }
  } });
  return new Response(body, { status: response.status, headers: response.headers });
};
"""


def test_a_killed_backend_is_seen_and_retry_works_when_it_is_back(page: Page, backend: StubBackend) -> None:
    backend.stop()
    say(page, "What is a pod?")
    expect(exchange(page)).to_contain_text("The chat service is away")
    expect(page.locator("#state")).to_contain_text("Away")
    page.reload()
    expect(exchange(page)).to_contain_text("The chat service is away")
    expect(reply(page)).to_be_hidden()
    backend.start()
    exchange(page).get_by_role("button", name="Retry").click()
    expect(reply(page)).to_have_text(REPLY)
    assert backend.dialogs == [["What is a pod?"]]


def test_a_backend_killed_in_the_middle_leaves_its_text_marked(page: Page, backend: StubBackend) -> None:
    backend.plan(Answer(hold_after=2))
    say(page, "What is a pod?")
    expect(reply(page)).to_have_text("A pod is the smallest unit ")
    backend.stop()
    expect(exchange(page)).to_contain_text("The reply was interrupted")
    expect(reply(page)).to_have_class("text partial")
    expect(tag(page)).to_be_hidden()
    page.reload()
    expect(reply(page)).to_be_hidden()


def test_a_connection_that_breaks_is_a_pause_and_no_error(page: Page, backend: StubBackend) -> None:
    origins = [{"replica_id": f"replica-{name}", "nodeName": f"node-{name}"} for name in "ab"]
    backend.plan(Answer(seed=7, dies_after=1), answer := Answer(hold_after=2, extra={"origins": origins}))
    say(page, "What is a pod?")
    expect(reply(page)).to_have_text("A pod is the smallest unit ")
    expect(exchange(page).locator("[data-part=trouble]")).to_be_hidden()
    answer.release.set()
    expect(tag(page)).to_be_visible()
    expect(reply(page)).to_have_text(REPLY)
    for _ in ("as the script shows it", "as the server renders it"):
        exchange(page).get_by_text("Details").click()
        expect(exchange(page)).to_contain_text("begun by replica-a on node-a, finished by replica-b on node-b")
        expect(exchange(page)).to_contain_text("once, after the connection to the chat service broke")
        page.reload()
    assert backend.bodies[1]["generation"] == {"seed": 7}


def test_a_reply_that_has_changed_meanwhile_takes_the_place_of_the_first(page: Page, backend: StubBackend) -> None:
    backend.plan(Answer(dies_after=2), answer := Answer(tokens=["A pod runs", " containers."], hold_after=1))
    say(page, "What is a pod?")
    expect(reply(page)).to_have_text("A pod runs")
    answer.release.set()
    expect(tag(page)).to_be_visible()
    expect(reply(page)).to_have_text("A pod runs containers.")


def test_a_busy_backend_says_when_to_try_again(page: Page, backend: StubBackend) -> None:
    backend.plan(Answer(status=429, headers={"Retry-After": "3"}))
    say(page, "What is a pod?")
    expect(exchange(page)).to_contain_text("The chat service is busy")
    expect(exchange(page)).to_contain_text("in 3 seconds")


def test_a_killed_frontend_loses_nothing(page: Page, frontend_process: FrontendProcess) -> None:
    frontend_process.kill()
    say(page, "my careful words")
    expect(page.get_by_role("alert")).to_contain_text("cannot be reached")
    expect(box(page)).to_have_value("my careful words")
    frontend_process.start()
    page.keyboard.press("Enter")
    expect(reply(page)).to_have_text(REPLY)


def test_a_frontend_killed_in_the_middle_is_said(
    page: Page, frontend_process: FrontendProcess, backend: StubBackend
) -> None:
    backend.plan(Answer(hold_after=1))
    say(page, "What is a pod?")
    expect(reply(page)).to_have_text("A pod is ")
    frontend_process.kill()
    expect(exchange(page)).to_contain_text("The connection was lost")
    backend.wait_for_hangup()


def test_a_message_that_is_too_long_stays_in_the_box(page: Page, backend: StubBackend) -> None:
    say(page, "🙂" * 4_001)
    expect(page.get_by_role("alert")).to_contain_text("too long by 1 characters")
    expect(box(page)).to_have_value("🙂" * 4_001)
    say(page, "🙂" * 4_000)
    expect(reply(page)).to_have_text(REPLY)
    expect(page.get_by_role("alert")).to_be_hidden()
    assert backend.dialogs == [["🙂" * 4_000]]


def test_the_fallback_model_is_noticed_in_one_line_once_a_session(page: Page, backend: StubBackend) -> None:
    notice, reason = page.locator("#fallback"), page.get_by_text("the hub is away")
    expect(notice).to_be_hidden()
    backend.health["model"] = {"name": "mini", "requested": "GODEL", "fallback": True, "reason": "the hub is away"}
    # The page asks again when it is looked at again; the first answers may still be the remembered one.
    look_again = "document.dispatchEvent(new Event('visibilitychange'))"
    page.wait_for_function(
        f"() => {{ {look_again}; return !document.querySelector('#fallback').hidden; }}", polling=200
    )
    expect(notice.locator("summary")).to_have_text("The fallback model mini answers in place of GODEL.")
    expect(reason).to_be_hidden()
    notice.locator("summary").click()
    expect(reason).to_be_visible()
    page.reload()
    page.locator("html[data-ready=true]").wait_for()
    expect(page.locator("#state")).to_have_attribute("data-state", "fallback")
    expect(notice).to_be_hidden()


# ---- escaping


def test_nothing_that_is_written_becomes_markup(page: Page, backend: StubBackend) -> None:
    names = dict.fromkeys(("replica_id", "nodeName", "podName", "model", "config_version", "request_id"), HARD_TEXT)
    passage = {"id": HARD_TEXT, "text": HARD_TEXT, "score": 1}
    citation = QUOTE | {"passage": HARD_TEXT}
    extra = names | {"grounding": {"passages": [passage], "dropped_turns": 0}, "citations": [citation]}
    backend.plan(Answer(tokens=[HARD_TEXT], extra=extra), Answer(status=422, message=HARD_TEXT))
    backend.health["config_error"] = HARD_TEXT
    say(page, HARD_TEXT)
    expect(tag(page)).to_be_visible()
    say(page, "refused")
    expect(exchange(page)).to_contain_text("not accepted")
    for _ in ("as the script shows it", "as the server renders it"):
        expect(reply(page, 0)).to_have_text(HARD_TEXT)
        expect(exchange(page, 0).locator("[data-field=message]")).to_have_text(HARD_TEXT)
        expect(exchange(page, 1).locator("[data-field=trouble-text]")).to_have_text(HARD_TEXT)
        expect(page.locator("#log script, #log img, #notices script, #notices img")).to_have_count(0)
        assert page.title().endswith("· Grounded chat")
        page.reload()
        page.locator("html[data-ready=true]").wait_for()
    expect(page.locator("#notices")).to_contain_text(HARD_TEXT)


# ---- two tabs


def test_two_tabs_take_turns_and_show_the_same(
    page: Page, context: BrowserContext, frontend_process: FrontendProcess, backend: StubBackend
) -> None:
    answer = backend.plan(Answer(hold_after=1))
    say(page, "from the first tab")
    expect(reply(page)).to_have_text("A pod is ")
    other = context.new_page()
    open_chat(other, frontend_process.url)
    expect(reply(other)).to_have_text("A pod is ")
    say(other, "from the second tab")
    expect(box(other)).to_have_value("from the second tab")  # until the reply is complete
    answer.release.set()
    expect(tag(page)).to_be_visible()
    expect(reply(other)).to_have_text(REPLY)
    expect(tag(other)).to_be_visible()
    box(other).press("Enter")
    expect(tag(other, 1)).to_be_visible()
    expect(tag(page, 1)).to_be_visible()
    assert backend.dialogs[1] == ["from the first tab", REPLY, "from the second tab"]
    page.reload()
    expect(page.locator("#log")).to_have_text(other.locator("#log").inner_text(), use_inner_text=True)


def test_two_frontends_on_one_database_take_turns_too(
    page: Page, context: BrowserContext, new_frontend: Callable[[], FrontendProcess], backend: StubBackend
) -> None:
    """As two replicas do. Cookies are the host's, not the port's, so both know the session."""
    answer = backend.plan(Answer(hold_after=1))
    say(page, "at the first replica")
    expect(reply(page)).to_have_text("A pod is ")
    other = context.new_page()
    open_chat(other, new_frontend().url)
    expect(reply(other)).to_have_text("A pod is ")
    say(other, "at the second replica")
    expect(box(other)).to_have_value("at the second replica")  # until the reply is complete
    answer.release.set()
    expect(reply(other)).to_have_text(REPLY)
    box(other).press("Enter")
    expect(tag(other, 1)).to_be_visible()
    assert backend.dialogs[1] == ["at the first replica", REPLY, "at the second replica"]


def test_a_chat_that_is_gone_gives_the_text_back_and_the_next_one_begins(
    page: Page, context: BrowserContext, frontend_process: FrontendProcess
) -> None:
    say(page, "What is a pod?")
    expect(tag(page)).to_be_visible()
    box(page).fill("half a thought")
    conversation = page.url.split("/")[-1]
    context.request.post(f"{frontend_process.url}conversations/{conversation}/delete", form={"x": ""})
    box(page).press("Enter")
    expect(page.get_by_role("alert")).to_contain_text("It was deleted, perhaps in another tab")
    expect(box(page)).to_have_value("half a thought")
    expect(page.locator("#log .exchange")).to_have_count(0)
    box(page).press("Enter")
    expect(tag(page)).to_be_visible()
    expect(page.locator("#log .exchange")).to_have_count(1)


def test_a_tampered_cookie_is_a_gentle_notice(page: Page, context: BrowserContext) -> None:
    (cookie,) = context.cookies()
    context.add_cookies([cookie | {"value": cookie["value"][:-4] + "AAAA"}])  # type: ignore[list-item]
    page.reload()
    expect(page.get_by_text("could not be recognised")).to_be_visible()
    say(page, "hello")
    expect(tag(page)).to_be_visible()


# ---- ways to use it


def test_by_keyboard_alone(page: Page, backend: StubBackend) -> None:
    expect(box(page)).to_be_focused()
    page.keyboard.type("two")
    page.keyboard.press("Shift+Enter")
    page.keyboard.type("lines")
    page.keyboard.press("Enter")
    expect(tag(page)).to_be_visible()
    assert backend.dialogs == [["two\nlines"]]
    expect(box(page)).to_be_focused()
    for _ in ("bad", "good", "regenerate", "copy", "details"):
        page.keyboard.press("Shift+Tab")
    focused = page.locator(":focus")
    expect(focused).to_have_js_property("tagName", "SUMMARY")
    assert focused.evaluate("(e) => getComputedStyle(e).outlineStyle") == "solid"
    page.keyboard.press("Enter")
    expect(exchange(page).locator(".details")).to_be_visible()
    backend.plan(Answer(hold_after=1))
    box(page).focus()
    page.keyboard.type("stop me")
    page.keyboard.press("Enter")
    expect(reply(page)).to_have_text("A pod is ")
    page.keyboard.press("Tab")
    expect(page.get_by_role("button", name="Stop")).to_be_focused()
    page.keyboard.press("Enter")
    expect(exchange(page)).to_contain_text("The reply was stopped")
    expect(box(page)).to_be_focused()


def test_a_blank_message_is_not_sent(page: Page, backend: StubBackend) -> None:
    say(page, "   ")
    say(page, "hello")
    expect(tag(page)).to_be_visible()
    assert backend.dialogs == [["hello"]]


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_a_narrow_screen_does_not_scroll_sideways(
    browser: Browser, frontend_process: FrontendProcess, backend: StubBackend, scheme: str
) -> None:
    context = browser.new_context(viewport={"width": 320, "height": 640}, color_scheme=scheme)  # type: ignore[arg-type]
    page = context.new_page()
    open_chat(page, frontend_process.url)
    assert fits(page)
    word = "Donaudampfschifffahrt" * 20
    backend.plan(Answer(tokens=[word], extra={"replica_id": word, "nodeName": word}), Answer(status=422, message=word))
    backend.health["config_error"] = word
    say(page, word)
    expect(tag(page)).to_be_visible()
    exchange(page).get_by_text("Details").click()
    say(page, "refused")
    expect(exchange(page)).to_contain_text("not accepted")
    expect(page.locator("#notices")).to_contain_text(word)
    assert fits(page)
    context.close()


def fits(page: Page) -> bool:
    return bool(page.evaluate("document.documentElement.scrollWidth <= window.innerWidth"))


def test_a_new_reply_scrolls_into_view_unless_one_reads_above(page: Page, backend: StubBackend) -> None:
    long = [f"line {number}\n" for number in range(60)]
    backend.plan(Answer(tokens=long))
    say(page, "fill the page")
    expect(tag(page)).to_be_in_viewport()
    answer = backend.plan(Answer(tokens=["first\n", *long], hold_after=1))
    say(page, "go on")
    expect(reply(page)).to_contain_text("first")
    page.evaluate("window.scrollTo(0, 0)")
    answer.release.set()
    expect(page.locator("#stop")).to_be_hidden()
    assert page.evaluate("window.scrollY") == 0


def test_trouble_scrolls_into_view(page: Page, backend: StubBackend) -> None:
    """On a small screen, Retry was once left behind the message box."""
    page.set_viewport_size({"width": 320, "height": 480})
    backend.plan(Answer(tokens=["line\n"] * 30, hold_after=30))
    say(page, "fill the page")
    expect(reply(page)).to_contain_text("line")
    page.get_by_role("button", name="Stop").click()
    retry = exchange(page).get_by_role("button", name="Retry")
    expect(retry).to_be_visible()
    covered = (
        "(e) => { const r = e.getBoundingClientRect(); return document.elementFromPoint(r.x + 9, r.y + 9) !== e; }"
    )
    assert not retry.evaluate(covered)


# ---- without the script


@pytest.fixture
def plain(browser: Browser, frontend_process: FrontendProcess) -> Page:
    """A page whose browser runs no script."""
    page = browser.new_context(java_script_enabled=False).new_page()
    page.goto(frontend_process.url)
    return page


def test_without_the_script_a_message_is_answered(plain: Page, backend: StubBackend) -> None:
    for text in ("What is a pod?", "Who made it?"):
        box(plain).fill(text)
        plain.get_by_role("button", name="Send").click()
        expect(exchange(plain).locator("[data-field=message]")).to_have_text(text)
        expect(reply(plain)).to_have_text(REPLY)
        expect(tag(plain)).to_contain_text("7f3c9a1e")
    assert backend.dialogs[1] == ["What is a pod?", REPLY, "Who made it?"]
    exchange(plain).get_by_text("Details").click()
    expect(exchange(plain).locator(".details")).to_contain_text(REPLICA)
    plain.get_by_role("link", name="New chat").click()
    expect(plain.locator("#log .exchange")).to_have_count(0)
    plain.get_by_role("button", name="Who made GODEL?").click()
    expect(reply(plain)).to_have_text(REPLY)


def test_without_the_script_cited_words_lead_to_their_passage_too(plain: Page, backend: StubBackend) -> None:
    backend.plan(Answer(extra=SOURCES))
    box(plain).fill("What is a pod?")
    plain.get_by_role("button", name="Send").click()
    cited = reply(plain).get_by_role("link", name="A pod is the smallest unit")
    passage = exchange(plain).locator("[data-list=passages] li").nth(1)
    expect(passage).to_be_hidden()
    cited.click()
    expect(passage).to_be_in_viewport()
    expect(passage.locator("mark")).to_have_text("A POD IS the smallest unit")


def test_without_the_script_errors_are_shown_and_retried(plain: Page, backend: StubBackend) -> None:
    backend.stop()
    box(plain).fill("What is a pod?")
    plain.get_by_role("button", name="Send").click()
    expect(exchange(plain)).to_contain_text("The chat service is away")
    backend.start()
    exchange(plain).get_by_role("button", name="Retry").click()
    expect(reply(plain)).to_have_text(REPLY)


def test_without_the_script_a_refused_message_stays_in_the_box(plain: Page) -> None:
    box(plain).fill("x" * 4_001)
    plain.get_by_role("button", name="Send").click()
    expect(plain.get_by_role("alert")).to_contain_text("too long: 4,001 characters")
    expect(box(plain)).to_have_value("x" * 4_001)
