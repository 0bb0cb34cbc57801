"""The pages of all chats and what can be done with one, as a browser without a script sees them."""

import json
import re
from collections.abc import Callable
from html import unescape
from pathlib import Path

import pytest
from httpx2 import Response
from starlette.testclient import TestClient

from frontend.session import COOKIE
from frontend.words import isolated
from tests.frontend.test_routes import PAGE, STREAM

HARD_TITLE = "<script>alert('x')</script> & \"quotes\" שלום 🙂"


@pytest.fixture(autouse=True)
def opened(client: TestClient) -> None:
    """A browser has opened the page, and so has its cookie."""
    client.get("/", headers=PAGE)


def begin(client: TestClient, text: str, **fields: str) -> str:
    """A new chat with an answered question; its id."""
    sent = client.post("/messages", data={"text": text} | fields, headers=PAGE, follow_redirects=False)
    assert sent.status_code == 303, sent.text
    return sent.headers["location"].removeprefix("/conversations/").removesuffix("#latest")


def act(client: TestClient, conversation: str, action: str, **fields: str) -> Response:
    return client.post(f"/conversations/{conversation}/{action}", data={"x": ""} | fields, headers=PAGE)


def listed(client: TestClient, address: str = "/conversations") -> list[str]:
    """The titles in the list."""
    rows = re.findall(r'<li id="chat-.*?<a [^>]*>(.*?)</a>', client.get(address).text, re.DOTALL)
    return [unescape(row) for row in rows]


def problem(page: Response) -> str:
    found = re.search(r'class="problem"[^>]*>(.*?)</p>', page.text, re.DOTALL)
    return unescape(found[1]) if found else ""


# ---- the list


def test_the_list_is_empty_then_has_titles_newest_first(client: TestClient) -> None:
    assert "No chats yet" in client.get("/conversations").text
    for text in ("one", "two\nlines", HARD_TITLE):
        begin(client, text)
    assert listed(client) == [HARD_TITLE, "two lines", "one"]
    assert "3 chats" in client.get("/conversations").text
    beside = client.get("/conversations/recent").json()
    assert [entry["title"] for entry in beside["entries"]] == listed(client)
    assert beside["more"] is False


def test_nothing_that_was_typed_becomes_markup(client: TestClient) -> None:
    conversation = begin(client, HARD_TITLE)
    pages = [
        f"/conversations/{conversation}",
        "/conversations",
        "/conversations?q=alert",
        f"/conversations?q={HARD_TITLE}",
    ]
    for page in [client.get(address) for address in pages] + [act(client, conversation, "delete")]:
        assert page.status_code == 200
        assert "<script>alert" not in page.text
        assert re.findall(r"<script(?! type=\"module\" src=)|<style|\sstyle=|\son\w+=|https?://", page.text) == []


def test_a_long_list_has_pages(client: TestClient, make_client: Callable[..., TestClient]) -> None:
    chat = {"title": "t", "last_used_at": "2025-01-01T00:00:00Z", "next_position": 2}
    exchange = {"position": 1, "message": "q", "sent_at": "2025-01-01T00:00:00Z"}
    chats = [chat | {"title": f"chat {number}", "exchanges": [exchange]} for number in range(60)]
    content = json.dumps({"format": "grounded-chat", "version": 1, "conversations": chats})
    client.post("/data/import", files={"file": content}, headers=PAGE)
    first = client.get("/conversations")
    assert len(listed(client)) == 50
    assert 'rel="next" href="/conversations?page=2"' in first.text and 'rel="prev"' not in first.text
    assert len(listed(client, "/conversations?page=2")) == 10
    assert listed(client, "/conversations?page=999") == listed(client, "/conversations?page=2")
    assert len(first.content) < 100_000 - sum(len(client.get(f"/static/{name}").content) for name in ASSETS)


ASSETS = ("chat.css", "chats.css", "chats.js", "icon.svg")


@pytest.mark.parametrize("page", ["0", "-1", "x", "1e3", "9" * 30])
def test_a_page_that_cannot_be_is_an_address_of_nothing(client: TestClient, page: str) -> None:
    assert client.get(f"/conversations?page={page}", headers=PAGE).status_code == 404


# ---- one chat


def test_a_chat_has_an_address_and_goes_on_there(client: TestClient) -> None:
    first, second = begin(client, "one"), begin(client, "two")
    assert re.fullmatch("[0-9a-f]{32}", first) and first != second
    client.post("/messages", data={"text": "more", "conversation": first}, headers=STREAM)
    log = client.get(f"/conversations/{first}").text.split("<main")[1].split("<template")[0]
    assert ">one</p>" in log and ">more</p>" in log and ">two</p>" not in log
    assert (
        f'<a href="/conversations/{first}" dir="auto" aria-current="page">'
        in client.get(f"/conversations/{first}").text
    )


