"""The page and its forms, as a browser without the script and as the script see them."""

import logging
import re
from collections.abc import Callable
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy
from httpx2 import Response
from starlette.testclient import TestClient

from frontend.asking import PAUSES_SECONDS
from frontend.routes import NO_SESSION
from frontend.session import COOKIE
from tests.support.sse import all_events
from tests.support.stub_backend import REPLICA, Answer, StubBackend

STREAM = {"Accept": "text/event-stream"}
PAGE = {"Accept": "text/html"}
HARD_TEXT = "<script>alert('x')</script> & \"quotes\" שלום 🙂"


def conversation_id(client: TestClient) -> str:
    return str(client.get("/conversation").json()["id"])


def post(client: TestClient, text: str, **headers: str) -> Response:
    data = {"text": text, "conversation": conversation_id(client)}
    return client.post("/messages", data=data, headers=headers or PAGE)


def stream(client: TestClient, text: str) -> list[tuple[str, dict[str, Any]]]:
    response = post(client, text, **STREAM)
    assert response.status_code == 200, response.text
    return events(response)


def events(response: Response) -> list[tuple[str, dict[str, Any]]]:
    assert response.headers["content-type"].startswith("text/event-stream")
    return all_events(response.content)


def shown(told: list[tuple[str, dict[str, Any]]]) -> str:
    """The text that the page's script shows for these events. How it is cut into tokens is the reader's speed."""
    text = ""
    for name, data in told:
        text = "" if name == "restart" else text + data.get("text", "") if name == "token" else text
    return text


def exchanges(client: TestClient) -> list[dict[str, Any]]:
    return list(client.get("/conversation").json()["exchanges"])


@pytest.fixture(autouse=True)
def opened(client: TestClient) -> None:
    """A browser has opened the page, and so has its cookie."""
    assert client.get("/", headers=PAGE).status_code == 200


# ---- the page


def test_an_empty_chat_offers_questions(client: TestClient) -> None:
    page = client.get("/").text
    assert 'value="What is a pod?"' in page
    assert "<article" not in page.split("<template")[0]


def test_every_page_has_its_security_headers(client: TestClient) -> None:
    for path in ("/", "/nowhere", "/static/chat.js", "/healthz"):
        headers = client.get(path).headers
        assert "script-src 'self'" in headers["content-security-policy"]
        assert headers["x-content-type-options"] == "nosniff"
        assert headers["referrer-policy"] == "same-origin"
    assert client.get("/").headers["cache-control"] == "no-store"


def test_pages_hold_no_inline_script_or_style_and_link_to_nothing_external(client: TestClient) -> None:
    post(client, "hello")
    page = client.get("/").text
    assert re.findall(r"<script(?! type=\"module\" src=)|<style|\sstyle=|\son\w+=|https?://", page) == []
    assets = Path(__file__).parents[2].joinpath("frontend", "static").iterdir()
    foreign = [a.name for a in assets if re.search(r"(?:https?:)?//(?!www\.w3\.org/2000/svg)\w+\.\w", a.read_text())]
    assert foreign == []


