"""Writes the README's table of settings from the code that reads them, so that the two cannot differ.

`python -m tools.settings_table` rewrites README.md between its two marks; a test fails when that was forgotten.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from pydantic import BaseModel
from pydantic.fields import FieldInfo

from frontend.settings import Settings
from serve_app.chat_config import ENVIRONMENT
from serve_app.settings import AppArgs, ChatConfig

README = Path(__file__).resolve().parents[1] / "README.md"
BEGIN, END = "<!-- settings: made by `python -m tools.settings_table` -->", "<!-- end of settings -->"


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


def with_table(readme: str) -> str:
    """`readme` with a fresh table between its marks."""
    before, rest = readme.split(BEGIN)
    return f"{before}{BEGIN}\n\n{table()}\n\n{END}{rest.split(END)[1]}"


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
    README.write_text(with_table(README.read_text(encoding="utf-8")), encoding="utf-8")
