"""What Prometheus is asked, by the alert rules and by Grafana's panels: it parses, and is about metrics that exist."""

import json
import re
from collections.abc import Collection, Iterator
from functools import cache
from pathlib import Path
from typing import Any

import promql_parser
import ray

from frontend.metrics import REGISTRY
from manifest_checks.objects import Field, Object, Problem, at, children, identity, nodes, ray_service
from manifest_checks.render import Rendering
from manifest_checks.serve_schema import application, serve_config
from serve_app.metrics import METRICS

# Ray's own panels for Grafana ask for nearly every metric of Serve; the rest is in the controller's code.
_RAY = Path(ray.__file__).parent
_RAYS_PANELS = _RAY / "dashboard/modules/metrics/dashboards"
_CONTROLLERS = _RAY / "serve/_private/deployment_state.py"


def check(rendering: Rendering) -> Iterator[Problem]:
    recorded = {str(value) for obj in rendering.objects for field, value in nodes(obj) if field[-1:] == ("record",)}
    deployments = {each["name"] for each in application(serve_config(ray_service(rendering.objects)))["deployments"]}
    for obj in rendering.objects:
        if obj["kind"] == "PrometheusRule":
            yield from _questions(obj, (), obj, deployments, recorded)
        elif obj["kind"] == "ConfigMap":
            for key, text in obj.get("data", {}).items():
                if key.endswith(".json"):
                    yield from _dashboard(obj, key, text, deployments, recorded)


def _dashboard(obj: Object, key: str, text: str, deployments: set[str], recorded: set[str]) -> Iterator[Problem]:
    try:
        content = json.loads(text)
    except json.JSONDecodeError as error:
        yield Problem(identity(obj), ("data", key), f"is not JSON: {error}")
        return
    for field, value in nodes(content):
        if field[-1:] == ("targets",) and not (value and all(at(target, "expr") for _, target in children(value))):
            yield Problem(identity(obj), ("data", key, *field), "a panel without a question to Prometheus")
    yield from _questions(obj, ("data", key), content, deployments, recorded)


def _questions(obj: Object, start: Field, content: Any, deployments: set[str], recorded: set[str]) -> Iterator[Problem]:
    for field, value in nodes(content):
        if field[-1:] == ("expr",):
            for message in mistakes(str(value), deployments, recorded):
                yield Problem(identity(obj), (*start, *field), message)


def mistakes(question: str, deployments: set[str], recorded: Collection[str] = ()) -> Iterator[str]:
    """What is wrong with a question in PromQL, given the names of Serve's deployments and of recording rules."""
    try:
        found = selectors(question)
    except ValueError as error:
        yield f"is not PromQL: {error}"
        return
    for selector in found:
        if selector.name not in known_metrics() and selector.name not in recorded:
            yield f"neither Ray nor serve_app/metrics.py nor frontend/metrics.py has a metric {selector.name!r}"
        for matcher in selector.matchers.matchers:
            if matcher.name == "deployment" and matcher.value not in deployments:
                yield f"there is no deployment {matcher.value!r}; there is {', '.join(sorted(deployments))}"


@cache
def known_metrics() -> frozenset[str]:
    rays = (re.findall(r"\bray_\w+", file.read_text(encoding="utf-8")) for file in _RAYS_PANELS.glob("*_panels.py"))
    controllers = (f"ray_{name}" for name in re.findall(r'"(serve_\w+)"', _CONTROLLERS.read_text(encoding="utf-8")))
    ours = (name for metric in METRICS for name in metric.series)
    return frozenset(ours).union(frontend_series(), controllers, *rays)


def frontend_series() -> Iterator[str]:
    for family in REGISTRY.collect():
        suffixes = {"histogram": ("_bucket", "_sum", "_count"), "counter": ("_total",)}.get(family.type, ("",))
        yield from (family.name + suffix for suffix in suffixes)


def selectors(question: str) -> list[promql_parser.VectorSelector]:
    """The metrics, with their labels, that a question is about. Raises ValueError where it is not PromQL."""
    found: list[promql_parser.VectorSelector] = []

    def keep(expression: promql_parser.Expr) -> None:
        if isinstance(expression, promql_parser.VectorSelector):
            found.append(expression)

    promql_parser.walk(promql_parser.parse(question), keep)
    return found
