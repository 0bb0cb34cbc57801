"""The interface's words in the reader's language.

Code and templates hold the English words, marked by `_`, `plural` or `later`; `locales/de.po` has the German ones, in
gettext's format, which translators' tools know. It is read at the start, so nothing needs to be built. An exchange's
failure is stored in the words of who had asked. `python -m docs.words` brings the catalogues up to date.
"""

from contextvars import ContextVar
from dataclasses import dataclass
from datetime import datetime
from decimal import localcontext
from functools import cache
from gettext import GNUTranslations, NullTranslations
from io import BytesIO
from pathlib import Path

from babel import Locale, negotiate_locale
from babel.dates import format_skeleton
from babel.messages.mofile import write_mo
from babel.messages.pofile import read_po
from babel.numbers import format_decimal

_DIGITS = 400  # more than any float has
FIRST_STRONG_ISOLATE, POP_DIRECTIONAL_ISOLATE = "\u2068", "\u2069"
LOCALES = Path(__file__).parent / "locales"
SOURCE = "en"  # the language that is written in the code
LANGUAGES = (SOURCE, *sorted(file.stem for file in LOCALES.glob("*.po")))


@dataclass(frozen=True)
class Language:
    """A language's rules and words."""

    locale: Locale
    catalogue: NullTranslations

    @property
    def code(self) -> str:
        """For the page's `lang`."""
        return self.locale.language


@cache
def language(code: str) -> Language:
    """One of LANGUAGES."""
    if code == SOURCE:
        return Language(Locale(SOURCE), NullTranslations())
    with (LOCALES / f"{code}.po").open("rb") as file:
        compiled = BytesIO()
        write_mo(compiled, read_po(file, locale=code))
    compiled.seek(0)
    return Language(Locale(code), GNUTranslations(compiled))


_current: ContextVar[Language] = ContextVar("language", default=language(SOURCE))  # noqa: B039  # it is frozen


def current() -> Language:
    """The language of the request that is being answered; its tasks and threads have the same."""
    return _current.get()


def choose(wanted: list[str]) -> None:
    """Answer the request in the first language of `wanted` that there is, such as `de-AT`; else in English."""
    _current.set(language(negotiate_locale(wanted, LANGUAGES, sep="-") or SOURCE))


def _(text: str, **values: object) -> str:
    """The words for `text`, with the values in place of its `{names}`; an int as the language writes it."""
    words = current().catalogue.gettext(text) if text else ""  # gettext keeps a catalogue's head under ""
    return words.format(**_written(values)) if values else words


def plural(one: str, many: str, count: int, **values: object) -> str:
    """The same for a number of things, `{count}` in the words."""
    return current().catalogue.ngettext(one, many, count).format(**_written(values | {"count": count}))


def later(text: str) -> str:
    """Marks words that are made into the reader's, by `_`, only where they are shown."""
    return text


def isolated(text: str) -> str:
    """A person's text within ours, whose direction it does not change."""
    return f"{FIRST_STRONG_ISOLATE}{text}{POP_DIRECTIONAL_ISOLATE}"


def number(value: float, places: int = 0) -> str:
    """A number, its digits grouped, with so many places after the point."""
    pattern = "#,##0." + "0" * places if places else "#,##0"
    with localcontext(prec=_DIGITS):  # Babel rounds within the context, and fails where its 28 digits do not suffice
        return format_decimal(value, pattern, locale=current().locale)


def day(at: datetime) -> str:
    """A date."""
    return format_skeleton("yMMMd", at, locale=current().locale)


def _written(values: dict[str, object]) -> dict[str, object]:
    return {name: number(value) if isinstance(value, int) else value for name, value in values.items()}
