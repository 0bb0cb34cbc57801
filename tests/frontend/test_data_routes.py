"""The page of one's data: export, import and deletion of everything."""

import json
from collections.abc import Callable
from typing import Any

import pytest
from httpx2 import Response
from starlette.testclient import TestClient

from frontend.session import COOKIE
from tests.frontend.test_conversation_routes import act, begin, listed, problem
from tests.frontend.test_routes import PAGE


@pytest.fixture(autouse=True)
def opened(client: TestClient) -> None:
    """A browser has opened the page, and so has its cookie."""
    client.get("/", headers=PAGE)


def bring(client: TestClient, content: bytes, **headers: str) -> Response:
    return client.post("/data/import", files={"file": ("chats.json", content)}, headers=PAGE | headers)


def test_the_page_says_what_is_kept_and_for_how_long(client: TestClient) -> None:
    begin(client, "one")
    page = client.get("/data").text
    for told in ("1 chat of at most 5,000", "not used for 30 days", "taken back for a day", "at most 16 MB"):
        assert told in page


def test_all_chats_come_back_from_their_file(make_client: Callable[..., TestClient], client: TestClient) -> None:
    for text in ("one", "two"):
        begin(client, text)
    begin(client, "temporary", temporary="true")
    file = client.get("/data/export.json")
    assert file.headers["content-disposition"].startswith('attachment; filename="chats-20')
    other = make_client()
    other.get("/")
    page = bring(other, file.content)
    assert (page.status_code, "2 chats are imported" in page.text) == (200, True)
    assert listed(other) == ["two", "one"]
    assert other.get("/data/export.json").content == file.content
    assert client.get("/data/export.md").text.count("## Reply") == 2


@pytest.mark.parametrize(
    ("content", "status", "reason"),
    [
        (b"", 422, "No file was chosen"),
        (b"hello", 422, "The file is not JSON"),
        (b"\x89PNG\r\n\x1a\n\0\0", 422, "The file is not JSON"),
        (b"[]", 422, "not a file of exported chats"),
        (b'{"format": "grounded-chat", "version": 9}', 422, "has version 9"),
        (
            b'{"format": "grounded-chat", "version": 1, "conversations": [{}]}',
            422,
            "conversations.0.title: Field required",
        ),
        (b"[" + b" " * 50_000_000 + b"]", 413, "at most 16 MB can be imported at once"),
    ],
)
def test_a_file_that_is_none_is_refused_clearly_and_nothing_is_lost(
    client: TestClient, content: bytes, status: int, reason: str
) -> None:
    begin(client, "kept")
    page = bring(client, content)
    assert (page.status_code, reason in problem(page)) == (status, True), problem(page)
    assert "Import" in page.text
    assert listed(client) == ["kept"]


def test_an_import_beyond_the_limit_is_refused_as_a_whole(make_client: Callable[..., TestClient]) -> None:
    client = make_client(max_session_conversations=2)
    client.get("/")
    begin(client, "one")
    file = json.loads(client.get("/data/export.json").content)
    file["conversations"] *= 2
    page = bring(client, json.dumps(file).encode())
    assert (page.status_code, "You keep 2 chats" in problem(page)) == (422, True)
    assert listed(client) == ["one"]


def test_too_many_imports_at_once_are_asked_to_wait(client: TestClient) -> None:
    services: Any = client.app.state.services  # type: ignore[attr-defined]
    services.imports._value = 0  # noqa: SLF001  # as if others were reading theirs
    page = bring(client, b"{}")
    assert (page.status_code, "Try again in a moment" in problem(page)) == (503, True)


def test_deleting_everything_asks_first_then_ends_the_session(client: TestClient) -> None:
    deleted = begin(client, "deleted")
    act(client, deleted, "delete")
    begin(client, "kept")
    page = client.post("/data/delete", data={"x": ""}, headers=PAGE)
    assert (page.status_code, "Tick the box" in problem(page), listed(client)) == (422, True, ["kept"])
    cookie = client.cookies[COOKIE]
    page = client.post("/data/delete", data={"sure": "yes"}, headers=PAGE)
    assert "Everything that was kept of you is deleted" in page.text
    assert client.cookies[COOKIE] != cookie
    client.cookies.clear()
    client.cookies.set(COOKIE, cookie)
    assert listed(client) == []
    assert "is deleted" not in client.get(f"/conversations?deleted={deleted}").text


@pytest.mark.parametrize("headers", [{"Sec-Fetch-Site": "cross-site"}, {"Origin": "http://evil.test"}])
def test_forms_of_other_sites_are_refused(client: TestClient, headers: dict[str, str]) -> None:
    begin(client, "one")
    file = client.get("/data/export.json").content
    assert bring(client, file, **headers).status_code == 403
    assert client.post("/data/delete", data={"sure": "yes"}, headers=headers | PAGE).status_code == 403
    assert listed(client) == ["one"]
