"""The signing key: given, or made once and kept privately."""

import stat
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from frontend.secret_key import secret_key
from tests.frontend.conftest import SECRET, MakeSettings


def test_given_key_is_used_and_nothing_is_written(make_settings: MakeSettings, tmp_path: Path) -> None:
    assert secret_key(make_settings()) == SECRET
    assert list(tmp_path.iterdir()) == []


def test_made_key_is_kept_and_readable_by_its_owner_only(make_settings: MakeSettings, tmp_path: Path) -> None:
    settings = make_settings(secret_key=None)
    first = secret_key(settings)
    assert secret_key(settings) == first
    assert len(first) >= 32
    (file,) = tmp_path.iterdir()
    assert stat.S_IMODE(file.stat().st_mode) == 0o600


def test_two_databases_have_different_keys(make_settings: MakeSettings, tmp_path: Path) -> None:
    keys = {
        secret_key(make_settings(secret_key=None, database_url=f"sqlite:///{tmp_path}/{name}")) for name in ("a", "b")
    }
    assert len(keys) == 2


def test_processes_starting_together_agree(make_settings: MakeSettings) -> None:
    settings = make_settings(secret_key=None)
    with ThreadPoolExecutor(8) as pool:
        assert len(set(pool.map(lambda _: secret_key(settings), range(8)))) == 1


def test_damaged_file_is_refused_with_the_remedy(make_settings: MakeSettings, tmp_path: Path) -> None:
    (tmp_path / "chats.sqlite3.secret").write_text("oops\n")
    with pytest.raises(ValueError, match="delete the file"):
        secret_key(make_settings(secret_key=None))
