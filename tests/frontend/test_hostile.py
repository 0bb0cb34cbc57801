"""Whatever is sent to the page's server, it has an answer: never a crash, and never a word about the database."""

from collections.abc import Callable
from typing import Any
from urllib.parse import quote_from_bytes

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from starlette.testclient import TestClient

METHODS = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "NONSENSE"]
PATHS = ["/", "/messages", "/messages/{}/retry", "/messages/{}/stop", "/messages/{}/reply", "/conversation"]
PATHS += ["/conversation?id={}", "/new", "/backend"]
PATHS += ["/conversations", "/conversations?q={}", "/conversations?page={}", "/conversations?deleted={}", "/data"]
PATHS += ["/conversations/{}", "/conversations/{}/rename", "/conversations/{}/delete", "/conversations/{}/restore"]
PATHS += ["/conversations/{}/export.json", "/conversations/recent", "/data/export.{}", "/data/import", "/data/delete"]
PATHS += ["/healthz", "/readyz", "/static/{}", "/static/chat.js", "/static", "/{}", "/messages/", "//messages"]
NASTY = [
    "0",
    "-1",
    "9" * 30,
    "1e9",
    "\0",
    "..",
    "../settings.py",
    "\ud800",
    "\ufffe",
    "%",
    "%2e%2e",
    "'",
    '"',
    "{{7*7}}",
]
NASTY += ["a" * 5_000, "http://[", "[", "\u202e", "\r\nSet-Cookie: a=b", "null", "١٢", "chat_session=x.y.z", "*/*"]
TEXTS = st.sampled_from(NASTY) | st.text(max_size=50) | st.integers(-(2**70), 2**70).map(str)
FIELDS = st.dictionaries(
    st.sampled_from(["text", "conversation", "position", "title", "page", "sure", "temporary", "from"]) | TEXTS,
    TEXTS,
    max_size=4,
)
TYPES = st.sampled_from(
    ["application/x-www-form-urlencoded", "application/x-www-form-urlencoded; charset=utf-16", "text/plain", "", "é"]
)
ACTS = ("rename", "delete", "restore")
OURS = "the chat's own id"
PAGE, STREAM = {"Accept": "text/html"}, {"Accept": "text/event-stream"}
HEADER_NAMES = ["Origin", "Sec-Fetch-Site", "Cookie", "Accept", "Range", "If-None-Match", "If-Modified-Since"]
HEADER_NAMES += ["Last-Event-ID"]
HEADER_NAMES += ["Content-Encoding", "X-Forwarded-For", "X-Http-Method-Override", "Accept-Encoding", "Host"]


def escaped(text: str) -> str:
    return quote_from_bytes(text.encode("utf-8", "surrogatepass"), safe="")


def header(text: str) -> bytes:
    """What a client can put on a header's line."""
    return text.encode("utf-8", "surrogatepass").translate(None, b"\r\n\0")[:1_000]


@st.composite
def requests(draw: st.DrawFn) -> dict[str, Any]:
    fields = "&".join(f"{escaped(name)}={escaped(value)}" for name, value in draw(FIELDS).items())
    headers = {
        name: header(value) for name, value in draw(st.dictionaries(st.sampled_from(HEADER_NAMES), TEXTS)).items()
    }
    return {
        "method": draw(st.sampled_from(METHODS)),
        "url": draw(st.sampled_from(PATHS)).replace("{}", escaped(draw(TEXTS))) + draw(st.sampled_from(["", "?a=%00"])),
        "content": draw(st.just(fields.encode()) | st.binary(max_size=200)),
        "headers": headers | {"Content-Type": header(draw(TYPES))},
    }


@pytest.fixture
def client(make_client: Callable[..., TestClient], database_url: str) -> TestClient:
    return make_client(database_url=database_url, max_replies=64)


@settings(max_examples=200, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(request=requests())
def test_any_request_has_an_answer(client: TestClient, request: dict[str, Any]) -> None:
    response = client.request(**request, follow_redirects=False)
    assert response.status_code < 500, response.text
    assert response.headers["x-content-type-options"] == "nosniff"
    if response.status_code == 405:
        assert response.headers["allow"]
    if response.status_code >= 400 and response.headers.get("content-type") == "application/json" and response.content:
        assert set(response.json()["error"]) == {"type", "message"}


@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(text=TEXTS, conversation=st.just(OURS) | TEXTS, position=TEXTS, accept=st.sampled_from([PAGE, STREAM]))
@example(text="q", conversation="\0", position="1", accept=PAGE)
@example(text="q", conversation=OURS, position="9" * 20, accept=PAGE)
@example(text="q", conversation=OURS, position="3000000000", accept=STREAM)
def test_any_form_of_somebody_with_a_chat_has_an_answer(
    client: TestClient, text: str, conversation: str, position: str, accept: dict[str, str]
) -> None:
    """So that what is sent reaches the database."""
    client.get("/")
    client.post("/messages", data={"text": "hello"})
    ours = client.get("/conversation").json()["id"]
    named = ours if conversation is OURS else conversation
    form = f"text={escaped(text)}&title={escaped(text)}&page={escaped(position)}&conversation={escaped(named)}".encode()
    headers = {"Content-Type": "application/x-www-form-urlencoded"} | accept
    for path in (
        f"/messages/{escaped(position)}/retry",
        f"/messages/{escaped(position)}/stop",
        "/messages",
        *(f"/conversations/{ours}/{act}" for act in ACTS),
    ):
        response = client.post(path, content=form, headers=headers)
        assert response.status_code < 500, response.text
