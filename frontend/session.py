"""The session cookie: a session's id, signed and dated. The cookie holds nothing else; the rest is in the database."""

import hashlib
from dataclasses import dataclass

from itsdangerous import BadSignature, SignatureExpired, TimestampSigner
from starlette.requests import Request
from starlette.responses import Response

from frontend.settings import Settings
from frontend.store import new_session_id

COOKIE = "chat_session"
EXPIRED = "Your last session has expired, so this is a new chat."
UNREADABLE = "Your last session could not be recognised, so this is a new chat. Nothing stored was changed."


@dataclass(frozen=True)
class BrowserSession:
    """Who is at the page. `fresh` when the browser brought no valid cookie; `notice` says what was wrong with it."""

    id: str
    fresh: bool = False
    notice: str | None = None


class Sessions:
    """Reads and writes the cookie."""

    def __init__(self, settings: Settings, key: str) -> None:
        self._signer = TimestampSigner(key, salt="frontend.session", digest_method=hashlib.sha256)
        self._max_age = settings.cookie_max_age_seconds
        self._secure = settings.secure_cookie

    def read(self, request: Request) -> BrowserSession:
        """The session of the request's cookie, or a fresh one: a bad cookie is never an error."""
        cookie = request.cookies.get(COOKIE)
        if cookie is None:
            return BrowserSession(new_session_id(), fresh=True)
        try:
            return BrowserSession(self._signer.unsign(cookie, max_age=self._max_age).decode("ascii"))
        except SignatureExpired:
            return BrowserSession(new_session_id(), fresh=True, notice=EXPIRED)
        except (BadSignature, UnicodeError):
            return BrowserSession(new_session_id(), fresh=True, notice=UNREADABLE)

    def write(self, response: Response, session: BrowserSession) -> None:
        """Set the cookie, dated now: a session that is used does not expire."""
        response.set_cookie(
            COOKIE,
            self._signer.sign(session.id).decode("ascii"),
            max_age=self._max_age,
            httponly=True,
            samesite="lax",
            secure=self._secure,
        )

    def end(self, response: Response) -> None:
        """Have the browser forget the cookie."""
        response.delete_cookie(COOKIE, httponly=True, samesite="lax", secure=self._secure)
