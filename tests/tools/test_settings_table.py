"""The README's table of settings is the code's."""

from tools.settings_table import README, with_table


def test_the_readmes_table_is_up_to_date() -> None:
    readme = README.read_text(encoding="utf-8")
    assert readme == with_table(readme), "run `python -m tools.settings_table`"


def test_every_setting_is_explained() -> None:
    rows = [line for line in README.read_text(encoding="utf-8").splitlines() if line.startswith("| `")]
    settings = [row for row in rows if row.count(" | ") == 2]
    assert len(settings) > 40
    assert [row for row in settings if row.rsplit(" | ", 1)[1].strip(" |") == ""] == []
