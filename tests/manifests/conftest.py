"""A copy of what the manifests are made of, to break; and the overlays rendered once, to break in memory."""

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.backend import ROOT
from tools.manifests.render import Rendering, kubectl, render


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Without kubectl nothing can be rendered, and the run says so."""
    if kubectl() is None:
        for item in items:
            here = Path(__file__).parent in item.path.parents
            if here and {"overlay", "tree"} & set(getattr(item, "fixturenames", ())):
                item.add_marker(pytest.mark.skip(reason="kubectl is not on the PATH"))


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """A repository's root with the files that manifests are made of."""
    for folder in ("kuberay", "configs"):
        shutil.copytree(ROOT / folder, tmp_path / folder)
    shutil.copy(ROOT / "serve_config.yaml", tmp_path)
    return tmp_path


@pytest.fixture(scope="session")
def overlay() -> Callable[[str], Rendering]:
    """Renders an overlay by its name, each once."""
    rendered: dict[str, Rendering] = {}

    def get(name: str) -> Rendering:
        if name not in rendered:
            folder = ROOT / "kuberay" / ("base" if name == "base" else f"overlays/{name}")
            rendered[name] = render(ROOT, folder)
        return rendered[name]

    return get
