"""The page of the configuration: what is in use, trying a question, editing."""

import logging

import pytest
from starlette.testclient import TestClient

from tests.support.stub_backend import ADMIN_KEY, Answer, StubBackend

PAGE = {"Accept": "text/html"}


def test_it_shows_the_configuration_in_use_and_no_file(client: TestClient, stub: StubBackend) -> None:
    stub.config |= {"error": "line 3 is wrong"}
    page = client.get("/knowledge").text
    for told in (
        "c0ffee12",
        "Answer &lt;briefly&gt;.",
        "A pod is small.",
        "15 characters, 4 words",
        "<dt>generation.max_length</dt><dd>128</dd>",
        "<dt>generation.quote</dt><dd>as the model recommends</dd>",
        "<dt>generation.phrases</dt><dd>Hello! (to 2 examples)\nI don&#39;t know.</dd>",
        "line 3 is wrong",
        'type="password"',
    ):
        assert told in page
    assert "instruction: Answer." not in page


def test_a_file_that_cannot_be_written_is_read_only(client: TestClient, stub: StubBackend) -> None:
    stub.config |= {"writable": False}
    page = client.get("/knowledge").text
    assert ('type="password"' in page, "as a ConfigMap" in page) == (False, True)


def test_a_backend_that_is_away_is_told(client: TestClient, stub: StubBackend) -> None:
    stub.stop()
    assert "The configuration cannot be shown. It cannot be reached" in client.get("/knowledge").text


def test_a_question_is_tried_in_both_ways_and_nothing_is_kept(client: TestClient, stub: StubBackend) -> None:
    refused = Answer(status=422, error_type="invalid_request", message="there is nothing to <quote>")
    stub.plan(refused, Answer(as_json=True))
    page = client.post("/knowledge/try", data={"question": "What is a pod?"}, headers=PAGE).text
    asked = sorted((body["dialog"], body["generation"]["quote"]) for body in stub.bodies)
    assert asked == [(["What is a pod?"], False), (["What is a pod?"], True)]
    for told in (
        "there is nothing to &lt;quote&gt;",
        Answer().text,
        "1.2 s · 67 % of the words",
        '<meter min="0" max="512" value="120"',
        "120 of 512 tokens",
        "2 passages that fit",
        '<li class="fits"><span class="score">0.42</span>',
        '<li><span class="score">filling</span>',
        "[CONTEXT] What is a pod?",
    ):
        assert told in page
    assert "No chats yet" in client.get("/conversations").text


@pytest.mark.parametrize("question", ["  ", "x" * 4_001])
def test_no_question_is_tried_that_could_not_be_asked(client: TestClient, stub: StubBackend, question: str) -> None:
    response = client.post("/knowledge/try", data={"question": question}, headers=PAGE)
    assert (response.status_code, question in response.text, stub.bodies) == (422, True, [])


def test_who_has_the_key_edits_the_file(
    client: TestClient, stub: StubBackend, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    page = client.post("/knowledge/edit", data={"key": ADMIN_KEY}, headers=PAGE).text
    assert 'name="version" value="f1"' in page and "instruction: Answer.\nknowledge: A pod is small.\n" in page
    edited = {"key": ADMIN_KEY, "version": "f1", "text": "instruction: Rhyme.\r\nknowledge: secret words\r\n"}
    page = client.post("/knowledge/save", data=edited, headers=PAGE).text
    assert "configuration ed17ed is in use" in page
    assert stub.file["text"] == "instruction: Rhyme.\nknowledge: secret words\n"
    assert ADMIN_KEY not in page
    again = client.post("/knowledge/save", data=edited | {"text": "mine: too"}, headers=PAGE)
    assert "Nothing was saved. the file has been changed" in again.text
    assert "mine: too" in again.text and again.status_code == 422
    assert "secret words" not in caplog.text and ADMIN_KEY not in caplog.text


@pytest.mark.parametrize("key", ["", "sk-of-somebody-else", "kéy\r\nX: y"])
def test_without_a_good_key_there_is_no_file_and_no_save(client: TestClient, stub: StubBackend, key: str) -> None:
    opened = client.post("/knowledge/edit", data={"key": key}, headers=PAGE)
    assert (opened.status_code, "may not change" in opened.text) == (403, True)
    saved = client.post("/knowledge/save", data={"key": key, "version": "f1", "text": "a: b"}, headers=PAGE)
    assert (saved.status_code, "This key is not known" in saved.text) == (422, True)
    assert stub.file["version"] == "f1"


@pytest.mark.parametrize("path", ["try", "edit", "save"])
def test_forms_of_other_sites_are_refused(client: TestClient, stub: StubBackend, path: str) -> None:
    headers = {"Origin": "http://evil.example"}
    assert client.post(f"/knowledge/{path}", data={"key": ADMIN_KEY}, headers=headers).status_code == 403
    assert stub.bodies == []
