"""Rates: of a session and of an address, counted here or in Redis, told with the time to wait, and nothing lost."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from starlette.requests import Request
from starlette.testclient import TestClient

from frontend.errors import TooFast
from frontend.rates import Action, Rates
from frontend.session import BrowserSession
from tests.frontend.conftest import MakeSettings
from tests.support import redis

PAGE = {"accept": "text/html"}
SCRIPT = {"accept": "text/event-stream"}


@pytest.fixture
def redis_server(tmp_path: Path) -> Iterator[redis.Server]:
    if redis.program() is None:
        pytest.skip("redis-server is not installed")
    with redis.temporary_server(tmp_path) as server:
        yield server


def from_address(host: str) -> Request:
    return Request({"type": "http", "headers": [], "client": (host, 1)})


async def count(rates: Rates, action: Action, session: str, host: str = "10.0.0.1") -> float | None:
    """None when it is within the rate; else the seconds to wait."""
    try:
        await rates.spend(action, from_address(host), BrowserSession(session))
    except TooFast as error:
        return error.retry_after
    return None


async def test_a_session_has_its_rate_and_is_told_when_it_may_go_on(make_settings: MakeSettings) -> None:
    rates = Rates(make_settings(rate_messages="2/minute"))
    assert [await count(rates, Action.MESSAGE, "a") for _ in range(2)] == [None, None]
    wait = await count(rates, Action.MESSAGE, "a")
    assert wait is not None and 55 <= wait <= 60
    assert await count(rates, Action.SEARCH, "a") is None, "each action counts alone"
    assert await count(rates, Action.MESSAGE, "b") is None, "and so does each session"


async def test_several_rates_hold_together(make_settings: MakeSettings) -> None:
    rates = Rates(make_settings(rate_searches="10/minute;3/hour"))
    waits = [await count(rates, Action.SEARCH, "a") for _ in range(4)]
    assert waits[:3] == [None] * 3
    assert waits[3] is not None and waits[3] > 60


async def test_an_address_has_the_rate_of_several_sessions(make_settings: MakeSettings) -> None:
    rates = Rates(make_settings(rate_messages="1/minute", rate_address_factor=3))
    assert [await count(rates, Action.MESSAGE, name) for name in "abc"] == [None] * 3
    assert await count(rates, Action.MESSAGE, "d") is not None
    assert await count(rates, Action.MESSAGE, "e", "10.0.0.2") is None


@pytest.mark.parametrize(
    ("first", "second", "same"),
    [
        ("2001:db8:0:1::1", "2001:db8:0:1:ffff::2", True),  # one customer's network
        ("2001:db8:0:1::1", "2001:db8:0:2::1", False),
        ("::ffff:10.0.0.1", "10.0.0.1", True),
        ("10.0.0.1", "10.0.0.2", False),
    ],
)
async def test_what_is_one_address(make_settings: MakeSettings, first: str, second: str, same: bool) -> None:
    rates = Rates(make_settings(rate_sessions="1/minute"))
    assert await count(rates, Action.SESSION, "a", first) is None
    assert (await count(rates, Action.SESSION, "b", second) is not None) == same


async def test_processes_count_together_in_redis(make_settings: MakeSettings, redis_server: redis.Server) -> None:
    first, second = (Rates(make_settings(rate_messages="2/minute", rate_store=redis_server.url)) for _ in range(2))
    assert await count(first, Action.MESSAGE, "a") is None
    assert await count(second, Action.MESSAGE, "a") is None
    assert await count(first, Action.MESSAGE, "a") is not None
    assert await count(second, Action.MESSAGE, "a") is not None


async def test_without_redis_the_process_counts_for_itself_until_it_is_back(
    make_settings: MakeSettings,
    redis_server: redis.Server,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    rates = Rates(make_settings(rate_messages="1/minute", rate_store=redis_server.url))
    redis_server.stop()
    assert await count(rates, Action.MESSAGE, "a") is None
    assert await count(rates, Action.MESSAGE, "a") is not None
    assert caplog.text.count("Redis does not answer") == 1, "and is not asked again at once"
    redis_server.start()
    monkeypatch.setattr("frontend.rates.time.monotonic", lambda: float("inf"))  # the pause is over
    assert await count(rates, Action.MESSAGE, "a") is None, "counted in Redis, which knows of none"


def test_a_message_too_many_is_given_back(make_client: Callable[..., TestClient]) -> None:
    client = make_client(rate_messages="1/minute")
    client.get("/")
    assert client.post("/messages", data={"text": "one"}, headers=PAGE).status_code == 200
    page = client.post("/messages", data={"text": "a <second> one"}, headers=PAGE)
    assert (page.status_code, "a &lt;second&gt; one</textarea>" in page.text) == (429, True)
    assert "Try again in" in page.text and 0 < int(page.headers["retry-after"]) <= 60
    told = client.post("/messages", data={"text": "a second one"}, headers=SCRIPT)
    assert (told.status_code, told.json()["error"]["type"]) == (429, "too_fast")
    assert int(told.headers["retry-after"]) > 0
    assert [each["message"] for each in client.get("/conversation").json()["exchanges"]] == ["one"]


def test_new_chats_have_a_rate_of_their_own(make_client: Callable[..., TestClient]) -> None:
    client = make_client(rate_conversations="1/hour")
    client.get("/")
    client.post("/messages", data={"text": "one"}, headers=PAGE)
    chat = client.get("/conversation").json()["id"]
    assert client.post("/messages", data={"text": "two"}, headers=PAGE).status_code == 429
    assert client.post("/messages", data={"text": "two", "conversation": chat}, headers=PAGE).status_code == 200


def test_a_search_too_many_keeps_its_words(make_client: Callable[..., TestClient]) -> None:
    client = make_client(rate_searches="1/minute")
    assert client.get("/conversations?q=pods").status_code == 200
    page = client.get("/conversations?q=pods", headers=PAGE)
    assert page.status_code == 429 and 'value="pods"' in page.text and "retry-after" in page.headers


def test_imports_and_exports_of_all_chats_have_a_rate(make_client: Callable[..., TestClient]) -> None:
    client = make_client(rate_transfers="1/hour")
    client.get("/data")
    assert client.get("/data/export.json").status_code == 200
    assert client.get("/data/export.json", headers=PAGE).status_code == 429
    page = client.post("/data/import", files={"file": ("chats.json", b"[]")}, headers=PAGE)
    assert (page.status_code, "Too many" in page.text or "too many" in page.text) == (429, True)


def test_an_address_that_begins_many_sessions_is_given_no_more(make_client: Callable[..., TestClient]) -> None:
    client = make_client(rate_sessions="2/hour")
    for _ in range(2):
        assert "chat_session" in client.get("/new").cookies
        client.cookies.clear()
    page = client.get("/new", headers=PAGE)
    assert (page.status_code, "set-cookie" in page.headers) == (429, False)
    assert int(page.headers["retry-after"]) > 0
    lost = client.post("/messages", data={"text": "typed before the cookie was lost"}, headers=PAGE)
    assert lost.status_code == 429 and "typed before the cookie was lost" in lost.text
    assert "set-cookie" not in lost.headers


def test_who_has_a_session_is_not_counted_as_new(make_client: Callable[..., TestClient]) -> None:
    client = make_client(rate_sessions="1/hour")
    assert [client.get("/new").status_code for _ in range(3)] == [200] * 3


def test_trying_a_question_counts_as_a_message(make_client: Callable[..., TestClient]) -> None:
    client = make_client(rate_messages="1/minute")
    client.get("/knowledge")
    assert client.post("/knowledge/try", data={"question": "one"}, headers=PAGE).status_code == 200
    page = client.post("/knowledge/try", data={"question": "a second one"}, headers=PAGE)
    assert page.status_code == 429 and 'value="a second one"' in page.text and "retry-after" in page.headers


def test_a_chat_that_begins_with_its_text_counts_as_a_new_one(make_client: Callable[..., TestClient]) -> None:
    client = make_client(rate_conversations="1/hour", rate_sessions="1/hour")
    client.get("/new/knowledge")
    text = {"text": (None, "It opens at six.")}
    assert client.post("/new/knowledge", files=text, headers=PAGE, follow_redirects=False).status_code == 303
    page = client.post("/new/knowledge", files=text, headers=PAGE)
    assert (page.status_code, "It opens at six.</textarea>" in page.text) == (429, True)
    client.cookies.clear()
    lost = client.post("/new/knowledge", files=text, headers=PAGE)
    assert (lost.status_code, "set-cookie" in lost.headers) == (429, False)
