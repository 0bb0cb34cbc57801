"""Every overlay renders, passes every check, and is what it says it is."""

import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml

from manifest_checks.__main__ import main, problems
from manifest_checks.objects import at, identity, pods, ray_service, without_nulls
from manifest_checks.references import EVERY_KEY, secret_references, selects
from manifest_checks.render import Rendering, kubectl, render
from manifest_checks.serve_schema import application, deployment, serve_config
from tests.support.backend import ROOT

Overlay = Callable[[str], Rendering]
NAMES = ("base", "local", "production", "gpu", "monitoring", "upgrade")


def test_the_pinned_kubectl_renders() -> None:
    """Not another version that happens to be on the PATH."""
    assert kubectl() == str(Path(sys.executable).with_name("kubectl"))


def test_the_command_finds_no_problem(overlay: Overlay, capsys: pytest.CaptureFixture[str], crd: None) -> None:
    """In any overlay; and the generated files are up to date."""
    found = main(["--check"])
    assert (capsys.readouterr().out, found) == (f"No problems in {', '.join(sorted(NAMES))}.\n", 0)


@pytest.mark.parametrize("name", NAMES)
def test_the_serve_config_differs_from_the_one_file_only_where_stated(overlay: Overlay, name: str) -> None:
    """Law: what no patch mentions is exactly as in serve_config.yaml."""
    original = yaml.safe_load((ROOT / "serve_config.yaml").read_text())
    rendered = serve_config(ray_service(overlay(name).objects))
    assert rendered["logging_config"] == original["logging_config"]
    assert rendered["http_options"] == original["http_options"] | {"host": "0.0.0.0"}
    stated = {"base": (), "local": ("model", "fallback_model"), "gpu": ("keys", "slots")}.get(name, ("keys",))
    args = application(rendered)["args"]
    changed = {key for key, value in args.items() if value != application(original)["args"].get(key)}
    assert changed == {"chat_config", *stated}
    autoscaling = deployment(rendered, "GodelModel")["autoscaling_config"]
    for key in ("upscale_delay_s", "downscale_delay_s", "look_back_period_s", "metrics_interval_s"):
        assert autoscaling[key] == deployment(original, "GodelModel")["autoscaling_config"][key]


def test_local_needs_no_secret(overlay: Overlay) -> None:
    assert [each for obj in overlay("local").objects for each in secret_references(obj)] == []


def test_production_asks_for_api_keys(overlay: Overlay) -> None:
    """Of the frontend too, whose key and its hash are in two Secrets: neither pod can read the other's."""
    objects = overlay("production").objects
    needed = {(identity(obj), name, key) for obj in objects for _, name, key in secret_references(obj)}
    assert ("RayService/godel", "api-keys", EVERY_KEY) in needed
    assert ("Deployment/frontend", "frontend", "backend-key") in needed
    assert application(serve_config(ray_service(objects)))["args"]["keys"] == "/etc/godel-keys"


def test_production_survives_one_of_everything(overlay: Overlay) -> None:
    objects = overlay("production").objects
    service = ray_service(objects)
    model = deployment(serve_config(service), "GodelModel")
    assert model["autoscaling_config"]["min_replicas"] >= 2
    assert model["max_replicas_per_node"] == 1
    assert "redisAddress" in service["spec"]["rayClusterConfig"]["gcsFaultToleranceOptions"]
    frontend = next(obj for obj in objects if obj["kind"] == "Deployment")
    assert frontend["spec"]["replicas"] >= 2
    budgets = [obj["spec"]["minAvailable"] for obj in objects if obj["kind"] == "PodDisruptionBudget"]
    assert budgets == [1, 1]


@pytest.mark.parametrize("name", ["production", "gpu", "monitoring", "upgrade"])
def test_two_ingresses_are_on_two_nodes(overlay: Overlay, name: str) -> None:
    """One at most in a worker, and no two workers of a cluster on one node of Kubernetes; none runs in the head."""
    service = ray_service(overlay(name).objects)
    ingress = deployment(serve_config(service), "Ingress")
    assert ingress["num_replicas"] >= 2
    assert ingress["max_replicas_per_node"] == 1
    assert ingress["ray_actor_options"]["num_cpus"] > 0, "the head offers none"
    head, worker = pods([service])
    assert at(head.group, "rayStartParams", "num-cpus") == "0"
    assert at(worker.group, "minReplicas") >= ingress["num_replicas"]
    (apart,) = at(worker.spec, "affinity", "podAntiAffinity", "requiredDuringSchedulingIgnoredDuringExecution")
    assert apart["topologyKey"] == "kubernetes.io/hostname"
    assert apart["matchLabelKeys"] == ["ray.io/cluster"]
    assert selects(apart["labelSelector"], worker.labels)
    assert not selects(apart["labelSelector"], head.labels)


