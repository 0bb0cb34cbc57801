"""Brings the page's catalogues up to date with its code, templates and scripts: `python -m docs.words`.

New words come in without a translation, and those that are gone go out. A test fails until all are translated.
"""

import sys
from collections.abc import Iterator

from babel.messages import Catalog
from babel.messages.extract import extract_from_dir
from babel.messages.pofile import read_po, write_po

from frontend.words import LANGUAGES, LOCALES, SOURCE

FRONTEND = LOCALES.parent
KEYWORDS = {"_": None, "later": None, "plural": (1, 2)}
METHODS = [("**.py", "python"), ("templates/**.html", "jinja2.ext:babel_extract")]
WIDTH = 120


def template() -> Catalog:
    """All words that the frontend has, without a translation."""
    catalog = Catalog(charset="utf-8", header_comment="")
    for file, _, message, _, context in extract_from_dir(str(FRONTEND), METHODS, keywords=KEYWORDS):
        if message:
            catalog.add(message, locations=[(file, 0)], context=context)
    return catalog


def catalogues() -> Iterator[tuple[str, Catalog]]:
    """Each language's, as it is stored."""
    for code in LANGUAGES:
        if code != SOURCE:
            with (LOCALES / f"{code}.po").open("rb") as file:
                yield code, read_po(file, locale=code)


def main() -> int:
    """Write them, and say what is missing."""
    for code, catalog in catalogues():
        catalog.update(template(), no_fuzzy_matching=True, update_creation_date=False)
        catalog.obsolete.clear()
        with (LOCALES / f"{code}.po").open("wb") as file:
            write_po(file, catalog, width=WIDTH, sort_by_file=True, omit_header=True, include_lineno=False)
        missing = [each.id for each in catalog if each.id and not (each.string and all(each.string))]
        sys.stdout.write(f"{code}: {len(catalog)} entries, {len(missing)} without a translation\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
