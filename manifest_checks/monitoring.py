"""What Prometheus is asked, by the alert rules and by Grafana's panels: it parses, and is about metrics that exist."""

import json
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import promql_parser
import ray

from manifest_checks.objects import Field, Object, Problem, at, children, identity, nodes, ray_service
from manifest_checks.render import Rendering
from manifest_checks.serve_schema import application, serve_config
from serve_app.metrics import GAUGES

# Ray's own panels for Grafana ask for every metric of Serve; so what they do not ask for, Ray does not have.
_RAYS_PANELS = Path(ray.__file__).parent / "dashboard/modules/metrics/dashboards"


def check(rendering: Rendering) -> Iterator[Problem]:
    deployments = {each["name"] for each in application(serve_config(ray_service(rendering.objects)))["deployments"]}
    for obj in rendering.objects:
        if obj["kind"] == "PrometheusRule":
            yield from _questions(obj, (), obj, deployments)
        elif obj["kind"] == "ConfigMap":
            for key, text in obj.get("data", {}).items():
                if key.endswith(".json"):
                    yield from _dashboard(obj, key, text, deployments)


def _dashboard(obj: Object, key: str, text: str, deployments: set[str]) -> Iterator[Problem]:
    try:
        content = json.loads(text)
    except json.JSONDecodeError as error:
        yield Problem(identity(obj), ("data", key), f"is not JSON: {error}")
        return
    for field, value in nodes(content):
        if field[-1:] == ("targets",) and not (value and all(at(target, "expr") for _, target in children(value))):
            yield Problem(identity(obj), ("data", key, *field), "a panel without a question to Prometheus")
    yield from _questions(obj, ("data", key), content, deployments)


def _questions(obj: Object, start: Field, content: Any, deployments: set[str]) -> Iterator[Problem]:
    for field, value in nodes(content):
        if field[-1:] == ("expr",):
            for message in mistakes(str(value), deployments):
                yield Problem(identity(obj), (*start, *field), message)


def mistakes(question: str, deployments: set[str]) -> Iterator[str]:
    """What is wrong with a question in PromQL, given the names of Serve's deployments."""
    try:
        found = selectors(question)
    except ValueError as error:
        yield f"is not PromQL: {error}"
        return
    for selector in found:
        if selector.name not in known_metrics():
            yield f"neither Ray nor serve_app/metrics.py has a metric {selector.name!r}"
        for matcher in selector.matchers.matchers:
            if matcher.name == "deployment" and matcher.value not in deployments:
                yield f"there is no deployment {matcher.value!r}; there is {', '.join(sorted(deployments))}"


@cache
def known_metrics() -> frozenset[str]:
    rays = (re.findall(r"\bray_\w+", file.read_text(encoding="utf-8")) for file in _RAYS_PANELS.glob("*_panels.py"))
    return frozenset(f"ray_{name}" for name in GAUGES).union(*rays)


def selectors(question: str) -> list[promql_parser.VectorSelector]:
    """The metrics, with their labels, that a question is about. Raises ValueError where it is not PromQL."""
    found: list[promql_parser.VectorSelector] = []

    def keep(expression: promql_parser.Expr) -> None:
        if isinstance(expression, promql_parser.VectorSelector):
            found.append(expression)

    promql_parser.walk(promql_parser.parse(question), keep)
    return found
