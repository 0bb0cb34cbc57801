"""Every command of the documents is real: it is run, or asked about where it would be run. One of no known kind fails.

What a service answers to is run in tests/serve (test_api_examples.py, and the search of the logs in test_chat_api.py),
and what kubectl's commands name is looked for in the manifests by tests/manifests/test_guide.py.
"""

import json
import subprocess
import tomllib
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path

import pytest
import yaml
from click.testing import CliRunner
from ray.serve.scripts import cli as serve

from frontend.settings import unknown_names
from manifest_checks.render import kubectl
from serve_app.__main__ import main as serve_app
from tests.manifests import dockerfile
from tests.support.backend import ROOT
from tests.support.documents import PAGES, Command, Fence, commands, fences

VERSION = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]
FENCES = [fence for page in PAGES for fence in fences(page.read_text(encoding="utf-8"))]
COMMANDS = list(dict.fromkeys(command for page in PAGES for command in commands(page.read_text(encoding="utf-8"))))


def make(command: Command) -> None:
    """make itself says whether it would know what to do; what it is given, the Makefile uses."""
    given = [word.partition("=")[0] for word in command.words if "=" in word]
    planned = subprocess.run(["make", "-n", *command.words[1:]], cwd=ROOT, capture_output=True, text=True, timeout=60)
    assert planned.returncode == 0, planned.stderr
    makefile = (ROOT / "Makefile").read_text()
    assert [name for name in given if f"$({name})" not in makefile] == []


def python(command: Command) -> None:
    """The module is there, has these flags, and a command line's words lead to a command of it."""
    _, option, module, *words = command.words
    assert option == "-m"
    spec = find_spec(f"{module}.__main__") if (ROOT / module).is_dir() else find_spec(module)
    assert spec and spec.origin
    source = Path(spec.origin).read_text()
    assert '__name__ == "__main__"' in source
    assert [word for word in words if word.startswith("--") and f'"{word}"' not in source] == []
    if module == "serve_app":
        shown = CliRunner().invoke(serve_app, [*words, "--help"])
        assert shown.exit_code == 0, shown.output


def ray_serve(command: Command) -> None:
    assert command.words[1] in serve.commands
    assert [word for word in command.words if word.endswith(".yaml") and not (ROOT / word).exists()] == []


def kubernetes(command: Command) -> None:
    """kubectl reads all of it, and fails on nothing but that there is no cluster."""
    program = kubectl()
    if program is None:
        pytest.skip("no kubectl")
    nowhere = [program, "--kubeconfig=/dev/null", "--server=http://127.0.0.1:1"]
    words = ["kuberay/base/namespace.yaml" if "://" in word else word for word in command.words[1:]]
    tried = subprocess.run([*nowhere, *words], cwd=ROOT, capture_output=True, text=True, timeout=60)
    assert "refused" in tried.stderr, tried.stderr


def docker(command: Command) -> None:
    """What it builds with is there; what it brings, a manifest uses."""
    words = iter(command.words[2:])
    for word in words:
        value = next(words, "") if word in ("-f", "--target", "--build-arg", "-t") else word
        if word == "-f":
            file, stages = ROOT / value, {stage.name for stage in dockerfile.read(ROOT / value)}
        elif word == "--target":
            assert value in stages
        elif word == "--build-arg":
            assert f"\nARG {value.partition('=')[0]}=" in file.read_text()
        elif word == "-t":
            assert value.partition("-cuda")[0].endswith(f":{VERSION}")
        elif command.words[1] == "pull":
            assert any(f"image: {word}" in file.read_text() for file in (ROOT / "kuberay").rglob("*.yaml"))


def of_the_shell(command: Command) -> None:
    """A function: what the commands after it use makes a long text, another one each time."""
    name = command.program.removesuffix("()")
    made = subprocess.run(["sh", "-c", f"{command.text}\n{name}\n{name}"], capture_output=True, text=True, timeout=60)
    first, second = made.stdout.splitlines()
    assert len(first) >= 48 and first != second


def in_a_fence(command: Command) -> None:
    """Where tests/serve takes it from."""
    assert any(fence.language == "sh" and fence.code.startswith(f"{command.program} ") for fence in FENCES)


def of_others(command: Command) -> None:
    """A program that is not here to be asked; the versions of this project's images are right."""
    images = [word.partition(":")[2] for word in command.words if word.startswith("godel-") and ":" in word]
    assert set(images) <= {VERSION}


KINDS: dict[str, Callable[[Command], None]] = {
    "make": make,
    "python": python,
    "serve": ray_serve,
    "kubectl": kubernetes,
    "docker": docker,
    "random()": of_the_shell,
    **dict.fromkeys(("curl", "grep"), in_a_fence),
    **dict.fromkeys(("kind", "helm", "minikube", "istioctl", "base64"), of_others),
}
LANGUAGES: dict[str, Callable[[str], object]] = {
    "sh": str,  # its commands are tested one by one
    "python": str,  # run by tests/serve/test_api_examples.py
    "yaml": yaml.safe_load,
    "json": lambda code: [json.loads(line) for line in code.splitlines()],
    "text": str,  # nothing to type
}


def check(command: Command) -> None:
    assert command.program in KINDS, "this program is of no known kind: say above how its commands are checked"
    assert unknown_names(dict(variable.split("=", 1) for variable in command.variables)) == []
    KINDS[command.program](command)


def test_all_are_found() -> None:
    assert len(COMMANDS) > 70
    assert {"make", "python", "kubectl", "docker", "curl", "grep", "kind"} <= {command.program for command in COMMANDS}


@pytest.mark.parametrize("command", COMMANDS, ids=[command.text[:60] for command in COMMANDS])
def test_a_command_is_real(command: Command) -> None:
    check(command)


@pytest.mark.parametrize("fence", FENCES, ids=[fence.code.strip()[:40] for fence in FENCES])
def test_code_says_what_it_is_and_is_that(fence: Fence) -> None:
    assert fence.language in LANGUAGES, "write the language behind the fence's first marks"
    LANGUAGES[fence.language](fence.code)


@pytest.mark.parametrize(
    "wrong",
    [
        "make rum",
        "make finetune DATE=dialogues.jsonl",
        "python -m bench.served_twice",
        "python -m serve_app chatt",
        "python -m serve_app load --cliens 3",
        "python -m capacity --prise 1",
        "serve walk serve_config.yaml",
        "serve run serve_confik.yaml",
        "kubectl -n godel gett pods",
        "kubectl -n godel get pods --selecter a=b",
        "docker build -f docker/back.Dockerfile .",
        "docker build -f docker/backend.Dockerfile --target gpu .",
        "docker build -f docker/backend.Dockerfile --build-arg MODELL=x .",
        "docker pull postgres:3",
        "kind load docker-image godel-backend:0.0.1",
        "FRONTEND_PRT=1 make run",
        "frobnicate",
    ],
)
def test_a_wrong_command_is_noticed(wrong: str) -> None:
    (command,) = commands(f"```sh\n{wrong}\n```\n")
    with pytest.raises((AssertionError, FileNotFoundError)):
        check(command)
