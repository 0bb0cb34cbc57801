"""A mistake in a file is reported with that file and the field, by the command that people run."""

import re
from pathlib import Path

import pytest

from manifest_checks import __main__ as command
from manifest_checks.__main__ import check_all, problems, stale, unreadable, write_generated
from manifest_checks.render import render
from manifest_checks.serve_config import PatchError

pytestmark = pytest.mark.usefixtures("crd")
LOCAL, PRODUCTION, MONITORING = (f"kuberay/overlays/{name}" for name in ("local", "production", "monitoring"))

# A file, an edit, and how the sentence begins: one for each way in which a value gets into an overlay.
MISTAKES = [
    (  # a patch, by strategic merge and by JSON 6902
        f"{PRODUCTION}/frontend.patch.yaml",
        '"true"',
        '"yes please"',
        f"{PRODUCTION}/frontend.patch.yaml: spec.template.spec.containers.frontend.env.FRONTEND_SECURE_COOKIE.value: ",
    ),
    (
        f"{PRODUCTION}/rayservice.patch.yaml",
        'value: "4"',
        "value: four",
        f"{PRODUCTION}/rayservice.patch.yaml: spec.rayClusterConfig.workerGroupSpecs.model.template.spec.containers."
        "ray-worker.resources.requests.cpu: 'four' is no quantity",
    ),
    (  # a patch that makes a value of the base wrong
        f"{LOCAL}/rayservice.patch.yaml",
        "maxReplicas\n  value: 2",
        "maxReplicas\n  value: 0",
        "kuberay/base/rayservice.yaml: spec.rayClusterConfig.workerGroupSpecs.model.minReplicas: 1 is more than",
    ),
    (  # a resource of the base
        "kuberay/base/frontend-service.yaml",
        "app.kubernetes.io/name: frontend\n  ports",
        "app.kubernetes.io/name: front\n  ports",
        "kuberay/base/frontend-service.yaml: spec.selector: no pod has the labels",
    ),
    (  # the one serve config, and a patch of it
        "serve_config.yaml",
        "slots: 16",
        "slots: 0",
        "serve_config.yaml: spec.serveConfigV2.applications.godel.args.slots: Input should be greater than",
    ),
    (
        f"{PRODUCTION}/serve-config.patch.yaml",
        "min_replicas: 2",
        "min_replicas: -2",
        f"{PRODUCTION}/serve-config.patch.yaml: "
        "spec.serveConfigV2.applications.godel.deployments.GodelModel.autoscaling_config.min_replicas: ",
    ),
    (  # Grafana's dashboard
        f"{MONITORING}/dashboard.json",
        "ray_godel_active_requests)",
        "ray_godel_active",
        f"{MONITORING}/dashboard.json: data.godel.json.panels.10.targets.0.expr: is not PromQL: ",
    ),
    (  # the list of Secrets
        f"{PRODUCTION}/required-secrets.yaml",
        "redis:\n  password",
        "radis:\n  password",
        f"{PRODUCTION}/rayservice.patch.yaml: spec.rayClusterConfig.gcsFaultToleranceOptions.redisPassword."
        "valueFrom.secretKeyRef: no required-secrets.yaml lists key 'password' of Secret 'redis'",
    ),
    (
        f"{PRODUCTION}/required-secrets.yaml",
        "redis:\n  password",
        "redis:\n  username: of nobody\n  password",
        f"{PRODUCTION}/required-secrets.yaml: redis.username: nothing refers to it",
    ),
    (
        f"{PRODUCTION}/required-secrets.yaml",
        "redis:\n  password: of the Redis that keeps the head's state",
        "redis: password",
        f"{PRODUCTION}/required-secrets.yaml: redis: must have its keys under it",
    ),
    (  # the ConfigMap: its key, and what it holds
        "configs/kustomization.yaml",
        "- chatbot.yaml",
        "- chatbot.yml=chatbot.yaml",
        "kuberay/base/serve-config.patch.yaml: spec.serveConfigV2.applications.godel.args.chat_config: "
        "ConfigMap chatbot has no key 'chatbot.yaml'; it has chatbot.yml",
    ),
    (
        "configs/chatbot.yaml",
        "max_length: 128",
        "max_lenght: 128",
        "configs/chatbot.yaml: generation.max_lenght: there is no such setting",
    ),
    (
        "configs/chatbot.yaml",
        "max_length: 128",
        "max_length: 1000",
        "configs/chatbot.yaml: generation.max_length: 1000 is more than max_reply_tokens, 256",
    ),
    (
        "configs/chatbot.yaml",
        "knowledge: |\n",
        "knowledge: |\n" + "  Nobody reads this much.\n" * 50_000,
        "configs/chatbot.yaml: data.chatbot.yaml: ",
    ),
]


def edit(file: Path, old: str, new: str) -> None:
    text = file.read_text()
    assert old in text
    file.write_text(text.replace(old, new, 1))


@pytest.mark.parametrize(("file", "old", "new", "reported"), MISTAKES)
def test_a_mistake_is_reported_with_file_and_field(tree: Path, file: str, old: str, new: str, reported: str) -> None:
    edit(tree / file, old, new)
    write_generated(tree)
    name = next((part for part in ("local", "upgrade", "monitoring") if part in file), "production")
    sentences = problems(render(tree, tree / "kuberay/overlays" / name))
    assert any(sentence.startswith(reported) for sentence in sentences), sentences


