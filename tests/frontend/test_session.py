"""The cookie: only an id, signed, dated; a bad one means a fresh session and never an error."""

import base64
from http.cookies import SimpleCookie

import itsdangerous
import pytest
from starlette.requests import Request
from starlette.responses import Response

from frontend.session import COOKIE, EXPIRED, UNREADABLE, BrowserSession, Sessions
from tests.frontend.conftest import SECRET, MakeSettings


def request_with(cookie: str) -> Request:
    header = f"{COOKIE}={cookie}".encode("latin-1")
    return Request({"type": "http", "headers": [(b"cookie", header)] if cookie else []})


def written(sessions: Sessions, session: BrowserSession) -> SimpleCookie:
    response = Response()
    sessions.write(response, session)
    return SimpleCookie(response.headers["set-cookie"])


def test_what_is_written_is_read(make_settings: MakeSettings) -> None:
    sessions = Sessions(make_settings(), SECRET)
    cookie = written(sessions, BrowserSession("an-id"))[COOKIE]
    assert sessions.read(request_with(cookie.value)) == BrowserSession("an-id")


def test_attributes(make_settings: MakeSettings) -> None:
    cookie = written(Sessions(make_settings(), SECRET), BrowserSession("an-id"))[COOKIE]
    assert (cookie["httponly"], cookie["samesite"], cookie["secure"], cookie["path"]) == (True, "lax", "", "/")
    assert int(cookie["max-age"]) == make_settings().cookie_max_age_seconds
    secure = Sessions(make_settings(secure_cookie=True), SECRET)
    assert written(secure, BrowserSession("an-id"))[COOKIE]["secure"] is True


def test_no_cookie_is_a_fresh_session_without_a_notice(make_settings: MakeSettings) -> None:
    sessions = Sessions(make_settings(), SECRET)
    first, second = sessions.read(request_with("")), sessions.read(request_with(""))
    assert first.fresh and second.fresh and first.id != second.id
    assert first.notice is None


def test_expired_cookie(make_settings: MakeSettings, monkeypatch: pytest.MonkeyPatch) -> None:
    sessions = Sessions(make_settings(), SECRET)
    cookie = written(sessions, BrowserSession("an-id"))[COOKIE].value
    late = itsdangerous.TimestampSigner(SECRET).get_timestamp() + make_settings().cookie_max_age_seconds + 1
    monkeypatch.setattr(itsdangerous.TimestampSigner, "get_timestamp", lambda _: late)
    session = sessions.read(request_with(cookie))
    assert (session.fresh, session.notice) == (True, EXPIRED)
    assert session.id != "an-id"


@pytest.mark.parametrize("change", ["id", "signature", "key", "nonsense", "bytes"])
def test_tampered_cookie(make_settings: MakeSettings, change: str) -> None:
    sessions = Sessions(make_settings(), SECRET)
    cookie = written(sessions, BrowserSession("an-id"))[COOKIE].value
    tampered = {
        "id": cookie.replace("an-id", "my-id"),
        "signature": cookie[:-3] + "AAA",
        "key": written(Sessions(make_settings(), SECRET[::-1]), BrowserSession("an-id"))[COOKIE].value,
        "nonsense": "nonsense",
        "bytes": base64.b64encode(b"\xff\xfe").decode() + ".\xe9.\xe9",
    }[change]
    session = sessions.read(request_with(tampered))
    assert (session.fresh, session.notice) == (True, UNREADABLE)
    assert session.id not in ("an-id", "my-id")
