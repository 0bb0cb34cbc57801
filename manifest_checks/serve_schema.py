"""spec.serveConfigV2 as Serve and the application will read it: by their own classes, and strict about types and names.

What passes has the shape that the other checks rely on: one application, and its deployments by name.
"""

import json
from collections.abc import Iterator
from difflib import get_close_matches
from typing import Any

import jsonschema
import yaml
from pydantic import BaseModel, ValidationError
from ray.serve.config import AutoscalingConfig
from ray.serve.schema import (
    DeploymentSchema,
    HTTPOptionsSchema,
    LoggingConfig,
    RayActorOptionsSchema,
    ServeApplicationSchema,
    ServeDeploySchema,
)

from manifest_checks.objects import Field, Object, Problem, at, identity, item_key
from manifest_checks.render import Rendering
from manifest_checks.yaml_text import load
from serve_app.errors import reason
from serve_app.settings import AppArgs

SERVE_FIELD = ("spec", "serveConfigV2")

_LISTS = {
    "type": "object",
    "properties": {
        "applications": {
            "type": "array",
            "items": {
                "type": "object",
                "properties": {"deployments": {"type": "array", "items": {"type": "object"}}},
            },
        }
    },
}


def check(rendering: Rendering) -> Iterator[Problem]:
    for obj in rendering.objects:
        if at(obj, "kind") == "RayService":
            yield from _read(identity(obj), at(obj, *SERVE_FIELD, default=""))


def serve_config(service: Object) -> dict[str, Any]:
    """What the RayService gives to Serve."""
    config: dict[str, Any] = load(at(service, *SERVE_FIELD, default="{}")) or {}
    return config


def application(config: dict[str, Any]) -> dict[str, Any]:
    """The one that there is."""
    first: dict[str, Any] = config["applications"][0]
    return first


def deployment(config: dict[str, Any], name: str) -> dict[str, Any]:
    """Empty where there is none of this name."""
    return next((each for each in application(config)["deployments"] if each["name"] == name), {})


def application_field(config: dict[str, Any], *inner: str) -> Field:
    return (*SERVE_FIELD, "applications", application(config)["name"], *inner)


def _read(where: str, text: Any) -> Iterator[Problem]:
    try:
        config = load(str(text))
    except yaml.YAMLError as error:
        yield Problem(where, SERVE_FIELD, f"is not YAML: {error}")
        return
    broken = list(_lists(where, config)) or list(_by_model(where, ServeDeploySchema, config, SERVE_FIELD))
    yield from broken
    if broken:
        return
    apps = config["applications"]
    if len(apps) != 1:
        yield Problem(where, (*SERVE_FIELD, "applications"), f"there must be one, not {len(apps)}")
    yield from _unknown_settings(where, config)
    for app in apps:
        field = (*SERVE_FIELD, "applications", app.get("name", "0"))
        for key in ("name", "args", "deployments"):
            if not app.get(key):
                yield Problem(where, (*field, key), "is missing")
        yield from _by_model(where, AppArgs, app.get("args", {}), (*field, "args"))
        for each in app.get("deployments", []):  # Serve's schema takes any mapping here, and reads it at deployment
            place = (*field, "deployments", each["name"], "autoscaling_config")
            yield from _by_model(where, AutoscalingConfig, each.get("autoscaling_config") or {}, place)


def _lists(where: str, config: Any) -> Iterator[Problem]:
    """The two lists that Serve's own class reads before it has looked at what they hold."""
    for error in jsonschema.Draft202012Validator(_LISTS).iter_errors(config):
        yield Problem(where, (*SERVE_FIELD, *_path(config, tuple(error.absolute_path))), error.message)


def _by_model(where: str, model: type[BaseModel], values: Any, field: Field) -> Iterator[Problem]:
    try:
        model.model_validate_json(json.dumps(values, default=str), strict=True)
    except ValidationError as error:
        for mistake in error.errors(include_url=False):
            place = _path(values, mistake["loc"])
            value = "" if isinstance(mistake["input"], dict) else f", not {mistake['input']!r}"
            yield Problem(where, (*field, *place), reason(mistake) + value)


def _unknown_settings(where: str, config: dict[str, Any]) -> Iterator[Problem]:
    """Serve's schema passes over keys that it does not know, so a misspelt one would change nothing."""
    parts: list[tuple[type[BaseModel], Any, Field]] = [
        (ServeDeploySchema, config, ()),
        (HTTPOptionsSchema, config.get("http_options"), ("http_options",)),
        (LoggingConfig, config.get("logging_config"), ("logging_config",)),
    ]
    for app in config.get("applications", []):
        place: Field = ("applications", app.get("name", "0"))
        parts.append((ServeApplicationSchema, app, place))
        for each in app.get("deployments", []):
            inner = (*place, "deployments", each["name"])
            parts.append((DeploymentSchema, each, inner))
            parts.append((RayActorOptionsSchema, each.get("ray_actor_options"), (*inner, "ray_actor_options")))
            parts.append((AutoscalingConfig, each.get("autoscaling_config"), (*inner, "autoscaling_config")))
    for model, values, field in parts:
        for key in values or {}:
            if key not in model.model_fields:
                close = get_close_matches(key, model.model_fields, n=1)
                meant = f"; did you mean {close[0]}?" if close else ""
                yield Problem(where, (*SERVE_FIELD, *field, key), f"Serve has no such setting{meant}")


def _path(values: Any, loc: tuple[int | str, ...]) -> Field:
    """Pydantic's location, with list items by name and without the names of union members."""
    path: list[str] = []
    for step in loc:
        if isinstance(values, list) and isinstance(step, int):
            values = values[step]
            path.append(item_key(values, step))
        elif isinstance(values, dict):
            values = values.get(step)
            path.append(str(step))
    return tuple(path)
