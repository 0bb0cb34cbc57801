"""Whom the page believes: the address, and the user's name, that a proxy states."""

from collections.abc import Callable

import pytest
from starlette.testclient import TestClient

from frontend.session import COOKIE
from frontend.words import isolated
from tests.frontend.conftest import MakeSettings

ALICE = {"Remote-User": "alice"}


@pytest.fixture
def behind_proxy(make_client: Callable[..., TestClient]) -> TestClient:
    """The page, to which each request comes from a trusted proxy: the test's client is 10.0.0.1."""
    return make_client(trusted_proxies=["10.0.0.0/8"], user_header="Remote-User", rate_sessions="1/hour")


def test_a_known_proxy_says_whose_address_it_is(behind_proxy: TestClient) -> None:
    def status(forwarded: str) -> int:
        behind_proxy.cookies.clear()
        return behind_proxy.get("/new", headers={"X-Forwarded-For": forwarded}).status_code

    assert status("192.0.2.1") == 200
    assert status("192.0.2.1") == 429
    assert status("198.51.100.9, 192.0.2.1") == 429, "what a client says before the proxy speaks does not count"
    assert status("192.0.2.2") == 200


def test_nobody_else_is_believed(make_client: Callable[..., TestClient], caplog: pytest.LogCaptureFixture) -> None:
    client = make_client(trusted_proxies=["127.0.0.1"], user_header="Remote-User", rate_sessions="1/hour")

    def get(number: int) -> int:
        client.cookies.clear()
        return client.get("/new", headers={"X-Forwarded-For": f"192.0.2.{number}"} | ALICE).status_code

    assert [get(number) for number in range(3)] == [200, 429, 429]
    assert "alice" not in client.get("/data").text
    assert caplog.text.count("requests come through a proxy at 10.0.0.1") == 1


def test_a_user_has_the_same_chats_in_every_browser(behind_proxy: TestClient) -> None:
    behind_proxy.post("/messages", data={"text": "What is a pod?"}, headers=ALICE | {"accept": "text/html"})
    assert COOKIE not in behind_proxy.cookies, "a cookie would open the chats to who comes after the signing out"
    behind_proxy.cookies.clear()
    assert "What is a pod?" in behind_proxy.get("/conversations", headers=ALICE).text
    assert "What is a pod?" not in behind_proxy.get("/conversations", headers={"Remote-User": "bob"}).text
    assert isolated("alice") in behind_proxy.get("/data", headers=ALICE).text


def test_the_proxy_must_name_one_user(behind_proxy: TestClient) -> None:
    response = behind_proxy.get("/data", headers=[("Remote-User", "alice"), ("Remote-User", "bob")])
    assert "alice" not in response.text and "bob" not in response.text


def test_a_name_of_any_length_and_script(behind_proxy: TestClient) -> None:
    for name in ("Ωμέγα".encode(), b"x" * 5_000, b"<script>"):
        page = behind_proxy.post("/messages", data={"text": "hello"}, headers={b"Remote-User": name})
        assert page.status_code == 200
    assert isolated("Ωμέγα") in behind_proxy.get("/data", headers={b"Remote-User": "Ωμέγα".encode()}).text
    assert "&lt;script&gt;" in behind_proxy.get("/data", headers={b"Remote-User": b"<script>"}).text


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        ({"user_header": "Remote-User"}, "FRONTEND_TRUSTED_PROXIES"),
        ({"trusted_proxies": ["proxy.example"]}, "IP addresses"),
        ({"rate_messages": "often"}, "30/minute"),
        ({"rate_store": "memcached://x"}, "Redis URL"),
    ],
)
def test_wrong_settings_are_refused(make_settings: MakeSettings, wrong: dict[str, object], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        make_settings(**wrong)