def test_a_patch_of_a_deployment_that_is_not_there(tree: Path) -> None:
    patch = tree / PRODUCTION / "serve-config.patch.yaml"
    edit(patch, "name: GodelModel", "name: GodelModell")
    words = "serve-config.patch.yaml: applications.godel.deployments: there is no 'GodelModell' to patch"
    with pytest.raises(PatchError, match=re.escape(f"{PRODUCTION}/{words}")):
        write_generated(tree)


@pytest.mark.parametrize("item", ["GodelModel", "", "[GodelModel]", "{name: [GodelModel]}"])
def test_a_patch_of_a_list_by_what_has_no_name(tree: Path, item: str) -> None:
    (tree / PRODUCTION / "serve-config.patch.yaml").write_text(f"applications:\n  - {item}\n")
    reported = f"{PRODUCTION}/serve-config.patch.yaml: applications: there is no "
    with pytest.raises(PatchError, match=re.escape(reported)):
        write_generated(tree)


def test_a_generated_file_edited_by_hand_is_stale(tree: Path) -> None:
    generated = tree / "kuberay/base/serve-config.generated.yaml"
    edit(generated, "0.0.0.0", "127.0.0.1")
    assert list(stale(tree)) == [
        "kuberay/base/serve-config.generated.yaml: is not up to date with serve_config.yaml: run `make manifests`"
    ]
    assert write_generated(tree) == [generated]
    assert list(stale(tree)) == []


def test_an_edit_of_the_one_serve_config_reaches_every_overlay(tree: Path) -> None:
    config = tree / "serve_config.yaml"
    edit(config, "request_timeout_s: 60", "request_timeout_s: 50")
    assert sum("run `make manifests`" in sentence for sentence in stale(tree)) == 4
    write_generated(tree)
    assert check_all(tree) == []


@pytest.mark.parametrize(
    ("file", "old", "new", "reported"),
    [
        (
            f"{PRODUCTION}/rayservice.patch.yaml",
            "Specs/0/maxReplicas",
            "Spec/0/maxReplicas",
            f"{PRODUCTION}/rayservice.patch.yaml: .*doc is missing path: /spec/rayCluster",
        ),
        (
            f"{PRODUCTION}/frontend.patch.yaml",
            "name: frontend\n  namespace",
            "name: fronted\n  namespace",
            f"{PRODUCTION}/frontend.patch.yaml: .*no resource matches",
        ),
        ("configs/kustomization.yaml", "- chatbot.yaml", "- chatbott.yaml", "configs: .*chatbott.yaml"),
        (
            "kuberay/base/frontend-service.yaml",
            "type: ClusterIP",
            "type: Clusterip",
            "kuberay/base/frontend-service.yaml: spec.type: 'Clusterip' is none of .* \\[Service/frontend, base\\]$",
        ),
    ],
)
def test_what_several_overlays_are_made_of_is_reported_once(
    tree: Path, file: str, old: str, new: str, reported: str
) -> None:
    edit(tree / file, old, new)
    (sentence,) = check_all(tree)
    assert re.match(reported, sentence), sentence


def test_a_folder_that_kustomize_cannot_read_is_reported(tree: Path) -> None:
    """And a file among the overlays is none of them."""
    (tree / "kuberay/overlays/gpu/rayservice.patch.yaml").unlink()
    (tree / "kuberay/overlays/mine").mkdir()
    (tree / "kuberay/overlays/README.md").write_text("What is here.\n")
    reported = dict(sentence.split(": ", 1) for sentence in check_all(tree))
    assert reported.keys() == {"kuberay/overlays/gpu", "kuberay/overlays/mine"}
    assert "rayservice.patch.yaml" in reported["kuberay/overlays/gpu"]
    assert "kustomization.yaml" in reported["kuberay/overlays/mine"]


def test_what_is_not_yaml_is_reported_with_the_line(tree: Path) -> None:
    assert list(unreadable(tree)) == []
    patch = tree / PRODUCTION / "serve-config.patch.yaml"
    edit(patch, "num_replicas: 2", "num_replicas: [2")
    assert list(unreadable(tree)) == [
        f"{PRODUCTION}/serve-config.patch.yaml: line 9: is not YAML: expected ',' or ']', but got ':'"
    ]


def test_what_is_not_text_is_reported(tree: Path) -> None:
    (tree / PRODUCTION / "serve-config.patch.yaml").write_bytes(b"# caf\xe9\n")
    (tree / "configs/kustomization.yaml").write_text("resources: [\x00]\n")
    one, other = sorted(unreadable(tree))
    assert one.startswith("configs/kustomization.yaml: is not YAML: unacceptable character")
    assert other.startswith(f"{PRODUCTION}/serve-config.patch.yaml: is not YAML: 'utf-8' codec can't decode")


def test_the_command_knows_its_overlays(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        command.main(["--print", "prodution"])
    assert "choose from" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("name", "instead", "words"),
    [
        ("kubectl", lambda: None, "kubectl; neither this environment nor the PATH has one"),
        ("CRD", Path("/nonexistent"), "`make crds` brings it"),
    ],
)
def test_the_command_says_what_it_lacks(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], name: str, instead: object, words: str
) -> None:
    monkeypatch.setattr(command, name, instead)
    assert command.main(["--check"]) == 2
    assert words in capsys.readouterr().out
