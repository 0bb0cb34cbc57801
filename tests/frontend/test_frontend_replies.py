"""Replies over real connections: whoever goes away, the backend is freed and the claim is given back."""

import threading
from collections.abc import Callable, Iterator

import pytest
import requests

from frontend.app import create_app
from tests.frontend.conftest import MakeSettings, serving
from tests.frontend.stub_backend import WAIT_SECONDS, Answer, StubBackend

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


def eventually(condition: Callable[[], bool]) -> None:
    """Return when `condition` holds."""
    pause = threading.Event()
    for _ in range(WAIT_SECONDS * 50):
        if condition():
            return
        pause.wait(0.02)
    raise AssertionError("it never came true")


def last_exchange(browser: requests.Session, url: str) -> dict[str, object]:
    exchanges = browser.get(f"{url}/conversation").json()["exchanges"]
    return dict(exchanges[-1]) if exchanges else {}


@pytest.mark.parametrize("hold_after", [0, 2])
def test_leaving_a_stream_frees_the_backend_and_the_claim(
    url: str, browser: requests.Session, stub: StubBackend, hold_after: int
) -> None:
    """Before the first token as well as in the middle. The claim of this test would last an hour."""
    stub.plan(Answer(hold_after=hold_after))
    with browser.post(f"{url}/messages", data={"text": "q"}, headers=STREAM, stream=True) as response:
        chunks = response.iter_content(None)  # kept: forgetting it would end the connection already here
        next(chunks)
        eventually(lambda: len(stub.dialogs) == 1)
    stub.wait_for_hangup()
    eventually(lambda: last_exchange(browser, url)["retryable"] is True)
    exchange = last_exchange(browser, url)
    assert exchange["reply"] is None
    assert exchange["trouble"] == {
        "type": "stopped",
        "title": "The reply was stopped",
        "text": "What was written of it is not kept.",
    }


def test_leaving_a_plain_form_post_does_too(url: str, browser: requests.Session, stub: StubBackend) -> None:
    stub.plan(Answer(hold_after=1))
    with pytest.raises(requests.ReadTimeout):
        browser.post(f"{url}/messages", data={"text": "q"}, headers={"Accept": "text/html"}, timeout=0.5)
    stub.wait_for_hangup()
    eventually(lambda: last_exchange(browser, url)["retryable"] is True)


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


def test_leaving_while_the_backend_is_asked_again_ends_that(
    url: str, browser: requests.Session, stub: StubBackend, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("frontend.asking.PAUSES_SECONDS", (60.0,))
    stub.plan(Answer(dies_after=1))
    with browser.post(f"{url}/messages", data={"text": "q"}, headers=STREAM, stream=True) as response:
        chunks = response.iter_content(None)
        while b"token" not in next(chunks):
            continue
    eventually(lambda: last_exchange(browser, url)["retryable"] is True)
    assert len(stub.dialogs) == 1
