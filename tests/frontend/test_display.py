"""The page's colours: chosen by a form, kept in a cookie, there from the first byte."""

import pytest
from starlette.testclient import TestClient

PAGE = {"accept": "text/html"}


@pytest.mark.parametrize("address", ["/new", "/conversations", "/conversations?q=pod", "/data"])
def test_the_choice_stands_in_the_page_itself(client: TestClient, address: str) -> None:
    assert "data-theme" not in client.get(address).text
    headers = PAGE | {"referer": f"http://testserver{address}"}
    again = client.post("/display", data={"theme": "dark"}, headers=headers, follow_redirects=False)
    assert (again.status_code, again.headers["location"]) == (303, address)
    page = client.get(address).text
    assert '<html lang="en" data-theme="dark">' in page and 'content="dark"' in page
    client.post("/display", data={"theme": ""}, headers=headers)
    assert "data-theme" not in client.get(address).text


def test_a_script_needs_no_page(client: TestClient) -> None:
    assert client.post("/display", data={"theme": "light"}).status_code == 204


def test_a_theme_that_is_none_is_the_systems(client: TestClient) -> None:
    client.post("/display", data={"theme": '"><script>'})
    client.cookies.set("theme", '"><script>')
    assert "data-theme" not in client.get("/new").text


@pytest.mark.parametrize("referer", ["", "http://evil.example/data", "http://testserver//evil.example", "http://["])
def test_it_leads_to_no_other_site(client: TestClient, referer: str) -> None:
    response = client.post(
        "/display", headers=PAGE | {"referer": referer}, data={"theme": "dark"}, follow_redirects=False
    )
    assert response.headers["location"] == "/"
