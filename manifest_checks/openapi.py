"""The schemas of CustomResourceDefinitions, read as the API server reads them, and what a schema finds in a value."""

from collections.abc import Iterator
from typing import Any

import jsonschema

from manifest_checks.objects import Field, named

# What a pattern is about, by something that only such patterns have.
_FORMS = {"[KMGTPE]i": "quantity, such as 500m, 2 or 4Gi", "([0-9]+)ms": "duration, such as 30s or 5m"}


def mistakes(value: Any, validator: jsonschema.Draft202012Validator) -> Iterator[tuple[Field, str]]:
    """The place and a sentence, for each thing that is not as the schema says."""
    for error in validator.iter_errors(value):
        yield _place(error, value), _message(error)


def closed(schema: Any) -> Any:
    """OpenAPI's schema as JSON Schema: unknown fields refused, as the API server warns of them, and int-or-string.

    `preserve-unknown-fields` stays open.
    """
    if isinstance(schema, list):
        return [closed(item) for item in schema]
    if not isinstance(schema, dict):
        return schema
    if schema.get("x-kubernetes-int-or-string"):
        return {"type": ["integer", "string"]} | ({"pattern": schema["pattern"]} if "pattern" in schema else {})
    result = {key: _closed_properties(value) if key == "properties" else closed(value) for key, value in schema.items()}
    if "properties" in result and not schema.get("x-kubernetes-preserve-unknown-fields"):
        result.setdefault("additionalProperties", False)
    return result


def _closed_properties(properties: dict[str, Any]) -> dict[str, Any]:
    return {name: closed(inner) for name, inner in properties.items()}


def with_defaults(value: Any, schema: dict[str, Any]) -> Any:
    """What the API server makes of `value` before it validates: absent fields get their schema's defaults."""
    if isinstance(value, dict):
        properties = schema.get("properties", {})
        filled = {name: inner["default"] for name, inner in properties.items() if "default" in inner} | value
        return {name: with_defaults(inner, properties.get(name, {})) for name, inner in filled.items()}
    if isinstance(value, list):
        return [with_defaults(item, schema.get("items", {})) for item in value]
    return value


def _place(error: jsonschema.ValidationError, value: Any) -> Field:
    """Of something that is missing, where it should be."""
    required: Any = error.validator_value if error.validator == "required" else []
    missing = [name for name in required if error.message.startswith(repr(name))]
    return (*named(value, list(error.absolute_path)), *missing)


def _message(error: jsonschema.ValidationError) -> str:
    """The library's, but for forms that a person knows by name and not by their regular expression."""
    for part, name in _FORMS.items():
        if error.validator == "pattern" and part in str(error.validator_value):
            return f"{error.instance!r} is no {name}"
    return error.message if len(error.message) < 300 else error.message[:300] + " ..."