def test_renaming(client: TestClient) -> None:
    conversation = begin(client, "one")
    page = act(client, conversation, "rename", title=f"  {HARD_TITLE} ")
    assert (page.status_code, listed(client)) == (200, [HARD_TITLE])
    page = act(client, conversation, "rename", title="two", **{"from": "chat"})
    assert page.url.path == f"/conversations/{conversation}"
    assert '<h1 id="title" dir="auto">two</h1>' in page.text


@pytest.mark.parametrize(
    ("title", "reason"), [("", "is empty"), (" \n ", "is empty"), ("x" * 10_000, "10,000 characters")]
)
@pytest.mark.parametrize("beside", [{}, {"from": "chat"}])
def test_a_refused_title_is_said_and_the_old_one_kept(
    client: TestClient, title: str, reason: str, beside: dict[str, str]
) -> None:
    conversation = begin(client, "one")
    page = act(client, conversation, "rename", title=title, **beside)
    assert (page.status_code, reason in problem(page), "kept" in problem(page)) == (422, True, True)
    assert listed(client) == ["one"]


def test_deleting_and_undoing(client: TestClient) -> None:
    first = begin(client, HARD_TITLE)
    begin(client, "two")
    page = act(client, first, "delete")
    assert unescape(page.text).count(f"“{isolated(HARD_TITLE)}” is deleted. It can be taken back for a day.") == 1
    assert listed(client) == ["two"]
    assert client.get(f"/conversations/{first}").status_code == 404
    act(client, first, "restore")
    assert listed(client) == ["two", HARD_TITLE]
    assert client.get(f"/conversations/{first}").status_code == 200
    assert "is deleted" not in client.get(f"/conversations?deleted={first}").text


def test_a_temporary_chat_is_in_no_list_and_no_search(client: TestClient) -> None:
    assert "A temporary chat" in client.get("/new?temporary=true").text
    conversation = begin(client, "between us", temporary="true")
    assert listed(client) == []
    assert "Nothing was found" in client.get("/conversations?q=between").text
    page = client.get(f"/conversations/{conversation}").text
    assert "is deleted an hour after its last message" in page and "/rename" not in page.split("<template")[0]
    assert "The temporary chat was deleted" in act(client, conversation, "delete").text
    assert client.get(f"/conversations/{conversation}").status_code == 404


def test_another_sessions_chat_is_as_one_that_never_was(
    make_client: Callable[..., TestClient], client: TestClient
) -> None:
    mine = begin(client, "private words")
    other = make_client()
    other.get("/")
    answers = set()
    for conversation in (mine, "0" * 32):
        pages = [
            other.get(f"/conversations/{conversation}{end}", headers=PAGE) for end in ("", "/export.json", "/export.md")
        ]
        pages += [act(other, conversation, action, title="x") for action in ("rename", "delete", "restore")]
        assert [page.status_code for page in pages] == [404] * 6
        answers.add("".join(page.text for page in pages))
        assert "is deleted" not in other.get(f"/conversations?deleted={conversation}").text
    assert len(answers) == 1
    assert "private" not in answers.pop()
    assert listed(client) == ["private words"]


def test_a_deleted_chat_that_is_open_in_another_tab(client: TestClient) -> None:
    conversation = begin(client, "question")
    act(client, conversation, "delete")
    gone = client.get("/conversation", params={"id": conversation})
    assert (gone.status_code, gone.json()["error"]["type"]) == (404, "conversation_gone")
    late = client.post("/messages", data={"text": "late", "conversation": conversation}, headers=PAGE)
    assert late.status_code == 409
    assert "It was deleted, perhaps in another tab" in problem(late) and "begin a new one" in problem(late)
    assert "late" in late.text.split("<textarea")[1].split("</textarea>")[0]
    assert 'name="conversation" value=""' in late.text
    shown = client.get(f"/conversations/{conversation}", headers=PAGE)
    assert (shown.status_code, "There is no such chat" in shown.text, "New chat" in shown.text) == (404, True, True)


@pytest.mark.parametrize("action", ["rename", "delete", "restore"])
@pytest.mark.parametrize("headers", [{"Sec-Fetch-Site": "cross-site"}, {"Origin": "http://evil.test"}])
def test_forms_of_other_sites_are_refused(client: TestClient, action: str, headers: dict[str, str]) -> None:
    conversation = begin(client, "one")
    sent = client.post(f"/conversations/{conversation}/{action}", data={"title": "forged"}, headers=headers | PAGE)
    assert (sent.status_code, listed(client)) == (403, ["one"])


def test_limits_are_told_before_they_bite(make_client: Callable[..., TestClient]) -> None:
    client = make_client(max_session_conversations=10, max_exchanges_kept=10)
    client.get("/")
    for number in range(9):
        conversation = begin(client, f"chat {number}")
    for page in ("/conversations", "/data"):
        assert "You keep 9 of at most 10 chats" in client.get(page).text
    begin(client, "the tenth")
    full = client.post("/messages", data={"text": "my words"}, headers=PAGE)
    assert (full.status_code, "You keep 10 chats, and more are not possible" in problem(full)) == (409, True)
    assert "my words" in full.text.split("<textarea")[1].split("</textarea>")[0]
    for number in range(8):
        assert "of at most 10 questions" not in client.get(f"/conversations/{conversation}").text
        client.post("/messages", data={"text": f"more {number}", "conversation": conversation}, headers=STREAM)
    assert "This chat has 9 of at most 10 questions" in client.get(f"/conversations/{conversation}").text


