"""Reads forms with uploaded files (multipart), from this site only."""

from collections.abc import Mapping
from dataclasses import dataclass
from email.parser import BytesParser
from email.policy import HTTP

from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.requests import Request

from frontend.forms import read_body
from frontend.words import _, later

ENVELOPE_BYTES = 4_096  # what a form with one file adds to it
UNREADABLE = later("The form could not be read.")


@dataclass(frozen=True)
class Part:
    """A field of such a form; of a file, its name too."""

    content: bytes
    filename: str = ""

    @property
    def text(self) -> str:
        """The content as text: browsers send the page's own encoding."""
        return self.content.decode("utf-8", "replace")


async def read_file(request: Request, field: str, max_bytes: int) -> bytes:
    """The bytes of the form's file `field`; empty when none was chosen.

    Raises HTTPException: 403 from another site, 415 not such a form, 413 too large, 400 malformed.
    """
    parts = await read_parts(request, max_bytes + ENVELOPE_BYTES)
    if field not in parts:
        raise HTTPException(400, _(UNREADABLE))
    return parts[field].content


async def read_parts(request: Request, max_bytes: int) -> Mapping[str, Part]:
    """The form's fields; of several by one name the first. Raises likewise."""
    body = await read_body(request, "multipart/form-data", max_bytes)
    return await run_in_threadpool(_parts, request.headers["content-type"], body)


def _parts(content_type: str, body: bytes) -> Mapping[str, Part]:
    """RFC 7578: such a form is a MIME message without its head."""
    head = f"Content-Type: {content_type}\r\n\r\n".encode("latin-1", "replace")
    message = BytesParser(policy=HTTP).parsebytes(head + body)
    parts: dict[str, Part] = {}
    for part in message.iter_parts() if message.is_multipart() else ():
        name, content = part.get_param("name", header="content-disposition"), part.get_payload(decode=True)
        if isinstance(name, str):
            parts.setdefault(name, Part(content if isinstance(content, bytes) else b"", part.get_filename() or ""))
    if not parts:
        raise HTTPException(400, _(UNREADABLE))
    return parts
