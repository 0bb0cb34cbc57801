"""What protects the page: its response headers, and the check that a form comes from this very site.

Cross-site request forgery is refused by where a request comes from, not by a token. A browser says so itself, in
Sec-Fetch-Site (over HTTPS and on localhost) or Origin (everywhere else), and a foreign page cannot change either. That
needs no state, so forms keep working in every tab, after a restart and on every replica. A client that sends neither is
no browser of this decade, and SameSite=Lax keeps the cookie from its cross-site posts.
"""

from collections.abc import Mapping
from urllib.parse import urlsplit

from starlette.datastructures import MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

CONTENT_SECURITY_POLICY = "; ".join(
    (
        "default-src 'none'",
        "script-src 'self'",
        "style-src 'self'",
        "img-src 'self'",
        "connect-src 'self'",
        "form-action 'self'",
        "base-uri 'none'",
        "frame-ancestors 'none'",
        # No script of the page can turn a string into HTML, not even by mistake.
        "require-trusted-types-for 'script'",
        "trusted-types 'none'",
    )
)
HEADERS = {
    "Content-Security-Policy": CONTENT_SECURITY_POLICY,
    "X-Content-Type-Options": "nosniff",
    # Not `no-referrer`: browsers would then send `Origin: null` with the page's own forms.
    "Referrer-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "X-Frame-Options": "DENY",
}


def is_same_site(headers: Mapping[str, str]) -> bool:
    """Whether a request that changes something comes from this site's own pages, or from no page at all."""
    fetch_site = headers.get("sec-fetch-site")
    if fetch_site is not None:
        return fetch_site in ("same-origin", "none")
    origin = headers.get("origin")
    # Only the host is compared: behind a proxy that ends TLS, this process does not know the outer scheme.
    return origin is None or (_host(origin) != "" and _host(origin) == headers.get("host"))


def _host(origin: str) -> str:
    """Host and port; empty where there is none."""
    try:
        return urlsplit(origin).netloc
    except ValueError:
        return ""


class SecurityHeaders:
    """ASGI middleware that adds `HEADERS` to every response; pages and data are not kept by caches either."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return

        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in HEADERS.items():
                    headers[name] = value
                is_static = scope["path"].startswith("/static/")
                headers["Cache-Control"] = "no-cache" if is_static else "no-store"
            await send(message)

        await self._app(scope, receive, send_with_headers)
