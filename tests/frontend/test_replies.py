"""Replies over real connections: they go on when their reader leaves, end when they are stopped, and are stored."""

import threading
from collections.abc import Iterator
from typing import Any

import pytest
import requests

from frontend.app import create_app
from tests.frontend.conftest import MakeSettings, serving
from tests.support.sse import all_events
from tests.support.stub_backend import BEGINS, REPLICA, Answer, StubBackend
from tests.support.waiting import eventually

STREAM = {"Accept": "text/event-stream"}


@pytest.fixture
def url(stub: StubBackend, make_settings: MakeSettings) -> Iterator[str]:
    with serving(create_app(make_settings(backend_url=stub.url, claim_seconds=3_600))) as url:
        yield url


@pytest.fixture
def browser(url: str) -> Iterator[requests.Session]:
    with requests.Session() as session:
        session.trust_env = False
        session.get(url)
        yield session


def last_exchange(browser: requests.Session, url: str) -> dict[str, Any]:
    exchanges = browser.get(f"{url}/conversation").json()["exchanges"]
    return dict(exchanges[-1]) if exchanges else {}


def text(content: bytes) -> str:
    return "".join(data["text"] for name, data in all_events(content) if name == "token")


def reply_url(browser: requests.Session, url: str) -> str:
    conversation = browser.get(f"{url}/conversation").json()["id"]
    return f"{url}/messages/1/reply?conversation={conversation}"


def stop(browser: requests.Session, url: str, headers: dict[str, str] | None = None) -> requests.Response:
    data = {"conversation": browser.get(f"{url}/conversation").json()["id"]}
    return browser.post(f"{url}/messages/1/stop", data=data, headers=headers, allow_redirects=False)


def send_and_leave(browser: requests.Session, url: str, stub: StubBackend, until: bytes = b"stored") -> None:
    """Ask, and go away when the backend has the question and the page `until`."""
    with browser.post(f"{url}/messages", data={"text": "q"}, headers=STREAM, stream=True) as response:
        chunks = response.iter_content(None)  # kept: forgetting it would end the connection already here
        while until not in next(chunks):
            continue
        eventually(lambda: len(stub.dialogs) > 0)


@pytest.mark.parametrize("hold_after", [0, 2])
def test_a_reply_is_stored_though_its_reader_has_left(
    url: str, browser: requests.Session, stub: StubBackend, hold_after: int
) -> None:
    """Before the first token as well as in the middle."""
    answer = stub.plan(Answer(hold_after=hold_after))
    send_and_leave(browser, url, stub)
    assert browser.get(f"{url}/conversation").json()["writing"]
    answer.release.set()
    eventually(lambda: last_exchange(browser, url)["reply"] is not None)
    exchange = last_exchange(browser, url)
    assert exchange["reply"]["text"] == answer.text
    assert exchange["reply"]["tag"][0]["title"] == REPLICA
    assert not browser.get(f"{url}/conversation").json()["writing"]


def test_leaving_a_plain_form_post_does_not_end_the_reply_either(
    url: str, browser: requests.Session, stub: StubBackend
) -> None:
    answer = stub.plan(Answer(hold_after=1))
    with pytest.raises(requests.ReadTimeout):
        browser.post(f"{url}/messages", data={"text": "q"}, headers={"Accept": "text/html"}, timeout=0.5)
    answer.release.set()
    eventually(lambda: last_exchange(browser, url)["reply"] is not None)


def test_a_reader_that_comes_back_has_the_whole_reply(url: str, browser: requests.Session, stub: StubBackend) -> None:
    answer = stub.plan(Answer(hold_after=2))
    send_and_leave(browser, url, stub, until=b"smallest")
    with browser.get(reply_url(browser, url), stream=True) as first, browser.get(first.url, stream=True) as second:
        answer.release.set()
        read = [b"".join(response.iter_content(None)) for response in (first, second)]
    for content in read:  # two tabs see the same
        assert text(content) == answer.text
        name, stored = all_events(content)[0]
        assert (name, stored["conversation"], stored["position"]) == ("stored", first.url.split("=")[1], 1)
        assert all_events(content)[-1] == ("done", last_exchange(browser, url))


def test_a_reader_that_says_how_far_it_has_read_has_the_rest(
    url: str, browser: requests.Session, stub: StubBackend
) -> None:
    answer = stub.plan(Answer(hold_after=2))
    send_and_leave(browser, url, stub, until=b"smallest")
    seen = len(answer.tokens[0])
    places = {f"0.{seen}": answer.text[seen:], "nonsense": answer.text, "0.9999": answer.text, "7.0": answer.text}
    readers = [browser.get(reply_url(browser, url), headers={"Last-Event-ID": p}, stream=True) for p in places]
    answer.release.set()
    for reader, rest in zip(readers, places.values(), strict=True):
        assert text(reader.content) == rest
    assert [b"event: restart" in reader.content for reader in readers] == [False, False, True, True]


