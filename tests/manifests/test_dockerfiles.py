"""The Dockerfiles, read: there is no engine here that could build them."""

import ast
import fnmatch
import re
import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import yaml

from launcher.serve_environment import QUICK_REPLACEMENT
from manifest_checks.objects import pods
from manifest_checks.references import is_pinned
from manifest_checks.render import Rendering
from tests.manifests import dockerfile
from tests.manifests.dockerfile import Stage
from tests.support.backend import ROOT

FILES = sorted((ROOT / "docker").glob("*.Dockerfile"))
GROUPS = {"backend.Dockerfile": "backend", "frontend.Dockerfile": "frontend"}
LAST = {"backend.Dockerfile": ("cpu", "cuda"), "frontend.Dockerfile": ("stage-2",)}
COPIED_PACKAGES = {"backend.Dockerfile": ("serve_app",), "frontend.Dockerfile": ("frontend",)}


@pytest.fixture(params=FILES, ids=lambda file: file.name)
def file(request: pytest.FixtureRequest) -> Path:
    path: Path = request.param
    return path


def pin(package: str) -> str:
    """The version that pyproject.toml pins."""
    found = re.search(rf'"{re.escape(package)}==([\d.]+)"', (ROOT / "pyproject.toml").read_text())
    assert found is not None
    return found[1]


def test_there_is_one_for_each_half() -> None:
    assert [file.name for file in FILES] == sorted(GROUPS)


def test_bases_are_pinned_or_earlier_stages(file: Path) -> None:
    earlier: set[str] = set()
    for stage in dockerfile.read(file):
        assert stage.base in earlier or is_pinned(stage.base), stage.base
        earlier.add(stage.name)


def test_there_are_several_stages_and_the_last_installs_but_the_engines_compiler(file: Path) -> None:
    stages, installed = dockerfile.read(file), {"backend.Dockerfile": ["gcc", "libc6-dev"]}
    for name in LAST[file.name]:
        chain = dockerfile.chain(stages, name)
        runs = " ".join(run for stage in chain for run in stage.runs)
        packages = re.findall(r"--no-install-recommends (.*?) &&", runs)
        assert " ".join(packages).split() == installed.get(file.name, [])
        assert runs.count("install") == 2 * len(packages), "nothing else is installed"
        assert {copy.stage for stage in chain for copy in stage.copies} <= {stage.name for stage in stages}


@pytest.mark.parametrize("target", LAST["backend.Dockerfile"])
def test_what_hangs_is_killed_as_soon_as_where_make_run_started_it(target: str) -> None:
    stages = dockerfile.chain(dockerfile.read(ROOT / "docker/backend.Dockerfile"), target)
    environment = {name: value for stage in stages for name, value in stage.environment.items()}
    for name in ("RAY_SERVE_FORCE_STOP_UNHEALTHY_REPLICAS", "RAY_kill_worker_timeout_milliseconds"):
        assert environment[name] == QUICK_REPLACEMENT[name]


@pytest.mark.parametrize("target", LAST["backend.Dockerfile"])
def test_nobody_becomes_root_in_the_backends_pods(target: str) -> None:
    """Ray's image has sudo, with `NOPASSWD: ALL` for the user that the pods run as."""
    runs = " ".join(run for stage in dockerfile.chain(dockerfile.read(FILES[0]), target) for run in stage.runs)
    assert "apt-get purge -y sudo" in runs
    assert "rm -rf /etc/sudoers /etc/sudoers.d" in runs


def test_the_ray_image_is_of_the_pinned_version(overlay: Callable[[str], Rendering]) -> None:
    versions = {
        stage.base.split(":")[1].split("-")[0]
        for stage in dockerfile.read(ROOT / "docker/backend.Dockerfile")
        if stage.base.startswith("rayproject/ray:")
    }
    assert versions == {pin("ray[serve]")}
    cluster = next(obj for obj in overlay("base").objects if obj["kind"] == "RayService")["spec"]["rayClusterConfig"]
    assert {cluster["rayVersion"]} == versions


def test_what_is_copied_exists_and_reaches_the_builder(file: Path) -> None:
    for stage in dockerfile.read(file):
        for copy in stage.copies:
            if copy.stage is None:
                for source in copy.sources:
                    assert (ROOT / source).exists(), source
                    assert not ignored(source), f".dockerignore keeps {source} from the builder"
                    assert source not in (".", "./"), "what an image holds is listed, not everything there is"


def test_nothing_private_reaches_the_builder() -> None:
    for name in ("data/frontend.sqlite3", ".git/config", ".run/ray_token", ".venv/bin/python", "kuberay/base", ".env"):
        assert ignored(name), name
    assert ignored("serve_app/__pycache__/app.pyc")


