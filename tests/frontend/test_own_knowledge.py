"""A conversation's own knowledge text: what is taken for one, kept, sent with each question and told."""

from collections.abc import Callable

import pytest
from httpx2 import Response
from starlette.testclient import TestClient

from frontend.errors import ConversationGone, KnowledgeRefused
from frontend.own_knowledge import MAX_NAME_CHARS, OwnKnowledge, from_file, from_paste
from frontend.store import ChatStore
from frontend.transfer import ConversationRecord, from_json
from tests.support.stub_backend import StubBackend

PAGE = {"Accept": "text/html"}
BAKERY = "The bakery opens at six. שלום 🥐"


@pytest.mark.parametrize(
    ("name", "content", "reason"),
    [
        ("a.txt", b"", "no text in it"),
        ("a.txt", b" \r\n\t", "no text in it"),
        ("a.txt", b"x" * 51, "51 characters, at most 50"),
        ("a.md", b"\x89PNG\r\n\x1a\n", "not text in UTF-8"),
        ("a.md", "Bäckerei".encode("latin-1"), "not text in UTF-8"),
        ("a.txt", b"%PDF-1.7\x00\x01", "is binary"),
        ("a.pdf", b"text", "Only .txt and .md"),
    ],
)
def test_what_is_no_such_file_is_refused_and_says_why(name: str, content: bytes, reason: str) -> None:
    with pytest.raises(KnowledgeRefused, match=reason):
        from_file(name, content, 50)


def test_a_files_name_has_no_folders_and_an_end() -> None:
    assert from_file("C:\\secret\\Notes.TXT", b"\xef\xbb\xbfa\r\nb", 50) == OwnKnowledge("Notes.TXT", "a\nb")
    assert from_file("x" * 200 + ".md", b"a", 50).name == "x" * (MAX_NAME_CHARS - 3) + ".md"


def test_the_store_keeps_it_and_gives_it_to_each_claim(store: ChatStore) -> None:
    own = from_paste(BAKERY, 100)
    conversation = store.give_knowledge("s", "", own)
    assert store.read("s", conversation).knowledge_chars == len(BAKERY)
    claim = store.begin("s", conversation, "When does it open?")
    assert claim.knowledge == own
    assert store.read("s", conversation).title == "When does it open?"
    store.finish(claim, "At six.", {})
    store.give_knowledge("s", conversation, None)
    assert store.begin("s", conversation, "And now?").knowledge is None
    with pytest.raises(ConversationGone):
        store.give_knowledge("another", conversation, own)
    with pytest.raises(ConversationGone):
        store.knowledge("another", conversation)


def give(client: TestClient, address: str, text: str = "", file: tuple[str, bytes] | None = None) -> Response:
    files = {"text": (None, text)} | ({"file": file} if file else {})
    return client.post(f"{address}/knowledge", files=files, headers=PAGE)


def test_a_chat_that_begins_with_a_text_sends_it_with_each_question_and_says_so(
    client: TestClient, stub: StubBackend
) -> None:
    page = give(client, "/new", file=("bakery.md", BAKERY.encode()))
    label = f"bakery.md ({len(BAKERY)} characters)"
    assert f"<bdi>{label}</bdi>" in page.text
    address = page.url.path
    for question in ("When does it open?", "And today?"):
        data = {"text": question, "conversation": address.rpartition("/")[2]}
        page = client.post("/messages", data=data, headers=PAGE)
        assert stub.bodies[-1]["knowledge"] == BAKERY
    shown = page.text.split("<template")[0]
    assert shown.count('<span class="fact" title="bakery.md">from <b>this chat’s own text</b>') == 2
    assert "this chat’s own: bakery.md" in shown
    assert BAKERY in client.get(f"{address}/knowledge").text
    client.post(f"{address}/knowledge", files={"remove": (None, "true")})
    client.post("/messages", data={"text": "And now?", "conversation": address.rpartition("/")[2]})
    assert "knowledge" not in stub.bodies[-1]


def test_what_is_refused_is_told_beside_the_text_and_nothing_is_stored(client: TestClient) -> None:
    page = give(client, "/new", text="x" * 100_001)
    assert (page.status_code, "too long: 100,001" in page.text) == (422, True)
    assert "x" * 100_001 in page.text
    page = give(client, "/new", file=("a.txt", b"\x00\x01"))
    assert (page.status_code, "is binary" in page.text) == (422, True)
    assert give(client, "/new", text="x" * 3_000_000).status_code == 413
    assert "No chats yet" in client.get("/conversations").text


def test_it_is_of_the_session_alone_and_comes_from_this_site(
    make_client: Callable[..., TestClient], client: TestClient
) -> None:
    address = give(client, "/new", text=BAKERY).url.path
    stranger = make_client()
    assert stranger.get(f"{address}/knowledge").status_code == 404
    assert give(stranger, address, text="mine").status_code == 404
    forged = client.post("/new/knowledge", files={"text": (None, "x")}, headers={"Origin": "http://evil.example"})
    assert forged.status_code == 403


def test_it_is_exported_and_comes_back(client: TestClient) -> None:
    address = give(client, "/new", text=BAKERY).url.path
    client.post("/messages", data={"text": "hello", "conversation": address.rpartition("/")[2]}, headers=PAGE)
    exported = client.get("/data/export.json").content
    (record,) = from_json(exported, 10)
    assert isinstance(record, ConversationRecord) and (record.knowledge, record.knowledge_name) == (
        BAKERY,
        "pasted text",
    )
    client.post("/data/import", files={"file": ("chats.json", exported)})
    again = from_json(client.get("/data/export.json").content, 10)
    assert [each.knowledge for each in again] == [BAKERY, BAKERY]