def test_a_long_chat_shows_its_newest_questions_first(client: TestClient) -> None:
    conversation = begin(client, "question 0")
    for number in range(1, 32):
        client.post("/messages", data={"text": f"question {number}", "conversation": conversation}, headers=STREAM)

    def shown(address: str) -> tuple[list[str], list[str]]:
        page = client.get(address).text
        positions = re.findall(r'<article class="exchange" id="exchange-(\d+)"', page)
        return positions, re.findall(r'id="earlier"><a class="button" href="([^"]*)">(.*?)</a>', page)

    for address in ("/", f"/conversations/{conversation}"):
        positions, earlier = shown(address)
        assert positions == [str(number) for number in range(29, 33)]
    positions, earlier = shown(earlier[0][0])
    assert (positions[0], positions[-1], earlier[0][1]) == ("9", "32", "Show 8 before")
    assert shown(earlier[0][0]) == ([str(number) for number in range(1, 33)], [])
    assert client.get(f"/conversations/{conversation}?from=x", headers=PAGE).status_code == 404
    assert shown(f"/conversations/{conversation}?from=99")[0] == []


# ---- search


def test_what_is_found_is_marked_and_leads_to_its_message(client: TestClient) -> None:
    conversation = begin(client, "What is <b>batching</b>?")
    page = client.get("/conversations?q=BATCH").text
    assert f'<a href="/conversations/{conversation}?at=1&amp;from=1#exchange-1"' in page
    assert "&lt;b&gt;<mark>batching</mark>&lt;/b&gt;?" in page
    assert 'id="exchange-1"' in client.get(f"/conversations/{conversation}").text


@pytest.mark.parametrize(
    "query", ['"', '"" OR *', "NEAR(", "a AND", "'; --", "-", "%", "x" * 5_000, "\0", "{{7*7}}", "\\"]
)
def test_operators_and_quotes_are_harmless(client: TestClient, query: str) -> None:
    begin(client, "What is a pod?")
    page = client.get("/conversations", params={"q": query}, headers=PAGE)
    assert page.status_code == 200
    assert "<ol class" not in page.text
    assert "Write one word" in page.text or "Nothing was found" in page.text


def test_many_hits_have_pages(client: TestClient) -> None:
    conversation = begin(client, "pod & co")
    for number in range(20):
        client.post("/messages", data={"text": f"pod & co {number}", "conversation": conversation}, headers=STREAM)
    page = client.get("/conversations", params={"q": "pod & co"}).text
    (address,) = re.findall(r'rel="next" href="([^"]*)"', page)
    second = client.get(unescape(address)).text
    assert second.count("hit-title") == 1
    assert unescape(address) == "/conversations?q=pod%20%26%20co&page=2"


# ---- export


def test_one_chat_as_a_file(client: TestClient) -> None:
    conversation = begin(client, HARD_TITLE)
    begin(client, "another")
    file = client.get(f"/conversations/{conversation}/export.json")
    assert file.headers["content-disposition"] == f'attachment; filename="chat-{conversation[:8]}.json"'
    (chat,) = file.json()["conversations"]
    assert (chat["title"], chat["exchanges"][0]["message"]) == (HARD_TITLE, HARD_TITLE)
    text = client.get(f"/conversations/{conversation}/export.md")
    assert text.headers["content-type"] == "text/markdown; charset=utf-8"
    assert f"> {HARD_TITLE}" in text.text and "models/mini" in text.text
    assert client.get(f"/conversations/{conversation}/export.pdf").status_code == 404


def test_the_titles_of_a_script_stay_text_through_export_and_import(client: TestClient) -> None:
    act(client, begin(client, "q"), "rename", title=HARD_TITLE)
    file = client.get("/data/export.json").content
    page = client.post("/data/import", files={"file": file}, headers=PAGE)
    assert listed(client) == [HARD_TITLE, HARD_TITLE]
    assert "<script>alert" not in page.text


def test_without_a_cookie_there_is_an_empty_list(client: TestClient) -> None:
    begin(client, "mine")
    client.cookies.clear()
    page = client.get("/conversations")
    assert "No chats yet" in page.text and COOKIE in page.cookies


def test_a_database_that_is_away_is_said(client: TestClient, tmp_path: Path) -> None:
    conversation = begin(client, "one")
    for file in tmp_path.iterdir():
        file.unlink()
    (tmp_path / "chats.sqlite3").mkdir()
    client.app.state.services.store._engine.dispose()  # type: ignore[attr-defined]  # noqa: SLF001
    for address in (
        "/conversations",
        "/conversations?q=x",
        f"/conversations/{conversation}",
        "/data",
        "/data/export.json",
    ):
        page = client.get(address, headers=PAGE)
        assert (page.status_code, "cannot be reached" in page.text) == (503, True), address
