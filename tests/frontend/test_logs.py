"""The log as JSON."""

import json
import logging
import sys

from frontend.access_log import log_no_queries
from frontend.logs import JsonFormatter, about


def line(message: str, *arguments: object, name: str = "frontend", **fields: object) -> dict[str, object]:
    record = logging.LogRecord(name, logging.INFO, "file", 1, message, arguments, None)
    vars(record).update(fields)
    written = JsonFormatter().format(record)
    assert "\n" not in written
    read: dict[str, object] = json.loads(written)
    return read


def test_a_line_is_one_object_whatever_is_in_it() -> None:
    read = line('two\nlines, and "quotes": %s', "é")
    assert read["message"] == 'two\nlines, and "quotes": é'
    assert (read["levelname"], read["name"]) == ("INFO", "frontend")
    assert "request_id" not in read


def test_a_line_about_a_request_has_its_id() -> None:
    assert line("reply stored", **about("abc"))["request_id"] == "abc"


def test_an_error_has_its_traceback() -> None:
    try:
        raise ValueError("x")
    except ValueError:
        read = line("failed", exc_info=sys.exc_info())
    assert "ValueError: x" in str(read["exc_text"])


def test_addresses_lose_their_queries_as_text_does() -> None:
    log_no_queries()
    record = logging.LogRecord(
        "uvicorn.access", 20, "file", 1, '%s - "%s %s HTTP/%s" %d', ("::1", "GET", "/?q=zebra", "1.1", 200), None
    )
    logging.getLogger("uvicorn.access").filter(record)
    assert json.loads(JsonFormatter().format(record))["message"] == '::1 - "GET / HTTP/1.1" 200'
