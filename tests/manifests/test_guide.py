"""What the documents tell people to type at a cluster names things that exist."""

import argparse
import json
import re
from collections.abc import Callable

import pytest

from manifest_checks.objects import pods
from manifest_checks.references import required_secrets, selects
from manifest_checks.render import Rendering
from tests.support.backend import ROOT
from tests.support.documents import PAGES, commands

Overlay = Callable[[str], Rendering]
GUIDE = (ROOT / "docs/kubernetes.md").read_text()
KINDS = {
    "rayservice": "RayService",
    "configmap": "ConfigMap",
    "deployment": "Deployment",
    "svc": "Service",
    "statefulset": "StatefulSet",
}
OPEN = {"api-keys"}  # a Secret that is mounted whole: a key more is one more client's
MADE_BY_THE_OPERATOR = {("Service", "godel-head-svc"), ("HTTPRoute", "godel-httproute")}


def kubectl_commands(document: str) -> list[list[str]]:
    return [list(command.words[1:]) for command in commands(document) if command.program == "kubectl"]


def options(command: list[str]) -> tuple[argparse.Namespace, list[str]]:
    parser = argparse.ArgumentParser()
    for flag in ("-n", "-k", "-f", "-l", "-c", "-o", "-p", "--replicas", "--field-selector"):
        parser.add_argument(flag)
    known, rest = parser.parse_known_args(command[: command.index("--")] if "--" in command else command)
    return known, [word for word in rest if not word.startswith("-")]


def is_right(command: list[str], overlay: Overlay) -> bool:
    """Its folder, container, labels, objects, Secrets and their keys are those of the overlays."""
    flags, words = options(command)
    objects = overlay("local").objects + overlay("production").objects
    everything = {(obj["kind"], obj["metadata"]["name"]) for obj in objects} | MADE_BY_THE_OPERATOR
    secrets = required_secrets(overlay("production").folder)
    labels = dict(pair.split("=") for pair in flags.l.split(",")) if flags.l else {}
    pairs = [*zip(words, words[1:], strict=False), *(word.partition("/")[::2] for word in words)]
    asked = [word for word in words[words.index("secret") + 1 :] if word != "generic"] if "secret" in words else []
    keys = [*re.findall(r"--from-literal=([\w-]+)", " ".join(command)), *patched(flags.p)]
    return (
        flags.n in (None, "godel")
        and (flags.k is None or (ROOT / flags.k / "kustomization.yaml").exists())
        and flags.c in (None, *(container["name"] for pod in pods(objects) for container in pod.containers))
        and any(selects({"matchLabels": labels}, pod.labels) for pod in pods(objects))
        and {(KINDS[kind], name) for kind, name in pairs if kind in KINDS and name} <= everything
        and set(asked) <= secrets.keys()
        and all(key in secrets[asked[0]] or asked[0] in OPEN for key in keys)
    )


def patched(patch: str | None) -> list[str]:
    """The keys of a Secret that a patch is about."""
    return [key for values in json.loads(patch).values() for key in values] if patch else []


def test_the_commands_name_what_exists(overlay: Overlay) -> None:
    asked = [command for page in PAGES for command in kubectl_commands(page.read_text(encoding="utf-8"))]
    assert len(asked) > 30
    assert [command for command in asked if not is_right(command, overlay)] == []


@pytest.mark.parametrize(
    ("right", "wrong"),
    [
        ("-n godel get rayservice godel -o yaml", "-n godel get rayservice gobel -o yaml"),
        ("svc/godel-head-svc", "svc/godel-head"),
        ("-k kuberay/overlays/gpu", "-k kuberay/overlays/gpus"),
        ("-n godel delete pod", "-n gobel delete pod"),
        ("-l app.kubernetes.io/name=godel", "-l app=godel"),
        ("logs POD -c ray-worker", "logs POD -c worker"),
        ("--from-literal=secret-key", "--from-literal=secret"),
        ("ray-token api-keys frontend postgres", "ray-token api-keys frontend postgresql"),
        ("patch secret api-keys", "patch secret api-key"),
        ('{"stringData": {"backend-key"', '{"stringData": {"backend-kay"'),
    ],
)
def test_a_wrong_name_is_noticed(overlay: Overlay, right: str, wrong: str) -> None:
    assert right in GUIDE
    asked = kubectl_commands(GUIDE.replace(right, wrong, 1))
    assert len([command for command in asked if not is_right(command, overlay)]) == 1
