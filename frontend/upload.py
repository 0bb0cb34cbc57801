"""Reads an uploaded file: one part of a multipart form, from this site only."""

from email.parser import BytesParser
from email.policy import HTTP

from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.requests import Request

from frontend.forms import read_body
from frontend.words import _

ENVELOPE_BYTES = 4_096  # what a form with one file adds to it


async def read_file(request: Request, field: str, max_bytes: int) -> bytes:
    """The bytes of the form's file `field`; empty when none was chosen.

    Raises HTTPException: 403 from another site, 415 not such a form, 413 too large, 400 malformed.
    """
    body = await read_body(request, "multipart/form-data", max_bytes + ENVELOPE_BYTES)
    return await run_in_threadpool(_part, request.headers["content-type"], body, field)


def _part(content_type: str, body: bytes, field: str) -> bytes:
    """RFC 7578: such a form is a MIME message without its head."""
    head = f"Content-Type: {content_type}\r\n\r\n".encode("latin-1", "replace")
    message = BytesParser(policy=HTTP).parsebytes(head + body)
    for part in message.iter_parts() if message.is_multipart() else ():
        if part.get_param("name", header="content-disposition") == field:
            content = part.get_payload(decode=True)
            return content if isinstance(content, bytes) else b""
    raise HTTPException(400, _("The form could not be read."))
