"""A replica's colour is its own, for good."""

import re
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from frontend import hues

STYLES = Path(hues.__file__).parent / "static" / "chat.css"


def test_a_colour_stays() -> None:
    """Across processes: Python's own hash differs in each."""
    assert hues.hue("GodelModel#replica-7f3c9a1e") == 10


@given(st.text())
def test_every_colour_is_in_the_stylesheet(replica_id: str) -> None:
    assert f".hue-{hues.hue(replica_id)} " in STYLES.read_text()


def test_colours_are_apart() -> None:
    angles = re.findall(r"--hue: (\d+)", STYLES.read_text())
    assert len(set(angles)) == len(angles) == hues.HUES
