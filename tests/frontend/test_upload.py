"""Uploaded files: read as browsers send them, within a bound, from this site only."""

from collections.abc import Mapping

import pytest
from hypothesis import given
from hypothesis import strategies as st
from starlette.exceptions import HTTPException
from starlette.requests import Request

from frontend.upload import ENVELOPE_BYTES, read_file

TYPE = "multipart/form-data; boundary=----WebKitFormBoundaryx7"
MAX_BYTES = 10_000


def form(content: bytes, name: str = "file", filename: str = "chats.json") -> bytes:
    head = f'Content-Disposition: form-data; name="{name}"; filename="{filename}"\r\nContent-Type: application/json'
    return (
        b"------WebKitFormBoundaryx7\r\n"
        + head.encode()
        + b"\r\n\r\n"
        + content
        + b"\r\n------WebKitFormBoundaryx7--\r\n"
    )


def request(body: bytes, content_type: str = TYPE, headers: Mapping[str, str] | None = None) -> Request:
    async def receive() -> dict[str, object]:
        return {"type": "http.request", "body": body, "more_body": False}

    named = {"content-type": content_type} | dict(headers or {})
    raw = [(name.lower().encode(), value.encode("latin-1")) for name, value in named.items()]
    return Request({"type": "http", "method": "POST", "headers": raw}, receive)


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"{}",
        b'{"a": "\xd7\xa9"}',
        b"a\r\nb\nc\r\n",
        b"--not-the-boundary\r\n",
        bytes(range(256)),
        b"x" * MAX_BYTES,
    ],
)
async def test_the_file_arrives_as_it_was(content: bytes) -> None:
    assert await read_file(request(form(content)), "file", MAX_BYTES) == content


@given(st.binary(max_size=300))
async def test_any_bytes_are_an_answer(body: bytes) -> None:
    for sent in (body, form(body), form(b"{}") + body):
        try:
            assert isinstance(await read_file(request(sent), "file", MAX_BYTES), bytes)
        except HTTPException as refused:
            assert refused.status_code == 400


@pytest.mark.parametrize(
    ("sent", "status"),
    [
        (request(form(b"{}"), headers={"Sec-Fetch-Site": "cross-site"}), 403),
        (request(form(b"{}"), headers={"Origin": "http://evil.test", "Host": "chat.test"}), 403),
        (request(b"file=%7B%7D", "application/x-www-form-urlencoded"), 415),
        (request(form(b"x" * (MAX_BYTES + ENVELOPE_BYTES))), 413),
        (request(form(b"{}", name="other")), 400),
        (request(b"", "multipart/form-data"), 400),
        (request(b"{}"), 400),
    ],
)
async def test_what_is_no_such_file_is_refused(sent: Request, status: int) -> None:
    with pytest.raises(HTTPException) as refused:
        await read_file(sent, "file", MAX_BYTES)
    assert refused.value.status_code == status
