"""API keys: files and folders of them, what is refused and how it is said, rates, expiry, changes while running."""

from collections.abc import Callable
from datetime import date
from pathlib import Path

import pytest

from serve_app.errors import ConfigError, Overloaded, Unauthorized
from serve_app.keys import KeyRing, digest, load, new_key

ONE, TWO = "sk-one-and-long-enough", "sk-two-and-long-enough"


@pytest.fixture
def keys(tmp_path: Path) -> Callable[[str], Path]:
    def write(text: str) -> Path:
        path = tmp_path / "keys.yaml"
        path.write_text(text)
        return path

    return write


def test_a_file_has_a_key_a_line_or_its_hash_with_more(keys: Callable[[str], Path]) -> None:
    ring = KeyRing(keys(f"page: {ONE}\nbatch: {{sha256: {digest(TWO)}, requests_per_minute: 2, for_visitors: true}}\n"))
    assert ring.admit(ONE).name == "page"
    batch = ring.admit(TWO)
    assert (batch.name, batch.requests_per_minute, batch.for_visitors) == ("batch", 2, True)


def test_a_folder_has_a_key_a_file_as_a_secret_that_is_mounted(tmp_path: Path) -> None:
    data = tmp_path / "..2026_11_25"
    data.mkdir()
    (data / "page").write_text(ONE + "\n")
    (data / "batch").write_text(f"key: {TWO}\nexpires: 2027-01-31\n")
    (tmp_path / "..data").symlink_to(data.name)
    for name in ("page", "batch"):
        (tmp_path / name).symlink_to(f"..data/{name}")
    assert [(key.name, key.expires) for key in load(tmp_path)] == [("batch", date(2027, 1, 31)), ("page", None)]


def test_no_key_is_kept_or_shown(keys: Callable[[str], Path]) -> None:
    (key,) = load(keys(f"page: {ONE}"))
    assert ONE not in repr(key) and key.sha256 == digest(ONE)


def test_a_missing_and_a_wrong_key_are_refused(keys: Callable[[str], Path]) -> None:
    ring = KeyRing(keys(f"page: {ONE}"))
    for presented in (None, ""):
        with pytest.raises(Unauthorized, match="an API key is needed: send it as"):
            ring.admit(presented)
    for presented in (ONE[:-1], ONE + "x", "\udc80", "käse", digest(ONE)):
        with pytest.raises(Unauthorized, match="not known here"):
            ring.admit(presented)


def test_a_key_is_good_through_its_last_day(keys: Callable[[str], Path]) -> None:
    today = date(2027, 1, 31)
    ring = KeyRing(keys(f"page: {{key: {ONE}, expires: 2027-01-31}}"), lambda: today)
    assert ring.admit(ONE).name == "page"
    today = date(2027, 2, 1)
    with pytest.raises(Unauthorized, match="'page' has expired on 2027-01-31; ask for a new one"):
        ring.admit(ONE)


def test_a_keys_rate_is_its_own(keys: Callable[[str], Path]) -> None:
    ring = KeyRing(keys(f"page: {{key: {ONE}, requests_per_minute: 2}}\nbatch: {TWO}"))
    with pytest.raises(Overloaded, match="'page' may ask 2 times a minute") as refused:
        for _ in range(6):  # more than two windows allow, were a minute to end in between
            ring.admit(ONE)
    assert 1 <= (refused.value.retry_after_s or 0) <= 60
    for _ in range(5):
        ring.admit(TWO)


def test_a_change_is_noticed_and_a_bad_one_changes_nothing(keys: Callable[[str], Path]) -> None:
    ring = KeyRing(keys(f"page: {ONE}"))
    keys(f"page: {TWO} # another")
    ring.refresh()
    assert ring.admit(TWO).name == "page"
    with pytest.raises(Unauthorized):
        ring.admit(ONE)
    path = keys("page: short")
    ring.refresh()
    assert ring.admit(TWO) and "'page': a key is text of at least 20" in str(ring.error)
    path.unlink()
    ring.refresh()
    assert ring.admit(TWO) and "there is no such file" in str(ring.error)
    keys(f"page: {ONE}")
    ring.refresh()
    assert ring.admit(ONE) and ring.error is None


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "expected a name and a key on each line"),
        ("{}", "there is no key in it, so every request would be refused"),
        ("- sk-1", "expected a name and a key on each line"),
        ("page: secret", "'page': a key is text of at least 20 ASCII characters"),
        ("page: 12345678901234567890123", "'page': a key is text of at least 20 ASCII characters"),
        ("'a page': sk-long-enough-to-be-one", "'a page': name: String should match pattern"),
        ("page: {sha256: abc}", "'page': sha256: String should match pattern"),
        (f"page: {{key: {ONE}, sha256: {'a' * 64}}}", "'page': give `key` or `sha256`, not both"),
        (f"page: {{key: {ONE}, requests_per_minute: 0}}", "'page': requests_per_minute: Input should be greater"),
        (f"page: {{key: {ONE}, expires: soon}}", "'page': expires: Input should be a valid date"),
        (f"page: {{key: {ONE}, rate: 3}}", "'page': rate: Extra inputs are not permitted"),
        (f"page: {{other: {ONE}}}", "'page': sha256: Field required"),
        (f"page: {ONE}\nbatch: {ONE}", "page, batch: they are the same key"),
        (f"page: [{ONE}", "cannot be read as YAML"),
        (f"page: {{1: {ONE}}}", "'page': sha256: Field required"),
    ],
)
def test_a_bad_file_is_explained_without_quoting_keys(keys: Callable[[str], Path], text: str, said: str) -> None:
    with pytest.raises(ConfigError) as refused:
        KeyRing(keys(text))
    assert said in str(refused.value) and "keys.yaml: " in str(refused.value)
    assert ONE not in str(refused.value) and "secret" not in str(refused.value)


def test_what_cannot_be_read_is_explained(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="there is no such file or folder; set `keys`"):
        KeyRing(tmp_path / "none")
    with pytest.raises(ConfigError, match="there is no key in it"):
        KeyRing(tmp_path)
    (tmp_path / "binary").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(ConfigError, match="binary: cannot be read as YAML"):
        KeyRing(tmp_path)


def test_a_folder_that_cannot_be_listed_changes_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It raised an OSError, which ended the task that watches the files, for good and unsaid."""
    (tmp_path / "page").write_text(ONE)
    ring = KeyRing(tmp_path)

    def denied(self: Path) -> list[Path]:
        raise PermissionError(13, "Permission denied")

    with monkeypatch.context() as patched:
        patched.setattr(Path, "iterdir", denied)
        ring.refresh()
        assert ring.admit(ONE) and str(ring.error).endswith("cannot be read: Permission denied")
        with pytest.raises(ConfigError, match="Permission denied"):
            KeyRing(tmp_path)
    ring.refresh()
    assert ring.admit(ONE) and ring.error is None


def test_a_new_key_is_good_and_never_the_same(keys: Callable[[str], Path]) -> None:
    made = new_key()
    assert made != new_key() and made.startswith("sk-")
    assert KeyRing(keys(f"page: {made}")).admit(made).name == "page"
