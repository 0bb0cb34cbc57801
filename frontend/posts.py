"""A posted form, and who posted it."""

from collections.abc import Mapping
from typing import NamedTuple

from starlette.requests import Request

from frontend.forms import read_form
from frontend.services import services
from frontend.session import BrowserSession
from frontend.text import clean


class Post(NamedTuple):
    """A posted form and who posted it."""

    session: BrowserSession
    form: Mapping[str, str]

    @property
    def conversation(self) -> str:
        """The conversation that the page showed; empty for a new one."""
        return clean(self.form.get("conversation", ""))

    @property
    def after(self) -> int | None:
        """The position of the last exchange that the page showed."""
        raw = self.form.get("after", "")
        return int(raw) if raw.isascii() and raw.isdigit() and len(raw) < 10 else None

    @property
    def temporary(self) -> bool:
        """Whether a new conversation is to be a temporary one."""
        return self.form.get("temporary", "") == "true"

    @property
    def from_chat(self) -> bool:
        """Whether the form stood beside the conversation itself, not in the list."""
        return self.form.get("from", "") == "chat"


async def read_post(request: Request) -> Post:
    """The request's form. Raises HTTPException as `read_form` does."""
    form = await read_form(request, services(request).settings.max_form_bytes)
    return Post(services(request).sessions.read(request), form)
