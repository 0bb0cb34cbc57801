"""Reads posted forms: small, URL-encoded, from this site only."""

from collections.abc import Mapping
from urllib.parse import parse_qsl

from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request

from frontend.errors import MessageRefused
from frontend.security import is_same_site
from frontend.text import clean
from frontend.words import _

MAX_FIELDS = 10  # the page's largest form has three
# A body over the limit is still read this many times the limit, and thrown away: a browser that is cut off in the
# middle of sending shows a network error instead of our explanation.
DRAIN_FACTOR = 8


async def read_form(request: Request, max_bytes: int) -> Mapping[str, str]:
    """The form's fields. Raises HTTPException: 403 from another site, 415 not a form, 413 too large, 400 malformed."""
    body = await read_body(request, "application/x-www-form-urlencoded", max_bytes)
    try:
        return dict(parse_qsl(body.decode("ascii"), keep_blank_values=True, max_num_fields=MAX_FIELDS))
    except ValueError:
        raise HTTPException(400, _("The form could not be read.")) from None


async def read_body(request: Request, content_type: str, max_bytes: int) -> bytes:
    """A posted form's bytes. Raises HTTPException as `read_form` does."""
    if not is_same_site(request.headers):
        raise HTTPException(403, _("This request came from another site, so it was not carried out."))
    if not request.headers.get("content-type", "").lower().startswith(content_type):
        raise HTTPException(415, _("Send the form as {kind}.", kind=content_type))
    try:
        return await _received(request, max_bytes)
    except ClientDisconnect:  # it has left, or its time is over: this is not read
        raise HTTPException(400, _("The form did not arrive whole.")) from None


async def _received(request: Request, max_bytes: int) -> bytes:
    body, size = bytearray(), 0
    async for chunk in request.stream():
        size += len(chunk)
        if size <= max_bytes:
            body += chunk
        elif size > max_bytes * DRAIN_FACTOR:
            break
    if size > max_bytes:
        raise HTTPException(413, _("That is too much: at most {limit} bytes can be sent at once.", limit=max_bytes))
    return bytes(body)


def checked_message(raw: str, max_chars: int) -> str:
    """The message to store. Raises MessageRefused with a sentence that says what to change."""
    message = clean(raw).strip()
    if not message:
        raise MessageRefused(_("The message is empty. Write something first."))
    if len(message) > max_chars:
        raise MessageRefused(
            _(
                "The message is too long: {length} characters, at most {limit} are possible. Shorten it by {excess}.",
                length=len(message),
                limit=max_chars,
                excess=len(message) - max_chars,
            )
        )
    return message
