"""Writes docs/settings.md's tables from the code that reads the settings, so that the two cannot differ.

`python -m docs.settings_table` rewrites what follows the file's mark; a test fails when that was forgotten.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from pydantic import BaseModel
from pydantic.fields import FieldInfo

from frontend.settings import Settings
from serve_app.chat_config import ENVIRONMENT
from serve_app.settings import AppArgs, ChatConfig

SETTINGS = Path(__file__).with_name("settings.md")
MARK = "<!-- made by `python -m docs.settings_table` -->"


def table() -> str:
    """All settings, in three parts by where they are set, as Markdown."""
    variables = {".".join(place): name for name, place in ENVIRONMENT.items()}
    return "\n\n".join(
        (
            _part("How it is deployed: `args` in `serve_config.yaml` (a change restarts the replicas)", _rows(AppArgs)),
            _part(
                "What it says: `configs/chatbot.yaml` (re-read while running; an environment variable wins)",
                [
                    (name, default, f"{meaning} (`{variables[name]}`)" if name in variables else meaning)
                    for name, default, meaning in _rows(ChatConfig)
                ],
            ),
            _part(
                "The frontend: environment variables",
                [(f"FRONTEND_{name.upper()}", default, meaning) for name, default, meaning in _rows(Settings)],
            ),
        )
    )


def with_table(page: str) -> str:
    """`page` with fresh tables after its mark."""
    return f"{page.split(MARK)[0]}{MARK}\n\n{table()}\n"


def _part(title: str, rows: Any) -> str:
    lines = [f"**{title}**", "", "| setting | default | meaning |", "|---|---|---|"]
    return "\n".join(lines + [f"| `{name}` | {default} | {meaning} |" for name, default, meaning in rows])


def _rows(model: type[BaseModel], prefix: str = "") -> Iterator[tuple[str, str, str]]:
    for name, field in model.model_fields.items():
        inner = field.annotation
        if isinstance(inner, type) and issubclass(inner, BaseModel):
            yield from _rows(inner, f"{prefix}{name}.")
        else:
            yield prefix + name, _default(field), (field.description or "").replace("|", "\\|")


def _default(field: FieldInfo) -> str:
    if field.is_required():
        return "required"
    if field.default in (None, ()):
        return "none"
    if isinstance(field.default, tuple):
        return ", ".join(f"“{value}”" for value in field.default)
    return f"`{str(field.default).lower() if isinstance(field.default, bool) else field.default}`"


if __name__ == "__main__":
    SETTINGS.write_text(with_table(SETTINGS.read_text(encoding="utf-8")), encoding="utf-8")