def test_a_reply_is_its_sessions_alone(url: str, browser: requests.Session, stub: StubBackend) -> None:
    answer = stub.plan(Answer(hold_after=1))
    send_and_leave(browser, url, stub)
    theirs = reply_url(browser, url)
    with requests.Session() as stranger:
        stranger.trust_env = False
        stranger.get(url)
        assert stranger.get(theirs).status_code == 404
        data = {"conversation": theirs.split("=")[1]}
        assert stranger.post(f"{url}/messages/1/stop", data=data, headers=STREAM).status_code == 409
    answer.release.set()
    eventually(lambda: last_exchange(browser, url)["reply"] is not None)
    assert browser.get(theirs).status_code == 404  # it has ended, and stands in the conversation


@pytest.mark.parametrize(("headers", "status"), [({"Accept": "text/html"}, 303), ({}, 204)])
def test_stop_frees_the_backend_and_keeps_what_was_written(
    url: str, browser: requests.Session, stub: StubBackend, headers: dict[str, str], status: int
) -> None:
    """The claim of this test would last an hour."""
    stub.plan(Answer(hold_after=2, seed=7, start=BEGINS))
    with browser.post(f"{url}/messages", data={"text": "q"}, headers=STREAM, stream=True) as response:
        chunks = response.iter_content(None)
        seen = next(chunks)
        while b"smallest" not in seen:
            seen += next(chunks)
        assert stop(browser, url, headers).status_code == status
        exchange = last_exchange(browser, url)
        stub.wait_for_hangup()
        events = all_events(seen + b"".join(chunks))
    assert events[-1] == ("stopped", exchange)
    assert events[1] == ("begun", {"tag": exchange["reply"]["tag"]})
    assert [fact["text"] for fact in exchange["reply"]["tag"]] == [
        "7f3c9a1e",
        "node-a",
        "models/mini",
        "c0ffee12",
        "40 ms",
    ]
    assert (exchange["reply"]["text"], exchange["retryable"]) == ("A pod is the smallest unit ", True)
    assert exchange["trouble"] == {"type": "stopped", "title": "The reply was stopped", "text": "Its text ends here."}
    page = browser.get(url).text
    assert "A pod is the smallest unit </p>" in page and "The reply was stopped" in page
    assert stop(browser, url, STREAM).status_code == 409
    data = {"conversation": browser.get(f"{url}/conversation").json()["id"]}
    assert b"event: done" in browser.post(f"{url}/messages/1/retry", data=data, headers=STREAM).content


def test_stop_before_the_first_word_leaves_no_reply(url: str, browser: requests.Session, stub: StubBackend) -> None:
    stub.plan(Answer(hold_after=0))
    send_and_leave(browser, url, stub)
    assert stop(browser, url).status_code == 204
    stub.wait_for_hangup()
    exchange = last_exchange(browser, url)
    assert (exchange["reply"], exchange["trouble"]["type"], exchange["retryable"]) == (None, "stopped", True)


