"""The frontend's log, as text for people or as JSON for machines: one object a line. What users type is in neither.

A record about a request to the backend has its `request_id`, by which the backend's logs tell the same request's story.
Where requests are traced, whatever is logged on the way of one has its `trace_id`.
"""

import json
import logging
from datetime import UTC, datetime
from typing import Any, Literal

import uvicorn.config

from frontend.tracing import trace_id

Format = Literal["text", "json"]

_TEXT = "%(asctime)s %(levelname)s %(name)s %(message)s"


def set_up(format_: Format, level: str) -> None:
    """To be called once, at the start of the process."""
    handler = logging.StreamHandler()
    handler.setFormatter(JsonFormatter() if format_ == "json" else logging.Formatter(_TEXT))
    logging.basicConfig(level=level.upper(), handlers=[handler])


def uvicorns(format_: Format) -> dict[str, Any] | None:
    """uvicorn's `log_config`: its own lines for people; None: its records go where all others go."""
    return None if format_ == "json" else uvicorn.config.LOGGING_CONFIG


def about(request_id: str) -> dict[str, Any]:
    """`extra` of a log call that is about this request."""
    return {"request_id": request_id}


class JsonFormatter(logging.Formatter):
    """The fields are called as in the logs of Ray Serve."""

    def format(self, record: logging.LogRecord) -> str:
        fields = {
            "asctime": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "levelname": record.levelname,
            "name": record.name,
            "message": record.getMessage(),
            "process": record.process,
        }
        if request_id := getattr(record, "request_id", None):
            fields["request_id"] = request_id
        if present := trace_id():
            fields["trace_id"] = present
        if record.exc_info:
            fields["exc_text"] = self.formatException(record.exc_info)
        return json.dumps(fields, ensure_ascii=False)
