"""KubeRay's CRD comes from a folder or the network, and only with the content that is known."""

import hashlib
from pathlib import Path

import pytest

from manifest_checks import crd

RIGHT, WRONG = b"the CRD", b"another CRD"


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where the CRD belongs. There is none yet, and the network answers with RIGHT."""
    monkeypatch.setattr(crd, "SHA256", hashlib.sha256(RIGHT).hexdigest())
    monkeypatch.setattr(crd, "_fetch", lambda url: RIGHT)
    return tmp_path / ".crds/crd.yaml"


def test_the_folder_beside_comes_before_the_network(
    place: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    beside = tmp_path / "beside.yaml"
    crd.bring(place, beside)
    assert place.read_bytes() == RIGHT
    place.unlink()
    beside.write_bytes(RIGHT)
    monkeypatch.delattr(crd, "_fetch")
    crd.bring(place, beside)
    assert place.read_bytes() == RIGHT


def test_what_has_another_content_is_not_used(place: Path, tmp_path: Path) -> None:
    beside = tmp_path / "beside.yaml"
    beside.write_bytes(WRONG)
    with pytest.raises(crd.CrdError, match="beside.yaml is not the CRD of KubeRay 1.7.0"):
        crd.bring(place, beside)
    assert not place.exists()


def test_an_older_one_is_replaced(place: Path, tmp_path: Path) -> None:
    place.parent.mkdir()
    place.write_bytes(WRONG)
    crd.bring(place, tmp_path / "beside.yaml")
    assert place.read_bytes() == RIGHT


def test_without_folder_and_network_the_error_names_both(
    place: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(url: str) -> bytes:
        raise OSError(f"no way to {url}")

    monkeypatch.setattr(crd, "_fetch", refuse)
    with pytest.raises(crd.CrdError, match="neither in .* nor to be fetched: no way to https://"):
        crd.bring(place, tmp_path / "beside.yaml")