def ignored(name: str) -> bool:
    """Docker's rule, for the patterns in use: the last pattern that matches the path or a folder above it decides."""
    result = False
    paths = [name, *(str(parent) for parent in Path(name).parents if str(parent) != ".")]
    for line in (ROOT / ".dockerignore").read_text().splitlines():
        if line and not line.startswith("#"):
            pattern = line.removeprefix("!").removeprefix("**/")
            candidates = [part for path in paths for part in path.split("/")] if "**/" in line else paths
            if pattern == "*" or any(fnmatch.fnmatchcase(each, pattern) for each in candidates):
                result = not line.startswith("!")
    return result


def test_packages_are_those_of_pyproject(file: Path) -> None:
    """By group and constraints, so that a version is written down once."""
    installs = [run for stage in dockerfile.read(file) for run in stage.runs if "pip install" in run]
    assert any(f"--group {GROUPS[file.name]}" in run for run in installs)
    pip = re.search(r"PIP_VERSION := ([\d.]+)", (ROOT / "Makefile").read_text())
    assert pip is not None
    for run in installs:
        assert "--no-cache-dir" in run
        assert "-c constraints.txt" in run or f"pip=={pip[1]}" in run, run
        assert re.findall(r"(\S+)==", run) in ([], ["pip"]), run


def test_the_model_can_be_baked_in_and_then_needs_no_network() -> None:
    stages = dockerfile.read(ROOT / "docker/backend.Dockerfile")
    model = next(stage for stage in stages if stage.name == "model")
    for name in LAST["backend.Dockerfile"]:
        variables = environment(dockerfile.chain(stages, name))
        assert variables["HF_HUB_OFFLINE"] == "1"
        assert variables["HF_HOME"] == model.environment["HF_HOME"]


def environment(chain: list[Stage]) -> dict[str, str]:
    return {key: value for stage in chain for key, value in stage.environment.items()}


def test_users_are_those_of_the_pods(file: Path, overlay: Callable[[str], Rendering]) -> None:
    """By number: Kubernetes cannot tell whether a named user is root."""
    stages = dockerfile.read(file)
    for name in LAST[file.name]:
        user = next(stage.user for stage in reversed(dockerfile.chain(stages, name)) if stage.user)
        for pod in pods(overlay("gpu").objects):
            if pod.containers[0]["image"].startswith(f"godel-{GROUPS[file.name]}:"):
                security = pod.spec["securityContext"]
                assert f"{security['runAsUser']}:{security['runAsGroup']}" == user


def test_the_frontends_command_is_the_manifests(overlay: Callable[[str], Rendering]) -> None:
    image = dockerfile.read(ROOT / "docker/frontend.Dockerfile")[-1]
    frontend = next(pod for pod in pods(overlay("base").objects) if pod.role == "deployment")
    assert frontend.containers[0]["command"] == image.command


def test_images_hold_every_module_that_their_code_imports(file: Path) -> None:
    copied = {
        source.split("/")[0] for stage in dockerfile.read(file) for copy in stage.copies for source in copy.sources
    }
    for package in COPIED_PACKAGES[file.name]:
        imported = {name.split(".")[0] for module in (ROOT / package).rglob("*.py") for name in imports(module)}
        ours = {name for name in imported if (ROOT / name).is_dir()}
        assert ours <= copied, f"{package} imports {ours - copied}, which the image lacks"


def imports(module: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(module.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield node.module


def test_the_serve_configs_files_are_in_the_image(overlay: Callable[[str], Rendering]) -> None:
    """Relative paths of AppArgs start at /app."""
    copied = {copy.target for stage in dockerfile.read(ROOT / "docker/backend.Dockerfile") for copy in stage.copies}
    for name in ("local", "production"):
        service = next(obj for obj in overlay(name).objects if obj["kind"] == "RayService")
        args = yaml.safe_load(service["spec"]["serveConfigV2"])["applications"][0]["args"]
        for model in (args["model"], args["fallback_model"]):
            assert model is None or model in copied or not model.startswith("models/")


@pytest.mark.skipif(shutil.which("docker") is None, reason="docker is not on the PATH")
def test_the_builder_finds_no_fault(file: Path) -> None:
    """Docker's own lint, where an engine runs."""
    if subprocess.run(["docker", "info"], capture_output=True, check=False, timeout=30).returncode:
        pytest.skip("no Docker engine runs here")
    done = subprocess.run(
        ["docker", "build", "--check", "-f", str(file), str(ROOT)],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
