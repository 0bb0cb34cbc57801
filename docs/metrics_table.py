"""Writes docs/operations.md's table of metrics from the code that reports them, so that the two cannot differ.

`python -m docs.metrics_table` rewrites what follows the file's mark; a test fails when that was forgotten.
"""

from collections.abc import Iterator
from pathlib import Path

from frontend.metrics import REPLIES, REQUESTS, STORE_ERRORS, STREAMS, WRITING
from serve_app.metrics import METRICS

OPERATIONS = Path(__file__).with_name("operations.md")
MARK = "<!-- made by `python -m docs.metrics_table` -->"


def table() -> str:
    """All metrics, as Markdown."""
    lines = ["| metric | kind | of | labels | meaning |", "|---|---|---|---|---|"]
    return "\n".join(lines + [f"| {' | '.join(row)} |" for row in (*_backend(), *_frontend())])


def with_table(page: str) -> str:
    """`page` with a fresh table after its mark."""
    return f"{page.split(MARK)[0]}{MARK}\n\n{table()}\n"


def _backend() -> Iterator[tuple[str, ...]]:
    for metric in METRICS:
        yield f"`{metric.exported}`", metric.kind, metric.of, _code(metric.labels), metric.meaning


def _frontend() -> Iterator[tuple[str, ...]]:
    for metric in (REQUESTS, STREAMS, WRITING, REPLIES, STORE_ERRORS):
        (family,) = metric.collect()
        name = f"{family.name}_total" if family.type == "counter" else family.name
        yield f"`{name}`", family.type, "frontend", _code(metric._labelnames), family.documentation


def _code(labels: tuple[str, ...]) -> str:
    return ", ".join(f"`{label}`" for label in labels)


if __name__ == "__main__":
    OPERATIONS.write_text(with_table(OPERATIONS.read_text(encoding="utf-8")), encoding="utf-8")