def test_stop_while_the_backend_is_asked_again_ends_that(
    url: str, browser: requests.Session, stub: StubBackend, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("frontend.asking.PAUSES_SECONDS", (60.0,))
    stub.plan(Answer(dies_after=1))
    send_and_leave(browser, url, stub, until=b"token")
    stop(browser, url)
    assert last_exchange(browser, url)["reply"]["text"] == "A pod is "
    assert len(stub.dialogs) == 1


def test_two_tabs_may_both_stop(url: str, browser: requests.Session, stub: StubBackend) -> None:
    stub.plan(Answer(hold_after=1))
    send_and_leave(browser, url, stub, until=b"token")
    statuses: list[int] = []
    tabs = [threading.Thread(target=lambda: statuses.append(stop(browser, url).status_code)) for _ in range(2)]
    for tab in tabs:
        tab.start()
    for tab in tabs:
        tab.join()
    assert sorted(statuses) in ([204, 204], [204, 409])
    assert last_exchange(browser, url)["trouble"]["type"] == "stopped"


def test_a_silent_reply_sends_pings_and_keeps_its_claim(stub: StubBackend, make_settings: MakeSettings) -> None:
    settings = make_settings(backend_url=stub.url, ping_seconds=0.1, claim_seconds=3)
    answer = stub.plan(Answer(hold_after=1))
    with serving(create_app(settings)) as url, requests.Session() as browser:
        browser.trust_env = False
        browser.get(url)
        with browser.post(f"{url}/messages", data={"text": "q"}, headers=STREAM, stream=True) as response:
            text = ""
            for chunk in response.iter_content(None, decode_unicode=False):
                text += chunk.decode()
                if text.count(": ping") == 8 and not answer.release.is_set():
                    # Each came at a tick of half a second: the first claim would have run out by now.
                    assert browser.get(f"{url}/conversation").json()["writing"]
                    answer.release.set()
        assert text.count(": ping") >= 8
        assert "event: done" in text
        assert last_exchange(browser, url)["reply"] is not None


def test_deleting_everything_ends_a_reply_that_is_being_written(stub: StubBackend, make_settings: MakeSettings) -> None:
    stub.plan(Answer(hold_after=1))
    app = create_app(make_settings(backend_url=stub.url, claim_seconds=2))
    with serving(app) as url, requests.Session() as browser:
        browser.trust_env = False
        browser.get(url)
        with browser.post(f"{url}/messages", data={"text": "q"}, headers=STREAM, stream=True) as response:
            chunks = response.iter_content(None)
            next(chunks)
            browser.post(f"{url}/data/delete", data={"sure": "yes"})
            rest = b"".join(chunks)
        assert b'"type": "claim_lost"' in rest
        stub.wait_for_hangup()
        assert last_exchange(browser, url) == {}


def test_shutdown_lets_a_reply_finish(stub: StubBackend, make_settings: MakeSettings) -> None:
    app = create_app(make_settings(backend_url=stub.url))
    answer = stub.plan(Answer(hold_after=1))
    with serving(app) as url, requests.Session() as browser:
        browser.trust_env = False
        browser.get(url)
        with browser.post(f"{url}/messages", data={"text": "q"}, headers=STREAM, stream=True) as response:
            chunks = response.iter_content(None)
            next(chunks)
            app.state.services.replies.drain()
            answer.release.set()
            assert b"event: done" in b"".join(chunks)


def test_shutdown_ends_a_long_reply_with_an_error(stub: StubBackend, make_settings: MakeSettings) -> None:
    app = create_app(make_settings(backend_url=stub.url, shutdown_grace_seconds=0.1))
    stub.plan(Answer(hold_after=1))
    with serving(app) as url, requests.Session() as browser:
        browser.trust_env = False
        browser.get(url)
        with browser.post(f"{url}/messages", data={"text": "q"}, headers=STREAM, stream=True) as response:
            chunks = response.iter_content(None)
            next(chunks)
            app.state.services.replies.drain()
            assert b"restarting" in b"".join(chunks)
        stub.wait_for_hangup()
        assert last_exchange(browser, url)["retryable"] is True


def test_a_reply_that_is_asked_for_again_ends_at_its_deadline(stub: StubBackend, make_settings: MakeSettings) -> None:
    """Every attempt has the backend's whole time anew; together they have the page's."""
    stub.plan(Answer(dies_after=1), Answer(tokens=[*Answer().tokens] * 20, token_seconds=0.1))
    app = create_app(make_settings(backend_url=stub.url, read_timeout_seconds=2))
    with serving(app) as url, requests.Session() as browser:
        browser.trust_env = False
        browser.get(url)
        response = browser.post(f"{url}/messages", data={"text": "q"}, headers=STREAM)
        assert "could not finish the reply in time" in response.text
        stub.wait_for_hangup()
        assert last_exchange(browser, url)["retryable"] is True


def test_shutdown_waits_for_a_reply_that_nobody_reads(stub: StubBackend, make_settings: MakeSettings) -> None:
    app = create_app(make_settings(backend_url=stub.url))
    answer = stub.plan(Answer(hold_after=1))
    with requests.Session() as browser:
        browser.trust_env = False
        with serving(app) as url:
            browser.get(url)
            send_and_leave(browser, url, stub)
            app.state.services.replies.drain()
            threading.Timer(0.5, answer.release.set).start()
        with serving(create_app(make_settings(backend_url=stub.url))) as url:
            assert last_exchange(browser, url)["reply"]["text"] == answer.text


def test_many_replies_at_once_hold_no_thread_each(stub: StubBackend, make_settings: MakeSettings) -> None:
    before = threading.active_count()
    answer = Answer(hold_after=1)
    stub.plan(*[answer] * 100)
    with serving(create_app(make_settings(backend_url=stub.url, database_pool_size=20))) as url:
        browsers = [requests.Session() for _ in range(100)]
        for browser in browsers:
            browser.trust_env = False
            browser.get(url)
        streams = [
            browser.post(f"{url}/messages", data={"text": "q"}, headers=STREAM, stream=True) for browser in browsers
        ]
        eventually(lambda: len(stub.dialogs) == 100)
        theirs = [thread for thread in threading.enumerate() if "process_request_thread" in thread.name]
        assert threading.active_count() - before - len(theirs) < 60
        answer.release.set()
        assert all(b"event: done" in stream.content for stream in streams)
