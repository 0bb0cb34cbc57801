"""A reply that one process writes, followed at another: two frontends over one database, of both kinds."""

from collections.abc import Callable, Iterator
from typing import Any

import pytest
import requests

from frontend import following
from frontend.app import create_app
from frontend.asking import ColdStart, Restart
from frontend.backend import Start, Token
from frontend.drafts import Draft
from frontend.errors import StoreUnavailable
from frontend.following import Following
from frontend.models import Exchange
from frontend.origin import Origin
from frontend.relay import Relay
from frontend.reply_log import End, Failed, Place, ReplyEvent, Silence
from frontend.store import ChatStore, Pending
from tests.frontend.conftest import FakeClock, MakeSettings, serving
from tests.support.sse import all_events, events
from tests.support.stub_backend import BEGINS, Answer, StubBackend

STREAM = {"Accept": "text/event-stream"}
Event = tuple[str, dict[str, Any]]


@pytest.fixture(autouse=True)
def short_poll(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("frontend.following.POLL_SECONDS", 0.02)
    monkeypatch.setattr("frontend.replies.WATCH_SECONDS", 0.02)


@pytest.fixture
def urls(stub: StubBackend, make_settings: MakeSettings, database_url: str) -> Iterator[tuple[str, str]]:
    """Two processes' addresses."""
    settings = make_settings(backend_url=stub.url, database_url=database_url)
    with serving(create_app(settings)) as first, serving(create_app(settings)) as second:
        yield first, second


@pytest.fixture
def browser(urls: tuple[str, str]) -> Iterator[requests.Session]:
    with requests.Session() as session:  # a cookie is its host's, whatever the port
        session.trust_env = False
        session.get(urls[0])
        yield session


def reply_url(browser: requests.Session, url: str) -> str:
    conversation = browser.get(f"{url}/conversation").json()["id"]
    return f"{url}/messages/1/reply?conversation={conversation}"


def read_until(text: str, told: Iterator[Event]) -> list[Event]:
    """Events until their tokens say `text`, in however many pieces."""
    read = []
    for event in told:
        read.append(event)
        if tokens(read) == text:
            return read
    raise AssertionError(f"the stream ended with {tokens(read)!r}")


def tokens(read: list[Event]) -> str:
    return "".join(data["text"] for name, data in read if name == "token")


def test_a_page_at_another_process_sees_the_reply_grow(
    urls: tuple[str, str], browser: requests.Session, stub: StubBackend
) -> None:
    """One that comes to it fresh, and one that has read a part where it is written."""
    first, second = urls
    answer = stub.plan(Answer(hold_after=2, seed=7, start=BEGINS))
    half, seen = "".join(answer.tokens[:2]), len(answer.tokens[0])
    with browser.post(f"{first}/messages", data={"text": "q"}, headers=STREAM, stream=True) as written:
        here = events(written)
        begun = read_until(half, here)[:2]
        assert [name for name, _ in begun] == ["stored", "begun"]
        with (
            browser.get(reply_url(browser, second), stream=True) as fresh,
            browser.get(fresh.url, headers={"Last-Event-ID": f"0.{seen}"}, stream=True) as moved,
        ):
            elsewhere, further = events(fresh), events(moved)
            assert read_until(half, elsewhere)[:2] == begun
            assert [next(further), next(further)] == begun
            answer.release.set()
            rest = list(elsewhere)
            assert rest[-1] == list(here)[-1]  # the whole reply, whatever the last draft had of it
            assert answer.text.startswith(half + tokens(rest))
            read = list(further)
            assert read[-1] == rest[-1]
            assert answer.text[seen:].startswith(tokens(read))
            assert "restart" not in [name for name, _ in read]
    assert browser.get(fresh.url).status_code == 404  # it has ended, and stands in the conversation


def test_a_cold_start_is_told_at_another_process(
    urls: tuple[str, str], browser: requests.Session, stub: StubBackend
) -> None:
    first, second = urls
    stub.plan(Answer(status=503, error_type="starting", headers={"Retry-After": "0.02"}))
    whole = stub.plan(Answer(hold_after=0))
    with browser.post(f"{first}/messages", data={"text": "q"}, headers=STREAM, stream=True) as written:
        here = events(written)
        assert [next(here)[0], next(here)[0]] == ["stored", "starting"]
        with browser.get(reply_url(browser, second), stream=True, timeout=10) as followed:
            elsewhere = events(followed)
            assert [next(elsewhere)[0], next(elsewhere)[0]] == ["stored", "starting"]
            whole.release.set()
            *_, ending = elsewhere
            assert ending == list(here)[-1]


def test_a_reply_stopped_or_failed_at_its_writer_ends_so_here(
    urls: tuple[str, str], browser: requests.Session, stub: StubBackend
) -> None:
    first, second = urls
    stub.plan(Answer(hold_after=1))
    with browser.post(f"{first}/messages", data={"text": "q"}, headers=STREAM, stream=True) as written:
        here = events(written)
        assert next(here)[0] == "stored"
        with browser.get(reply_url(browser, second), stream=True) as followed:
            data = {"conversation": browser.get(f"{second}/conversation").json()["id"]}
            assert browser.post(f"{second}/messages/1/stop", data=data, headers=STREAM).status_code == 204
            assert all_events(followed.content)[-1] == list(here)[-1]


def test_only_its_session_may_follow_a_reply(
    urls: tuple[str, str], browser: requests.Session, stub: StubBackend
) -> None:
    first, second = urls
    answer = stub.plan(Answer(hold_after=1))
    with browser.post(f"{first}/messages", data={"text": "q"}, headers=STREAM, stream=True) as written:
        assert next(events(written))[0] == "stored"
        with requests.Session() as stranger:
            stranger.trust_env = False
            stranger.get(second)
            assert stranger.get(reply_url(browser, second)).status_code == 404
        answer.release.set()


# ---- by itself


class Script(Relay):
    """Says one thing after the other; then the last for ever."""

    def __init__(self, *said: Draft | Exchange | Exception | None) -> None:
        self._said = list(said)

    def ask_to_show(self, session_id: str, conversation_id: str, position: int) -> Pending | None:
        return PENDING

    def progress(self, pending: Pending) -> Draft | Exchange | None:
        now = self._said.pop(0) if len(self._said) > 1 else self._said[0]
        if isinstance(now, Exception):
            raise now
        return now


PENDING = Pending(conversation_id="c", position=1, parent=0, versions=(1,), token="t")
FAILED = Exchange(failure_type="busy", failure_message="Full.")


async def read(script: Script, place: Place | None, make_settings: MakeSettings) -> list[ReplyEvent]:
    follower = Following(script, make_settings())
    return [event async for _, event in follower.events(PENDING, place)]


async def test_what_a_reader_has_seen_elsewhere_is_not_taken_back(make_settings: MakeSettings) -> None:
    """The draft in the database is behind the writer's own."""
    script = Script(Draft(text="ab"), Draft(text="abcd"), Draft(text="abcdef"), FAILED)
    assert await read(script, Place(0, 5), make_settings) == [Token(text="f"), Failed("busy", "Full.")]


async def test_a_reply_that_begins_anew_is_another_draft(make_settings: MakeSettings) -> None:
    one, two = Origin(replica_id="r1"), Origin(replica_id="r2")
    script = Script(Draft(text="ab", origin=one), Draft(number=2, text="x", origin=two), FAILED)
    told = await read(script, None, make_settings)
    assert told[:-1] == [Start(one), Token(text="ab"), Start(two), Restart(), Token(text="x")]


async def test_a_cold_start_is_told_once(make_settings: MakeSettings) -> None:
    """As it is where the reply is written; and after it comes the reply."""
    cold = Draft(is_starting=True)
    script = Script(Draft(), cold, cold, Draft(text="ab"), FAILED)
    assert (await read(script, None, make_settings))[:-1] == [ColdStart(), Token(text="ab")]


async def test_a_database_that_is_away_for_a_while_ends_nothing(make_settings: MakeSettings) -> None:
    script = Script(Draft(text="a"), StoreUnavailable("Away."), Draft(text="ab"), None)
    told = await read(script, None, make_settings)
    assert told[:-1] == [Token(text="a"), Token(text="b")]
    assert isinstance(told[-1], Failed) and "deleted" in told[-1].message


async def test_a_crashed_writers_reply_is_given_up_with_its_claim(
    store: ChatStore, make_relay: Callable[[], Relay], clock: FakeClock, make_settings: MakeSettings
) -> None:
    claim = store.begin("s", "", "q")
    follower = Following(make_relay(), make_settings(ping_seconds=0.01))
    pending = await follower.begin("s", claim.conversation_id, claim.position)
    assert pending is not None
    reader = follower.events(pending, None)
    assert (await anext(reader))[1] == Silence()  # the connection is kept alive meanwhile
    clock.advance(31)
    ended = [event async for _, event in reader if isinstance(event, End)]
    assert ended == [Failed("interrupted", "It broke off before it was complete.")]


async def test_a_shutdown_ends_the_stream_and_not_the_reply(make_settings: MakeSettings) -> None:
    follower = Following(Script(Draft(text="a")), make_settings())
    reader = follower.events(PENDING, None)
    assert (await anext(reader))[1] == Token(text="a")
    follower.drain()
    assert [event async for _, event in reader] == []


async def test_only_so_many_read_at_once(make_settings: MakeSettings, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(following, "MAX_READERS", 1)
    follower = Following(Script(Draft(text="a")), make_settings())
    reader = follower.events(PENDING, None)
    await anext(reader)
    assert await follower.begin("s", "c", 1) is None
    await reader.aclose()
    assert await follower.begin("s", "c", 1) == PENDING
