"""The table of metrics is the code's, and its names are as Prometheus wants them."""

import re

from docs.metrics_table import OPERATIONS, with_table
from frontend.metrics import REGISTRY
from serve_app.metrics import METRICS

UNITS = ("_seconds", "_tokens", "_requests", "_ratio", "_bytes", "_total", "_info")


def test_the_table_is_up_to_date() -> None:
    page = OPERATIONS.read_text(encoding="utf-8")
    assert page == with_table(page), "run `python -m docs.metrics_table`"


def test_every_metric_of_the_frontend_is_in_it() -> None:
    page = OPERATIONS.read_text(encoding="utf-8")
    ours = [family.name for family in REGISTRY.collect() if family.name.startswith("frontend_")]
    assert ours
    assert [name for name in ours if f"`{name}" not in page] == []


def test_names_are_as_prometheus_wants_them() -> None:
    """Lower case, a unit at the end, and a base unit: seconds, not ms."""
    for metric in METRICS:
        assert re.fullmatch(r"[a-z][a-z0-9_]*", metric.exported)
        assert not re.search(r"_(ms|s|millis\w*|minutes|percent)$", metric.exported), metric.exported
        assert metric.kind == "gauge" or metric.exported.endswith(UNITS), metric.exported
        assert (metric.kind == "counter") == metric.exported.endswith("_total")
        assert bool(metric.boundaries) == (metric.kind == "histogram")
        assert list(metric.boundaries) == sorted(set(metric.boundaries))