@pytest.mark.parametrize("name", NAMES)
def test_only_local_opens_a_port_of_the_node(overlay: Overlay, name: str) -> None:
    """It would be plain HTTP, past whatever ends TLS; production's cookies go over HTTPS only."""
    services = [obj["spec"] for obj in overlay(name).objects if obj["kind"] == "Service"]
    opened = [(each["type"], port["nodePort"]) for each in services for port in each["ports"] if "nodePort" in port]
    assert opened == ([("NodePort", 30080)] if name == "local" else [])
    assert name == "local" or {each.get("type", "ClusterIP") for each in services} == {"ClusterIP"}


def test_gpu_workers_have_gpus_and_the_cuda_image(overlay: Overlay) -> None:
    head, worker = (pod.containers[0] for pod in pods(overlay("gpu").objects) if pod.group)
    assert at(worker, "resources", "limits", "nvidia.com/gpu") == 1
    assert worker["image"] == head["image"] + "-cuda"


def test_the_chat_config_is_the_repositorys(overlay: Overlay) -> None:
    """And its name has no hash, so that an edit does not replace the cluster."""
    chatbot = next(obj for obj in overlay("base").objects if obj["kind"] == "ConfigMap")
    assert chatbot["metadata"]["name"] == "chatbot"
    assert chatbot["data"] == {"chatbot.yaml": (ROOT / "configs/chatbot.yaml").read_text()}


def test_images_carry_the_projects_version(overlay: Overlay) -> None:
    version = next(line for line in (ROOT / "pyproject.toml").read_text().splitlines() if line.startswith("version"))
    wanted = version.split('"')[1]
    for name in NAMES:
        for pod in pods(overlay(name).objects):
            for container in pod.containers:
                if container["image"].startswith("godel-"):
                    assert container["image"].split(":")[1].removesuffix("-cuda") == wanted


def production_with(tree: Path, component: str) -> Rendering:
    kustomization = tree / "kuberay/overlays/production/kustomization.yaml"
    kustomization.write_text(kustomization.read_text() + f"components: [../../components/{component}]\n")
    return render(tree, kustomization.parent)


def test_the_load_balancer_can_be_added_to_an_overlay(tree: Path, crd: None) -> None:
    rendering = production_with(tree, "load-balancer")
    assert problems(rendering) == []
    services = {
        obj["metadata"]["name"]: obj["spec"].get("type") for obj in rendering.objects if obj["kind"] == "Service"
    }
    assert services["frontend-public"] == "LoadBalancer"
    assert services["frontend"] == "ClusterIP"


def test_tracing_can_be_added_to_an_overlay(tree: Path, crd: None) -> None:
    """Who sends spans may reach the collector that it is told of: where that is, the manifest says twice."""
    rendering = production_with(tree, "tracing")
    assert problems(rendering) == []
    collectors = {
        container["name"]: variable["value"]
        for pod in pods(rendering.objects)
        for container in pod.containers
        for variable in container.get("env", [])
        if variable["name"] == "OTEL_EXPORTER_OTLP_ENDPOINT"
    }
    assert collectors == dict.fromkeys(("frontend", "ray-worker"), "http://otel-collector.observability:4318")
    (policy,) = [each["spec"] for each in rendering.objects if each["metadata"]["name"] == "traces"]
    (way,) = policy["egress"]
    assert way["to"][0]["namespaceSelector"]["matchLabels"] == {"kubernetes.io/metadata.name": "observability"}
    assert way["ports"] == [{"protocol": "TCP", "port": 4318}]


def test_images_can_be_pinned_by_digest(tree: Path, crd: None) -> None:
    """As the guide says."""
    kustomization = tree / "kuberay/overlays/production/kustomization.yaml"
    digests = {name: f"sha256:{number:064x}" for number, name in enumerate(("postgres", "redis", "godel-backend"))}
    images = [{"name": name, "newName": f"host:5000/{name}", "digest": digests[name]} for name in digests]
    kustomization.write_text(kustomization.read_text() + yaml.safe_dump({"images": images}))
    rendering = render(tree, kustomization.parent)
    assert problems(rendering) == []
    rendered = {container["image"] for pod in pods(rendering.objects) for container in pod.containers}
    assert rendered - {"godel-frontend:0.1.0"} == {f"host:5000/{name}@{digest}" for name, digest in digests.items()}


def test_one_resource_a_file() -> None:
    for file in (ROOT / "kuberay").rglob("*.yaml"):
        assert len(list(yaml.safe_load_all(file.read_text()))) == 1, file


def test_every_patch_is_explained() -> None:
    """Each patch file opens with the reason for it."""
    for file in (ROOT / "kuberay").rglob("*.patch.yaml"):
        assert file.read_text().startswith("# "), file


def test_an_overlay_can_be_printed(overlay: Overlay, capfd: pytest.CaptureFixture[str]) -> None:
    assert main(["--print", "local"]) == 0
    printed = yaml.safe_load_all(capfd.readouterr().out)
    assert [without_nulls(obj) for obj in printed] == overlay("local").objects
