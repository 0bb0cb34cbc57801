"""A mistake in a file is told with that file and the field, by the command that people run."""

import re
from collections.abc import Callable
from pathlib import Path

import pytest

from manifest_checks import __main__ as command
from manifest_checks.__main__ import check_all, problems, stale, unreadable, write_generated
from manifest_checks.render import Rendering, render
from manifest_checks.serve_config import PatchError

Overlay = Callable[[str], Rendering]
LOCAL, PRODUCTION, MONITORING = (f"kuberay/overlays/{name}" for name in ("local", "production", "monitoring"))

MISTAKES = [
    (  # a wrong value in an overlay's patch, of either kind
        f"{PRODUCTION}/frontend.patch.yaml",
        '"true"',
        '"yes please"',
        f"{PRODUCTION}/frontend.patch.yaml: spec.template.spec.containers.frontend.env.FRONTEND_SECURE_COOKIE.value: ",
    ),
    (
        f"{PRODUCTION}/frontend.patch.yaml",
        "replicas: 3",
        "replicas: three",
        f"{PRODUCTION}/frontend.patch.yaml: spec.replicas: 'three' is not",
    ),
    (
        f"{PRODUCTION}/rayservice.patch.yaml",
        "value: 6",
        "value: 1",
        f"{PRODUCTION}/serve-config.patch.yaml: "
        "spec.serveConfigV2.applications.godel.deployments.GodelModel.autoscaling_config.max_replicas: up to 6",
    ),
    (
        "kuberay/overlays/local/rayservice.patch.yaml",
        "maxReplicas\n  value: 2",
        "maxReplicas\n  value: 0",
        "kuberay/base/rayservice.yaml: spec.rayClusterConfig.workerGroupSpecs.model.minReplicas: 1 is more than",
    ),
    (
        "kuberay/overlays/upgrade/rayservice.patch.yaml",
        "stepSizePercent: 10",
        "stepSizePercent: 30",
        "kuberay/overlays/upgrade/rayservice.patch.yaml: "
        "spec.upgradeStrategy.clusterUpgradeOptions.stepSizePercent: 30 is more than maxSurgePercent, 25",
    ),
    (
        f"{PRODUCTION}/serve-config.patch.yaml",
        "min_replicas: 2",
        "min_replicas: -2",
        f"{PRODUCTION}/serve-config.patch.yaml: "
        "spec.serveConfigV2.applications.godel.deployments.GodelModel.autoscaling_config.min_replicas: ",
    ),
    (
        f"{LOCAL}/frontend.patch.yaml",
        "sqlite:////data/",
        "sqlite:////date/",
        f"{LOCAL}/frontend.patch.yaml: spec.template.spec.containers.frontend.env.FRONTEND_DATABASE_URL.value: "
        "no volume is mounted at /date; there is /data",
    ),
    (
        f"{LOCAL}/frontend.patch.yaml",
        "replicas: 1",
        "replicas: 2",
        f"{LOCAL}/frontend.patch.yaml: spec.replicas: 2, but a SQLite file has one user",
    ),
    (
        f"{LOCAL}/serve-config.patch.yaml",
        "models/mini",
        "models/mimi",
        f"{LOCAL}/serve-config.patch.yaml: spec.serveConfigV2.applications.godel.args.model: there is no folder",
    ),
    (
        f"{MONITORING}/godel-prometheusrule.yaml",
        "for: 2m",
        "for: 2 minutes",
        f"{MONITORING}/godel-prometheusrule.yaml: spec.groups.godel.rules.0.for: '2 minutes' is no duration, such as",
    ),
    (
        f"{MONITORING}/godel-prometheusrule.yaml",
        "ray_godel_waiting_requests",
        "ray_godel_wating",
        f"{MONITORING}/godel-prometheusrule.yaml: spec.groups.godel.rules.6.expr: "
        "neither Ray nor serve_app/metrics.py nor frontend/metrics.py has a metric 'ray_godel_wating'",
    ),
    (
        f"{MONITORING}/dashboard.json",
        "ray_godel_active_requests)",
        "ray_godel_active",
        f"{MONITORING}/dashboard.json: data.godel.json.panels.10.targets.0.expr: is not PromQL: ",
    ),
    (
        f"{MONITORING}/ray-head-podmonitor.yaml",
        "interval: 15s",
        "intervall: 15s",
        f"{MONITORING}/ray-head-podmonitor.yaml: spec.podMetricsEndpoints.0: Additional properties are not allowed",
    ),
    (
        "kuberay/base/frontend-service.yaml",
        "app.kubernetes.io/name: frontend\n  ports",
        "app.kubernetes.io/name: front\n  ports",
        "kuberay/base/frontend-service.yaml: spec.selector: no pod has the labels",
    ),
    (  # a wrong value in the one serve config
        "serve_config.yaml",
        "slots: 16",
        "slots: 0",
        "serve_config.yaml: spec.serveConfigV2.applications.godel.args.slots: Input should be greater than",
    ),
    (  # a missing secret
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
    (  # what another check would fail on
        "kuberay/base/frontend-networkpolicy.yaml",
        "- {protocol: TCP, port: 8080}",
        "-",
        "kuberay/base/frontend-networkpolicy.yaml: spec.ingress.0.ports.0: is empty",
    ),
    (
        f"{PRODUCTION}/redis-networkpolicy.yaml",
        "operator: In,",
        "operator: Within,",
        f"{PRODUCTION}/redis-networkpolicy.yaml: spec.ingress.0.from.0.podSelector.matchExpressions.0.operator: "
        "'Within' is none of In, NotIn, Exists, DoesNotExist",
    ),
    (
        f"{PRODUCTION}/rayservice.patch.yaml",
        'value: "4"',
        "value: four",
        f"{PRODUCTION}/rayservice.patch.yaml: spec.rayClusterConfig.workerGroupSpecs.model.template.spec.containers."
        "ray-worker.resources.requests.cpu: 'four' is no quantity",
    ),
    (
        "serve_config.yaml",
        "port: 8000",
        'port: "8000"',
        "serve_config.yaml: spec.serveConfigV2.http_options.port: Input should be a valid integer, not '8000'",
    ),
    (  # a ConfigMap key misspelt, in the file's name and within the file
        "configs/kustomization.yaml",
        "- chatbot.yaml",
        "- chatbot.yml=chatbot.yaml",
        "spec.serveConfigV2.applications.godel.args.chat_config: ConfigMap chatbot has no key 'chatbot.yaml'; "
        "it has chatbot.yml",
    ),
    (
        "configs/chatbot.yaml",
        "\nknowledge:",
        "\nknowlege:",
        "configs/chatbot.yaml: knowlege: there is no such setting",
    ),
    (
        "configs/chatbot.yaml",
        "max_length: 128",
        "max_length: 1000",
        "configs/chatbot.yaml: generation.max_length: 1000 is more than max_reply_tokens, 256",
    ),
    (
        "configs/chatbot.yaml",
        "max_length: 128",
        "max_lenght: 128",
        "configs/chatbot.yaml: generation.max_lenght: there is no such setting",
    ),
    (
        "configs/chatbot.yaml",
        "max_turns: 10",
        "max_turns: ten",
        "configs/chatbot.yaml: history.max_turns: ",
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


@pytest.mark.parametrize(("file", "old", "new", "told"), MISTAKES)
def test_a_mistake_is_told_with_file_and_field(
    overlay: Overlay, tree: Path, file: str, old: str, new: str, told: str
) -> None:
    overlay("base")  # skipped without kubectl
    edit(tree / file, old, new)
    write_generated(tree)
    name = next((part for part in ("local", "upgrade", "monitoring") if part in file), "production")
    sentences = problems(render(tree, tree / "kuberay/overlays" / name))
    assert any(told in sentence for sentence in sentences), sentences


def test_a_knowledge_that_is_too_long_names_the_limit(overlay: Overlay, tree: Path) -> None:
    overlay("base")
    chatbot = tree / "configs/chatbot.yaml"
    edit(chatbot, "knowledge: |\n", "knowledge: |\n" + "  Too much.\n" * 100_000)
    sentences = problems(render(tree, tree / "kuberay/base"))
    told = [sentence for sentence in sentences if sentence.startswith("configs/chatbot.yaml: data.chatbot.yaml")]
    assert re.search(r"[\d,]+ bytes; all values of a ConfigMap may have 1,048,576: shorten `knowledge`", told[0])


def test_a_patch_of_a_deployment_that_is_not_there(tree: Path) -> None:
    patch = tree / PRODUCTION / "serve-config.patch.yaml"
    edit(patch, "name: GodelModel", "name: GodelModell")
    told = f"{PRODUCTION}/serve-config.patch.yaml: applications.godel.deployments: there is no 'GodelModell' to patch"
    with pytest.raises(PatchError, match=re.escape(told)):
        write_generated(tree)


@pytest.mark.parametrize("item", ["GodelModel", "", "[GodelModel]", "{name: [GodelModel]}"])
def test_a_patch_of_a_list_by_what_has_no_name(tree: Path, item: str) -> None:
    (tree / PRODUCTION / "serve-config.patch.yaml").write_text(f"applications:\n  - {item}\n")
    told = f"{PRODUCTION}/serve-config.patch.yaml: applications: there is no "
    with pytest.raises(PatchError, match=re.escape(told)):
        write_generated(tree)


def test_a_generated_file_edited_by_hand_is_stale(tree: Path) -> None:
    generated = tree / "kuberay/base/serve-config.generated.yaml"
    edit(generated, "0.0.0.0", "127.0.0.1")
    assert list(stale(tree)) == [
        "kuberay/base/serve-config.generated.yaml: is not up to date with serve_config.yaml: run `make manifests`"
    ]
    assert write_generated(tree) == [generated]
    assert list(stale(tree)) == []


def test_an_edit_of_the_one_serve_config_reaches_every_overlay(overlay: Overlay, tree: Path) -> None:
    overlay("base")
    config = tree / "serve_config.yaml"
    edit(config, "request_timeout_s: 60", "request_timeout_s: 50")
    assert sum("run `make manifests`" in sentence for sentence in stale(tree)) == 4
    write_generated(tree)
    assert check_all(tree) == []


def test_what_kustomize_cannot_read_is_told_with_the_overlay(overlay: Overlay, tree: Path) -> None:
    overlay("base")
    (tree / "kuberay/overlays/gpu/rayservice.patch.yaml").unlink()
    told = [sentence for sentence in check_all(tree) if sentence.startswith("kuberay/overlays/gpu: ")]
    assert "rayservice.patch.yaml" in told[0]


def test_a_folder_without_a_kustomization_is_told(overlay: Overlay, tree: Path) -> None:
    """And a file among the overlays is none of them."""
    overlay("base")
    (tree / "kuberay/overlays/mine").mkdir()
    (tree / "kuberay/overlays/README.md").write_text("What is here.\n")
    (sentence,) = check_all(tree)
    assert sentence.startswith("kuberay/overlays/mine: ")
    assert "kustomization.yaml" in sentence


@pytest.mark.parametrize(
    ("file", "old", "new", "told"),
    [
        ("rayservice.patch.yaml", "Specs/0/maxReplicas", "Spec/0/maxReplicas", "doc is missing path: /spec/rayCluster"),
        ("frontend.patch.yaml", "name: frontend\n  namespace", "name: fronted\n  namespace", "no resource matches"),
    ],
)
def test_a_patch_of_what_is_not_there_is_told_once_with_its_file(
    overlay: Overlay, tree: Path, file: str, old: str, new: str, told: str
) -> None:
    """Four overlays are made of production; what it cannot do is not told of each."""
    overlay("base")
    patch = tree / PRODUCTION / file
    edit(patch, old, new)
    (sentence,) = check_all(tree)
    assert sentence.startswith(f"{PRODUCTION}/{file}: ")
    assert told in sentence


def test_a_mistake_in_the_base_is_told_once(overlay: Overlay, tree: Path) -> None:
    overlay("base")
    service = tree / "kuberay/base/frontend-service.yaml"
    edit(service, "type: ClusterIP", "type: Clusterip")
    (sentence,) = check_all(tree)
    assert sentence.startswith("kuberay/base/frontend-service.yaml: spec.type: 'Clusterip' is none of")
    assert sentence.endswith("[Service/frontend, base]")


def test_a_file_that_the_kustomization_misspells_is_told_of_its_folder(overlay: Overlay, tree: Path) -> None:
    overlay("base")
    kustomization = tree / "configs/kustomization.yaml"
    edit(kustomization, "- chatbot.yaml", "- chatbott.yaml")
    (sentence,) = check_all(tree)
    assert sentence.startswith("configs: ")
    assert "chatbott.yaml" in sentence


def test_what_is_not_yaml_is_told_with_the_line(tree: Path) -> None:
    assert list(unreadable(tree)) == []
    patch = tree / PRODUCTION / "serve-config.patch.yaml"
    edit(patch, "num_replicas: 2", "num_replicas: [2")
    assert list(unreadable(tree)) == [
        f"{PRODUCTION}/serve-config.patch.yaml: line 7: is not YAML: expected ',' or ']', but got ':'"
    ]


def test_what_is_not_text_is_told(tree: Path) -> None:
    (tree / PRODUCTION / "serve-config.patch.yaml").write_bytes(b"# caf\xe9\n")
    (tree / "configs/kustomization.yaml").write_text("resources: [\x00]\n")
    one, other = sorted(unreadable(tree))
    assert one.startswith("configs/kustomization.yaml: is not YAML: unacceptable character")
    assert other.startswith(f"{PRODUCTION}/serve-config.patch.yaml: is not YAML: 'utf-8' codec can't decode")


def test_the_command_knows_its_overlays(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        command.main(["--print", "prodution"])
    assert "choose from" in capsys.readouterr().err


def test_the_command_fails_and_says_what_without_kubectl(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(command, "kubectl", lambda: None)
    assert command.main([]) == 2
    assert "kubectl; neither this environment nor the PATH has one" in capsys.readouterr().out
