"""Which requests count as the site's own."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from frontend.security import CONTENT_SECURITY_POLICY, is_same_site


@pytest.mark.parametrize(
    ("headers", "allowed"),
    [
        ({"sec-fetch-site": "same-origin"}, True),
        ({"sec-fetch-site": "none"}, True),
        ({"sec-fetch-site": "same-site"}, False),
        ({"sec-fetch-site": "cross-site"}, False),
        # What the browser says about the request wins over a matching Origin.
        ({"sec-fetch-site": "cross-site", "origin": "http://chat.test", "host": "chat.test"}, False),
        ({"origin": "http://chat.test:8080", "host": "chat.test:8080"}, True),
        ({"origin": "https://chat.test", "host": "chat.test"}, True),
        ({"origin": "http://chat.test:9", "host": "chat.test"}, False),
        ({"origin": "http://evil.test", "host": "chat.test"}, False),
        ({"origin": "null", "host": "chat.test"}, False),
        ({"origin": "http://[", "host": "chat.test"}, False),
        ({"origin": "http://a]b", "host": ""}, False),
        ({"origin": "null", "host": ""}, False),
        ({"origin": "null"}, False),
        ({"host": "chat.test"}, True),
    ],
)
def test_same_site(headers: dict[str, str], allowed: bool) -> None:
    assert is_same_site(headers) is allowed


@given(st.text(), st.none() | st.text())
def test_an_origin_that_is_no_address_is_a_foreign_one(origin: str, host: str | None) -> None:
    """`Origin: http://[` was a crash."""
    allowed = is_same_site({"origin": origin} | ({} if host is None else {"host": host}))
    assert not allowed or (host and f"//{host}" in origin)


def test_policy_allows_nothing_inline_and_nothing_foreign() -> None:
    assert "unsafe" not in CONTENT_SECURITY_POLICY
    assert "http" not in CONTENT_SECURITY_POLICY
    assert "default-src 'none'" in CONTENT_SECURITY_POLICY
