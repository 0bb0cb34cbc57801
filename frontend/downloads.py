"""Conversations as a file that the browser saves."""

from collections.abc import Iterable

from starlette.responses import Response, StreamingResponse

from frontend.transfer import ConversationRecord, Kind, to_json, to_markdown

MEDIA_TYPES = {"json": "application/json", "md": "text/markdown; charset=utf-8"}


def download(records: Iterable[ConversationRecord], kind: Kind, name: str) -> Response:
    """`records` as the file `name`, written as they are read: an iterator of thousands needs no memory."""
    pieces = to_json(records) if kind == "json" else to_markdown(records)
    disposition = {"Content-Disposition": f'attachment; filename="{name}.{kind}"'}
    return StreamingResponse(pieces, media_type=MEDIA_TYPES[kind], headers=disposition)
