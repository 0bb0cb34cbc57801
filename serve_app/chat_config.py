"""Load, validate, version and hot-reload the ChatConfig. A bad file never replaces a good configuration (law 6)."""

import hashlib
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date
from functools import partial
from pathlib import Path
from typing import Any

import yaml
from pydantic import ValidationError
from pydantic_core import ErrorDetails

from serve_app.errors import ConfigError, reason
from serve_app.settings import ChatConfig
from serve_app.watched_file import WatchedFile, stamp

# The workshop application's environment names, and where each value belongs. They win over the file.
ENVIRONMENT = {
    "INSTRUCTION": ("instruction",),
    "KNOWLEDGE": ("knowledge",),
    "MAX_LENGTH": ("generation", "max_length"),
    "MIN_LENGTH": ("generation", "min_length"),
    "TOP_P": ("generation", "top_p"),
    "DO_SAMPLE": ("generation", "do_sample"),
    "LOGGING_LEVEL": ("logging_level",),
}

_LOOKS_LIKE_A_NAME = re.compile(r"[\w\[\]-]{1,40}")
_QUOTED = re.compile(r"""(['"])(?!<).{2,}\1""", re.DOTALL)  # but for YAML's own words, as '<block end>'


@dataclass(frozen=True)
class VersionedConfig:
    config: ChatConfig
    version: str  # hash of the content: equal on every replica that read the same values


def load(path: Path, environment: Mapping[str, str] = os.environ) -> VersionedConfig:
    """Read one file.

    Raises ConfigError that names the file (or the environment variable), the field, the value and what would be right.
    """
    return parse(_read(path), path, environment)


def parse(content: bytes, path: Path, environment: Mapping[str, str] = os.environ) -> VersionedConfig:
    """What a file at `path` with this content says. Raises likewise."""
    values = _values(content, path)
    for name, place in ENVIRONMENT.items():
        if name in environment:
            _put(values, place, environment[name].upper() if name == "LOGGING_LEVEL" else environment[name])
    try:
        config = ChatConfig.model_validate(values)
    except ValidationError as error:
        raise ConfigError(_explain(path, error, environment)) from None
    digest = hashlib.sha256(config.model_dump_json().encode()).hexdigest()
    return VersionedConfig(config, digest[:12])


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except FileNotFoundError:
        raise ConfigError(f"{path}: there is no such file; set `chat_config` in serve_config.yaml") from None
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read as YAML: {_reason(error)}") from None


def _values(text: bytes, path: Path) -> dict[str, Any]:
    try:
        content = yaml.load(text.decode("utf-8"), _Loader)
    except (yaml.YAMLError, UnicodeDecodeError, RecursionError) as error:
        raise ConfigError(f"{path}: cannot be read as YAML: {_reason(error)}") from None
    if content is None:
        raise ConfigError(f"{path}: the file is empty; it needs at least `instruction` and `knowledge`")
    if not isinstance(content, dict):
        raise ConfigError(f"{path}: expected keys and values at the top level, found {type(content).__name__}")
    return content


class _Loader(yaml.SafeLoader):
    """Says where a value is not what its tag or looks say. PyYAML lets Python's own errors through, of many kinds, some
    of which quote the value."""

    def construct_object(self, node: yaml.Node, deep: bool = False) -> Any:
        try:
            return super().construct_object(node, deep)
        except (yaml.YAMLError, RecursionError):
            raise
        except Exception:
            kind = node.tag.removeprefix("tag:yaml.org,2002:")
            problem = f"this is no {kind}; if it is text, put it in quotes"
            raise yaml.constructor.ConstructorError(None, None, problem, node.start_mark) from None


def _reason(error: Exception) -> str:
    """Without what YAML's errors quote, which may be of the knowledge."""
    if isinstance(error, yaml.MarkedYAMLError) and error.problem_mark:
        problem = _QUOTED.sub("...", str(error.problem))
        return f"line {error.problem_mark.line + 1}, column {error.problem_mark.column + 1}: {problem}"
    return " ".join(str(error).split())


def _put(values: dict[str, Any], place: tuple[str, ...], value: str) -> None:
    for key in place[:-1]:
        inner = values.setdefault(key, {})
        if not isinstance(inner, dict):
            return  # of the wrong type: validation reports it
        values = inner
    values[place[-1]] = value


def _explain(path: Path, error: ValidationError, environment: Mapping[str, str]) -> str:
    """One sentence for each mistake. The knowledge itself is not quoted: it may be long, and may be private."""
    sentences = []
    for mistake in error.errors(include_url=False):
        place = tuple(str(part) for part in mistake["loc"])
        field = ".".join(map(_name, place)) or "a name"
        sentences.append(f"{_source(path, place, environment)}: {field}: {_complaint(mistake)}")
    return "; ".join(sentences)


def _name(name: str) -> str:
    """A line of the knowledge that is not indented as the others reads as a name."""
    return name if _LOOKS_LIKE_A_NAME.fullmatch(name) else f"(a name of {len(name)} characters)"


def _source(path: Path, place: tuple[str, ...], environment: Mapping[str, str]) -> str:
    """The file, the environment variable at `place`, or both where variables are a part of what is at `place`."""
    names = [name for name, own in ENVIRONMENT.items() if name in environment and own[: len(place)] == place]
    variables = f"environment variable {', '.join(names)}"
    if not names:
        return str(path)
    return variables if ENVIRONMENT[names[0]] == place else f"{path} with {variables}"


def _complaint(mistake: ErrorDetails) -> str:
    if mistake["type"] == "extra_forbidden":  # its value may be the knowledge, under a misspelled name
        return "there is no such setting; remove it, or correct its name"
    value = mistake["input"]
    shown = isinstance(value, str | float | date) or (isinstance(value, int) and value.bit_length() <= 64)
    is_knowledge = mistake["loc"][:1] == ("knowledge",)
    return reason(mistake) + (f", not {str(value)[:80]!r}" if shown and not is_knowledge else "")


class ConfigFile(WatchedFile[VersionedConfig]):
    """The configuration in use. `refresh` is called before each use: it parses only when the file has changed."""

    def __init__(self, path: Path, max_reply_tokens: int) -> None:
        """Raises ConfigError: a start needs a good configuration. `max_reply_tokens`: what the engine's slots hold."""
        self._path = path
        self._max_reply_tokens = max_reply_tokens
        super().__init__(self._load, partial(stamp, path))

    @property
    def path(self) -> Path:
        """Where it is."""
        return self._path

    def check(self, content: bytes) -> VersionedConfig:
        """What the file would say with this content. Raises ConfigError."""
        return self._fitting(parse(content, self._path))

    def _load(self) -> VersionedConfig:
        return self._fitting(load(self._path))

    def _fitting(self, loaded: VersionedConfig) -> VersionedConfig:
        if (asked := loaded.config.generation.max_length) > self._max_reply_tokens:
            raise ConfigError(
                f"{self._path}: generation.max_length: {asked} is more than `max_reply_tokens` of serve_config.yaml, "
                f"{self._max_reply_tokens}; lower the one or raise the other"
            )
        return loaded
