"""The tables of settings are the code's."""

from docs.settings_table import SETTINGS, with_table


def test_the_tables_are_up_to_date() -> None:
    page = SETTINGS.read_text(encoding="utf-8")
    assert page == with_table(page), "run `python -m docs.settings_table`"


def test_every_setting_is_explained() -> None:
    rows = [line for line in SETTINGS.read_text(encoding="utf-8").splitlines() if line.startswith("| `")]
    settings = [row for row in rows if row.count(" | ") == 2]
    assert len(settings) > 40
    assert [row for row in settings if row.rsplit(" | ", 1)[1].strip(" |") == ""] == []
