"""Who is at the page: the user whom a trusted proxy names, else the holder of the session cookie.

The cookie is a session's id, signed and dated. It holds nothing else; the rest is in the database.
"""

import base64
import hashlib
from dataclasses import dataclass

from itsdangerous import BadSignature, SignatureExpired, TimestampSigner
from starlette.requests import Request
from starlette.responses import Response

from frontend.settings import Settings
from frontend.store import new_session_id
from frontend.words import _, later

COOKIE = "chat_session"
EXPIRED = later("Your last session has expired, so this is a new chat.")
UNREADABLE = later("Your last session could not be recognised, so this is a new chat. Nothing stored was changed.")


@dataclass(frozen=True)
class BrowserSession:
    """Who is at the page. `fresh` when the browser brought no valid cookie; `notice` says what was wrong with it.

    `user`: whom the proxy named. The session is theirs in every browser.
    """

    id: str
    fresh: bool = False
    notice: str | None = None
    user: str | None = None


class Sessions:
    """Reads who it is, and writes the cookie."""

    def __init__(self, settings: Settings, key: str) -> None:
        self._signer = TimestampSigner(key, salt="frontend.session", digest_method=hashlib.sha256)
        self._max_age = settings.cookie_max_age_seconds
        self._secure = settings.secure_cookie
        self._user_header = settings.user_header

    def read(self, request: Request) -> BrowserSession:
        """The session of the user, or of the request's cookie, or a fresh one: a bad cookie is never an error."""
        user = self._user(request)
        if user is not None:
            return BrowserSession(user_session_id(user), user=user)
        cookie = request.cookies.get(COOKIE)
        if cookie is None:
            return BrowserSession(new_session_id(), fresh=True)
        try:
            return BrowserSession(self._signer.unsign(cookie, max_age=self._max_age).decode("ascii"))
        except SignatureExpired:
            return BrowserSession(new_session_id(), fresh=True, notice=_(EXPIRED))
        except (BadSignature, UnicodeError):
            return BrowserSession(new_session_id(), fresh=True, notice=_(UNREADABLE))

    def write(self, response: Response, session: BrowserSession) -> None:
        """Set the cookie, dated now: a session that is used does not expire.

        A user's has none: it would open their chats to the next user of this browser.
        """
        if session.user is not None:
            return
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

    def _user(self, request: Request) -> str | None:
        """The name in the proxy's header, which `TrustedProxies` has removed from all others' requests."""
        names = request.headers.getlist(self._user_header) if self._user_header is not None else []
        if len(names) != 1:  # a proxy that adds its own beside the client's has not said who it is
            return None
        return names[0].encode("latin-1").decode("utf-8", "replace").strip() or None


def user_session_id(user: str) -> str:
    """The id of a user's session. No cookie's session can have it: those have no colon."""
    digest = hashlib.sha256(user.encode()).digest()  # a name of any length fits the database's column
    return f"user:{base64.urlsafe_b64encode(digest).decode()}"
