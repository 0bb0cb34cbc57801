"""KubeRay's definition of a RayService, which the manifests' are checked against: where it is, and how it gets there.

    python -m manifest_checks.crd  # what `make crds` does

A megabyte of somebody else's, so it is not kept in the repository: copied from a folder beside it, where there is one,
else fetched. A file with another content than KubeRay 1.7.0's is never used.
"""

import hashlib
import sys
from pathlib import Path

import requests

_ROOT = Path(__file__).resolve().parents[1]
CRD = _ROOT / ".crds/ray.io_rayservices.yaml"
SHA256 = "0a8fc325e6e22b9231c1f282b309555e2ecf94227ca20a03df3d1d9a403907ab"
_BESIDE = _ROOT.parent / "shared/kuberay-crds" / CRD.name
_URL = f"https://raw.githubusercontent.com/ray-project/kuberay/v1.7.0/ray-operator/config/crd/bases/{CRD.name}"
_TIMEOUT_S = 60


class CrdError(Exception):
    """It is not to be had; the text says from where, and why."""


def bring(crd: Path = CRD, beside: Path = _BESIDE, url: str = _URL) -> None:
    """Put it into `crd`, unless it is there. Raises CrdError."""
    if crd.exists() and _is_right(crd.read_bytes()):
        return
    source = str(beside) if beside.exists() else url
    try:
        content = beside.read_bytes() if beside.exists() else _fetch(url)
    except OSError as error:  # requests' own errors are OSErrors, too
        raise CrdError(f"KubeRay's CRD is neither in {beside.parent} nor to be fetched: {error}") from error
    if not _is_right(content):
        raise CrdError(f"{source} is not the CRD of KubeRay 1.7.0: its SHA-256 is another")
    crd.parent.mkdir(exist_ok=True)
    partial = crd.with_suffix(".partial")
    partial.write_bytes(content)
    partial.replace(crd)


def _fetch(url: str) -> bytes:
    answer = requests.get(url, timeout=_TIMEOUT_S)
    answer.raise_for_status()
    return answer.content


def _is_right(content: bytes) -> bool:
    return hashlib.sha256(content).hexdigest() == SHA256


def main() -> int:
    """0 when it is there, else 1 and why."""
    try:
        bring()
    except CrdError as error:
        sys.stderr.write(f"{error}\n")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