def test_the_script_uses_no_html_sink() -> None:
    for script in Path(__file__).parents[2].joinpath("frontend", "static").glob("*.js"):
        assert not re.search(r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|eval\(", script.read_text())


def test_unknown_pages_are_pages_for_browsers_and_data_for_programs(client: TestClient) -> None:
    page = client.get("/nowhere", headers=PAGE)
    assert (page.status_code, "Back to the chat" in page.text) == (404, True)
    data = client.get("/nowhere")
    assert (data.status_code, data.json()["error"]["type"]) == (404, "http_error")
    assert client.get("/messages", headers=PAGE).status_code == 405


def test_unexpected_errors_are_a_page_with_headers_and_a_number(
    client: TestClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: object) -> None:
        raise ZeroDivisionError

    monkeypatch.setattr("frontend.routes.conversation_view", broken)
    page = client.get("/conversation", headers=PAGE)
    assert (page.status_code, "Its number is" in page.text) == (500, True)
    assert "content-security-policy" in page.headers


# ---- without the script


def test_a_form_post_leads_to_the_page_with_the_reply(client: TestClient, stub: StubBackend) -> None:
    response = client.post("/messages", data={"text": "What is a pod?"}, headers=PAGE, follow_redirects=False)
    assert (response.status_code, response.headers["location"]) == (
        303,
        f"/conversations/{conversation_id(client)}#latest",
    )
    page = client.get("/").text
    assert ">A pod is the smallest unit</a> that Kubernetes schedules.</p>" in page
    for told in (
        REPLICA,
        "7f3c9a1e",
        "node-a",
        "models/mini",
        "1.2 s",
        "req-1",
        "c0ffee12",
        "<mark>A pod is the smallest unit</mark>.",
        "67 %",
    ):
        assert told in page


def test_the_share_of_grounded_words_is_hidden_where_it_is_not_known(client: TestClient, stub: StubBackend) -> None:
    stub.plan(Answer(extra={"grounded": None}))
    assert "grounded <b>" not in post(client, "q").text
    assert "grounded <b>67 %</b>" in post(client, "q").text


@pytest.mark.parametrize(("text", "reason"), [("  \r\n ", "is empty"), ("x" * 4_001, "too long: 4,001 characters")])
def test_a_refused_message_stays_in_the_box(client: TestClient, stub: StubBackend, text: str, reason: str) -> None:
    page = post(client, text)
    assert page.status_code == 422
    assert reason in page.text
    assert text.strip() in page.text.split("<textarea")[1].split("</textarea>")[0]
    assert stub.dialogs == [] and exchanges(client) == []


def test_a_draft_that_begins_with_a_line_break_keeps_it(client: TestClient) -> None:
    page = post(client, "\n\nhello" + "x" * 4_000)
    assert re.search(r"<textarea[^>]*>\n\n\nhello", page.text)


def test_a_message_of_twice_the_length_is_a_clear_refusal(client: TestClient) -> None:
    page = post(client, "🙂" * 8_000)
    assert (page.status_code, "too long: 8,000 characters" in page.text) == (422, True)


def test_a_huge_body_is_refused_with_a_page(client: TestClient) -> None:
    page = post(client, "x" * 5_000_000)
    assert (page.status_code, "at most 100,096 bytes" in page.text) == (413, True)
    assert exchanges(client) == []


@pytest.mark.parametrize(
    ("content", "content_type", "status"),
    [
        (b"{}", "application/json", 415),
        (b"--x\r\n\r\n--x--", "multipart/form-data; boundary=x", 415),
        (b"text=\xff\xfe", "application/x-www-form-urlencoded", 400),
        (b"&".join(b"a=%d" % n for n in range(50)), "application/x-www-form-urlencoded", 400),
        (b"", "application/x-www-form-urlencoded", 422),
        (b"text=hello", "Application/X-WWW-Form-URLEncoded; charset=utf-8", 200),
        (b"text=hello&conversation=%00", "application/x-www-form-urlencoded", 409),
        (b"text=hello&conversation=%ED%A0%80", "application/x-www-form-urlencoded", 409),
        (b"text=%00%ff", "application/x-www-form-urlencoded", 200),
    ],
)
def test_malformed_forms(client: TestClient, content: bytes, content_type: str, status: int) -> None:
    response = client.post("/messages", content=content, headers=STREAM | {"Content-Type": content_type})
    assert response.status_code == status


@pytest.mark.parametrize("position", ["x", "-", "1.5", "0", "-1", "2147483648", "9" * 20, "9" * 5_000, "%00", "١"])
def test_a_position_that_cannot_be_is_an_address_of_nothing(client: TestClient, position: str) -> None:
    """Twenty digits were a crash: no database's integer holds them."""
    for action in ("retry", "stop"):
        page = client.post(f"/messages/{position}/{action}", data={"x": ""}, headers=PAGE)
        assert (page.status_code, "There is no such page" in page.text) == (404, True)
    assert client.get(f"/messages/{position}/reply").status_code == 404
    data = client.post(f"/messages/{position}/retry", data={"x": ""})
    assert (data.status_code, data.json()["error"]["type"]) == (404, "http_error")


def test_the_greatest_position_is_asked_for(client: TestClient) -> None:
    assert client.post("/messages/2147483647/retry", data={"x": ""}, headers=PAGE).status_code == 409


def test_a_failure_is_shown_with_retry_and_is_no_reply(client: TestClient, stub: StubBackend) -> None:
    stub.plan(Answer(status=429, headers={"Retry-After": "7"}))
    page = post(client, "question")
    assert page.status_code == 200
    assert "The chat service is busy" in page.text
    assert "Try again in 7 seconds" in page.text
    (exchange,) = exchanges(client)
    assert (exchange["reply"], exchange["retryable"]) == (None, True)
    page = client.post("/messages/1/retry", data={"conversation": conversation_id(client)}, headers=PAGE)
    assert "that Kubernetes schedules" in page.text
    assert stub.dialogs == [["question"], ["question"]]


def test_a_backend_that_is_away_and_comes_back(client: TestClient, stub: StubBackend) -> None:
    stub.stop()
    assert "The chat service is away" in post(client, "question").text
    stub.start()
    client.post("/messages/1/retry", data={"conversation": conversation_id(client)}, headers=PAGE)
    assert exchanges(client)[0]["reply"]["text"] == Answer().text


# ---- with the script


def test_a_stream_says_stored_tokens_done(client: TestClient) -> None:
    (first, stored), *told, (last, view) = stream(client, "What is a pod?")
    assert (first, stored["conversation"], stored["position"]) == ("stored", conversation_id(client), 1)
    assert ({name for name, _ in told}, shown(told)) == ({"token"}, Answer().text)
    assert last == "done"
    assert view == exchanges(client)[0]


def test_the_reply_object_decides_over_the_streamed_text(client: TestClient, stub: StubBackend) -> None:
    stub.plan(Answer(tokens=["a  b"], response="a b"))
    assert stream(client, "q")[-1][1]["reply"]["text"] == "a b"
    assert exchanges(client)[0]["reply"]["text"] == "a b"


def test_the_whole_dialogue_goes_to_the_backend(client: TestClient, stub: StubBackend) -> None:
    stub.plan(Answer(response="first reply"))
    stream(client, "first")
    stream(client, "second")
    assert stub.dialogs[1] == ["first", "first reply", "second"]


@pytest.mark.parametrize(
    ("answer", "failure"),
    [
        (Answer(status=422, message="dialog[0]: no"), "refused"),
        (Answer(status=503), "unavailable"),
        (Answer(dies_after=2), "interrupted"),
        (Answer(last_event="error"), "interrupted"),
    ],
)
def test_failures_end_the_stream_and_are_kept(
    client: TestClient, stub: StubBackend, answer: Answer, failure: str
) -> None:
    stub.plan(*[answer] * (len(PAUSES_SECONDS) + 1))  # a broken connection is one each time
    name, data = stream(client, "question")[-1]
    assert (name, data["type"]) == ("error", failure)
    (exchange,) = exchanges(client)
    assert exchange["trouble"] == data
    assert (exchange["reply"], exchange["retryable"]) == (None, True)


def test_a_cold_start_is_told_to_the_page_and_the_reply_follows(client: TestClient, stub: StubBackend) -> None:
    stub.plan(*[Answer(status=503, error_type="starting", headers={"Retry-After": "0.02"})] * 3)
    names = [name for name, _ in stream(client, "What is a pod?")]
    assert names[:2] == ["stored", "starting"]
    assert (names.count("starting"), names[-1]) == (1, "done")


def test_a_reply_whose_connection_breaks_is_one_reply(client: TestClient, stub: StubBackend) -> None:
    stub.plan(Answer(seed=7, dies_after=2))
    _, *told, (last, view) = stream(client, "What is a pod?")
    assert ({name for name, _ in told}, shown(told)) == ({"token"}, Answer().text)
    assert (last, view["reply"]["text"]) == ("done", Answer().text)
    assert stub.request_ids[0] == stub.request_ids[1]
    detail = {"label": "Asked again", "value": "once, after the connection to the chat service broke"}
    assert detail in view["reply"]["details"]
    assert view == exchanges(client)[0]


def test_each_reply_has_a_name_of_its_own(client: TestClient, stub: StubBackend) -> None:
    stub.plan(Answer(status=503))
    stream(client, "What is a pod?")
    client.post("/messages/1/retry", data={"conversation": conversation_id(client)}, headers=STREAM)
    stream(client, "And a node?")
    assert len({*stub.request_ids}) == 3
    assert all(re.fullmatch("[0-9a-f]{32}", str(request_id)) for request_id in stub.request_ids)


def test_a_reply_that_has_changed_meanwhile_begins_anew(client: TestClient, stub: StubBackend) -> None:
    stub.plan(Answer(dies_after=2), Answer(tokens=["A pod ", "runs containers."]))
    assert shown(stream(client, "What is a pod?")) == "A pod runs containers."
    assert exchanges(client)[0]["reply"]["text"] == "A pod runs containers."


def test_every_replica_that_took_part_is_told(client: TestClient, stub: StubBackend) -> None:
    origins = [{"replica_id": f"r{n}", "node_id": f"n{n}", "podName": f"p{n}", "nodeName": f"node-{n}"} for n in (1, 2)]
    stub.plan(Answer(extra={"origins": origins}), Answer(extra={"origins": origins[:1]}))
    view = stream(client, "What is a pod?")[-1][1]
    told = {"label": "Written by", "value": "begun by r1 on node-1, finished by r2 on node-2"}
    assert told in view["reply"]["details"]
    assert told in exchanges(client)[0]["reply"]["details"]
    assert told["value"] in client.get("/").text
    alone = stream(client, "And a node?")[-1][1]
    assert "Written by" not in [detail["label"] for detail in alone["reply"]["details"]]


def test_every_version_of_a_reply_is_reached_without_the_script(client: TestClient, stub: StubBackend) -> None:
    stub.plan(Answer(response="first"), Answer(response="second"))
    post(client, "q")
    conversation = conversation_id(client)
    again = client.post("/messages/1/retry", data={"conversation": conversation}, headers=PAGE)
    assert "second" in again.text and "first" not in again.text
    assert '<span data-field="version">2/2</span>' in again.text
    link = re.search(r'aria-label="Earlier version" href="([^"#]+)#exchange-1"', again.text)
    assert link is not None
    assert "first" in client.get(link[1]).text
    assert stub.dialogs[1] == ["q"]
    post(client, "more")  # without saying after what: the newest
    assert stub.dialogs[2] == ["q", "second", "more"]
    client.post("/messages", data={"conversation": conversation, "after": "1", "text": "more"}, headers=PAGE)
    assert stub.dialogs[3] == ["q", "first", "more"]


def test_a_message_is_edited_without_the_script(client: TestClient, stub: StubBackend) -> None:
    for text in ("one", "two", "three"):
        post(client, text)
    conversation = conversation_id(client)
    page = client.get(f"/conversations/{conversation}?edit=2").text
    assert re.search(r'action="/messages/2/edit"[^>]*>', page)
    assert "\ntwo</textarea>" in page
    edited = client.post("/messages/2/edit", data={"conversation": conversation, "text": "2"}, headers=PAGE).text
    assert stub.dialogs[-1] == ["one", Answer().text, "2"]
    assert "three" not in edited.split('id="log"')[1]
    refused = client.post("/messages/2/edit", data={"conversation": conversation, "text": " "}, headers=PAGE)
    assert refused.status_code == 422
    assert 'action="/messages/2/edit"' in refused.text
    gone = client.post("/messages/77/edit", data={"conversation": conversation, "text": "2"}, headers=STREAM)
    assert (gone.status_code, gone.json()["error"]["type"]) == (409, "no_such_message")


def test_a_rating_is_kept_and_shown(client: TestClient) -> None:
    post(client, "q")
    data = {"conversation": conversation_id(client), "rating": "down"}
    assert client.post("/messages/1/rate", data=data).status_code == 204
    assert exchanges(client)[0]["reply"]["rating"] == "down"
    page = client.post("/messages/1/rate", data=data | {"rating": "none"}, headers=PAGE)
    assert page.url.query == b"at=1"
    assert exchanges(client)[0]["reply"]["rating"] == ""
    assert client.post("/messages/2/rate", data=data).status_code == 409


def test_a_page_without_the_script_can_stop_a_reply(client: TestClient, stub: StubBackend) -> None:
    stub.plan(answer := Answer(hold_after=1))
    with client.stream("POST", "/messages", data={"text": "q"}, headers=STREAM) as response:
        chunks = response.iter_raw()
        while b"token" not in next(chunks):
            continue
        page = client.get("/", headers=PAGE).text
        assert 'action="/messages/1/stop"' in page
        stopped = client.post("/messages/1/stop", data={"conversation": conversation_id(client)}, headers=PAGE)
        assert (stopped.status_code, "The reply was stopped" in stopped.text) == (200, True)
        answer.release.set()
        list(chunks)
    assert 'action="/messages/1/stop"' not in stopped.text
    late = client.post("/messages/1/stop", data={"conversation": conversation_id(client)}, headers=PAGE)
    assert (late.status_code, "has ended already" in late.text) == (409, True)


@pytest.mark.parametrize("text", ["", "x" * 4_001])
def test_refusals_are_data_for_the_script(client: TestClient, text: str) -> None:
    response = post(client, text, **STREAM)
    assert (response.status_code, response.json()["error"]["type"]) == (422, "message_refused")


@pytest.mark.parametrize("headers", [STREAM, PAGE])
def test_no_room_for_another_reply_stores_nothing(
    make_client: Callable[..., TestClient], stub: StubBackend, headers: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    client = make_client(max_replies=1)
    client.get("/")
    stub.plan(answer := Answer(hold_after=1))
    with client.stream("POST", "/messages", data={"text": "first"}, headers=STREAM) as first:
        chunks = first.iter_raw()
        assert b"stored" in next(chunks)
        second = post(client, "second", **headers)
        assert (second.status_code, "Too many replies" in second.text) == (503, True)
        answer.release.set()
        list(chunks)
    assert [e["message"] for e in exchanges(client)] == ["first"]


@pytest.mark.parametrize("headers", [STREAM, PAGE])
def test_no_room_for_another_chat_is_said_and_the_text_kept(
    make_client: Callable[..., TestClient], headers: dict[str, str]
) -> None:
    first, second = make_client(max_conversations=1), make_client(max_conversations=1)
    for client in (first, second):
        client.get("/")
    stream(first, "first")
    refused = post(second, "second", **headers)
    assert (refused.status_code, "No further chat can be kept" in refused.text) == (503, True)
    if headers is PAGE:
        assert "second" in refused.text.split("<textarea")[1].split("</textarea>")[0]
    else:
        assert refused.json()["error"]["type"] == "busy"
    assert [e["message"] for e in exchanges(first)] == ["first"]


def test_looking_at_the_page_stores_nothing(client: TestClient) -> None:
    for path in ("/", "/conversation", "/backend", "/readyz"):
        client.cookies.clear()
        assert client.get(path, headers=PAGE).status_code == 200
    client.get("/new", headers=PAGE)
    client.get("/conversations", headers=PAGE)
    client.get("/data", headers=PAGE)
    store = client.app.state.services.store  # type: ignore[attr-defined]
    with store._engine.connect() as connection:  # noqa: SLF001
        assert connection.execute(sqlalchemy.text("SELECT count(*) FROM conversations")).scalar() == 0


# ---- escaping


def test_everything_written_is_escaped_in_the_page(client: TestClient, stub: StubBackend) -> None:
    passage = {"id": HARD_TEXT, "text": HARD_TEXT, "score": 1.5}
    names = dict.fromkeys(("replica_id", "nodeName", "model", "request_id", "config_version"), HARD_TEXT)
    filling = passage | {"id": HARD_TEXT * 2, "filling": True}
    end = len(HARD_TEXT)
    citation = {"start": 0, "end": end, "passage": HARD_TEXT, "passage_start": 0, "passage_end": end}
    extra: dict[str, Any] = names | {"grounding": {"passages": [passage, filling]}, "citations": [citation]}
    stub.plan(Answer(response=HARD_TEXT, extra=extra), Answer(status=422, message=HARD_TEXT))
    stub.health["config_error"] = HARD_TEXT
    post(client, HARD_TEXT)
    post(client, "refused")
    page = post(client, HARD_TEXT + "x" * 4_000).text
    assert "<script>alert" not in page
    assert Texts(page).count(HARD_TEXT) >= 11


class Texts(HTMLParser):
    """The page's text and attributes as a browser understands them."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.pieces: list[str] = []
        self.feed(page)

    def handle_data(self, data: str) -> None:
        self.pieces.append(data)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.pieces += [value or "" for _, value in attrs]

    def count(self, text: str) -> int:
        return sum(text in piece for piece in self.pieces)


# ---- sessions


def test_history_survives_a_restart_with_the_kept_key(make_client: Callable[..., TestClient]) -> None:
    before = make_client(secret_key=None)
    before.get("/")
    stream(before, "question")
    after = make_client(secret_key=None)
    after.cookies.set(COOKIE, before.cookies[COOKIE])
    assert [e["message"] for e in exchanges(after)] == ["question"]


@pytest.mark.parametrize("cookie", ["nonsense", "a.b.c", '"'])
def test_a_tampered_cookie_is_a_new_chat_and_harms_nothing(client: TestClient, cookie: str) -> None:
    stream(client, "my words")
    good = client.cookies[COOKIE]
    conversation = conversation_id(client)
    client.cookies.clear()
    client.cookies.set(COOKIE, cookie)
    page = client.get("/").text
    assert "could not be recognised" in page
    assert "my words" not in page
    client.cookies.clear()
    client.cookies.set(COOKIE, cookie)
    refused = client.post("/messages", data={"text": "kept?", "conversation": conversation}, headers=STREAM)
    assert (refused.status_code, refused.json()["error"]["message"]) == (409, NO_SESSION)
    assert COOKIE in refused.cookies
    client.cookies.clear()
    client.cookies.set(COOKIE, good)
    assert [e["message"] for e in exchanges(client)] == ["my words"]


def test_without_a_cookie_the_text_is_given_back(client: TestClient) -> None:
    client.cookies.clear()
    page = client.post("/messages", data={"text": "my words"}, headers=PAGE)
    assert page.status_code == 409
    assert "my words" in page.text.split("<textarea")[1].split("</textarea>")[0]
    assert post(client, "my words").status_code == 200


def test_a_new_chat_leaves_the_others_as_they_are(client: TestClient) -> None:
    stream(client, "question")
    old = conversation_id(client)
    assert ">question<" not in client.get("/new").text.split("<main")[1]
    client.post("/messages", data={"text": "afresh"}, headers=STREAM)
    assert [e["message"] for e in exchanges(client)] == ["afresh"]
    assert [e["message"] for e in client.get("/conversation", params={"id": old}).json()["exchanges"]] == ["question"]


@pytest.mark.parametrize("path", ["/messages", "/messages/1/retry", "/messages/1/stop"])
@pytest.mark.parametrize(
    "headers", [{"Sec-Fetch-Site": "cross-site"}, {"Origin": "http://evil.test"}, {"Origin": "http://["}]
)
def test_forms_of_other_sites_are_refused(client: TestClient, path: str, headers: dict[str, str]) -> None:
    stream(client, "question")
    assert client.post(path, data={"text": "forged"}, headers=headers | PAGE).status_code == 403
    assert [e["message"] for e in exchanges(client)] == ["question"]


# ---- two tabs, two processes


def test_a_second_tab_waits_for_the_first_ones_reply(make_client: Callable[..., TestClient], stub: StubBackend) -> None:
    first, second = make_client(), make_client()  # two processes on one database
    first.get("/")
    second.cookies.set(COOKIE, first.cookies[COOKIE])
    stub.plan(answer := Answer(hold_after=1))
    with first.stream("POST", "/messages", data={"text": "first"}, headers=STREAM) as reply:
        chunks = reply.iter_raw()
        assert b"stored" in next(chunks)
        for headers in (STREAM, PAGE):
            refused = post(second, "second", **headers)
            assert (refused.status_code, "being written in another tab" in refused.text) == (409, True)
        assert second.get("/conversation").json()["writing"]
        answer.release.set()
        list(chunks)
    stream(second, "second")
    assert stub.dialogs[1] == ["first", Answer().text, "second"]
    assert exchanges(first) == exchanges(second)


def test_a_reply_is_stopped_at_another_process(make_client: Callable[..., TestClient], stub: StubBackend) -> None:
    """Behind a load balancer, Stop arrives anywhere."""
    first, second = make_client(), make_client()
    first.get("/")
    second.cookies.set(COOKIE, first.cookies[COOKIE])
    stub.plan(Answer(hold_after=1))
    with first.stream("POST", "/messages", data={"text": "q"}, headers=STREAM) as reply:
        chunks = reply.iter_raw()
        while b"token" not in next(chunks):
            continue
        data = {"conversation": conversation_id(second)}
        assert second.post("/messages/1/stop", data=data).status_code == 204
        assert b"event: stopped" in b"".join(chunks)
    stub.wait_for_hangup()
    assert exchanges(second)[0]["reply"]["text"] == "A pod is "


# ---- the backend's state, and the probes


def test_the_fallback_and_a_configuration_error_are_on_the_page(client: TestClient, stub: StubBackend) -> None:
    stub.health["model"] = {"name": "mini", "requested": "big", "fallback": True, "reason": "the hub is away"}
    stub.health["config_error"] = "generation.top_p: 2"
    page = client.get("/").text
    assert "The fallback model mini answers in place of big." in page and "the hub is away" in page
    assert not re.search(r'id="fallback"[^>]* hidden', page)
    assert "generation.top_p: 2" in page
    again = client.get("/").text
    assert re.search(r'id="fallback"[^>]* hidden', again), "it is told once a session"
    assert "generation.top_p: 2" in again
    stub.health["model"] |= {"reason": "the hub has no such model"}
    assert not re.search(r'id="fallback"[^>]* hidden', client.get("/").text), "this is another reason"
    assert client.get("/backend").json()["state"] == "fallback"


def test_a_silent_backend_does_not_hold_the_page_up(client: TestClient, stub: StubBackend) -> None:
    stub.health_release.clear()
    assert client.get("/").status_code == 200  # the stub would hold it for half a minute
    stub.health_release.set()


def test_probes(client: TestClient, stub: StubBackend, monkeypatch: pytest.MonkeyPatch) -> None:
    assert client.get("/healthz").json() == {"status": "ok"}
    stub.stop()
    client.get("/backend")
    ready = client.get("/readyz")
    assert (ready.status_code, ready.json()) == (200, {"status": "ok", "database": "ok", "backend": "unavailable"})


def test_without_its_database_it_is_alive_but_not_ready(client: TestClient, tmp_path: Path) -> None:
    for file in tmp_path.iterdir():
        file.unlink()
    (tmp_path / "chats.sqlite3").mkdir()
    client.app.state.services.store._engine.dispose()  # type: ignore[attr-defined]  # noqa: SLF001
    assert client.get("/healthz").status_code == 200
    assert client.get("/readyz").status_code == 503
    page = client.get("/", headers=PAGE)
    assert (page.status_code, "cannot be reached" in page.text) == (503, True)
    response = client.post("/messages", data={"text": "hello"}, headers=STREAM)
    assert (response.status_code, response.json()["error"]["type"]) == (503, "store_unavailable")


def test_what_users_type_is_not_logged(client: TestClient, stub: StubBackend, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    stub.plan(Answer(response="private-reply"), Answer(status=422, message="private-echo"), Answer(dies_after=1))
    for number in range(3):
        stream(client, f"private-words {number}")
    post(client, "private-words " + "x" * 4_000)
    ours = [r.getMessage() for r in caplog.records if not r.name.startswith(("httpx", "httpcore"))]
    assert [message for message in ours if "private" in message] == []
