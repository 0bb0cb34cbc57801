"""Every overlay renders, passes every check, and is what it says it is."""

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml

from manifest_checks.__main__ import main, problems, stale
from manifest_checks.objects import at, environment, pods, ray_service
from manifest_checks.references import required_secrets, secret_references, selects
from manifest_checks.render import Rendering, kubectl, render
from manifest_checks.serve_schema import application, deployment, serve_config
from tests.support.backend import ROOT

Overlay = Callable[[str], Rendering]
pytestmark = pytest.mark.usefixtures("crd")
NAMES = ("base", "local", "production", "gpu", "monitoring", "upgrade")


def test_every_overlay_is_tested() -> None:
    assert {folder.name for folder in (ROOT / "kuberay/overlays").iterdir()} | {"base"} == set(NAMES)


@pytest.mark.parametrize("name", NAMES)
def test_an_overlay_has_no_problem(overlay: Overlay, name: str) -> None:
    assert problems(overlay(name)) == []


def test_the_pinned_kubectl_renders() -> None:
    """Not another version that happens to be on the PATH."""
    assert kubectl() == str(Path(sys.executable).with_name("kubectl"))


def test_generated_files_are_up_to_date() -> None:
    assert list(stale(ROOT)) == []


def test_the_command_says_that_all_is_well(overlay: Overlay, capsys: pytest.CaptureFixture[str]) -> None:
    overlay("base")  # skipped without kubectl
    assert main(["--check"]) == 0
    assert "No problems in base, gpu, local, monitoring, production, upgrade." in capsys.readouterr().out


@pytest.mark.parametrize("name", NAMES)
def test_the_serve_config_differs_from_the_one_file_only_where_stated(overlay: Overlay, name: str) -> None:
    """Law: what no patch mentions is exactly as in serve_config.yaml."""
    original = yaml.safe_load((ROOT / "serve_config.yaml").read_text())
    rendered = serve_config(ray_service(overlay(name).objects))
    assert rendered["logging_config"] == original["logging_config"]
    assert rendered["http_options"] == original["http_options"] | {"host": "0.0.0.0"}
    stated = {"chat_config", *{"local": ("model", "fallback_model"), "gpu": ("slots",)}.get(name, ())}
    args = application(rendered)["args"]
    assert {key for key, value in args.items() if value != application(original)["args"][key]} == stated
    autoscaling = deployment(rendered, "GodelModel")["autoscaling_config"]
    for key in ("upscale_delay_s", "downscale_delay_s", "look_back_period_s", "metrics_interval_s"):
        assert autoscaling[key] == deployment(original, "GodelModel")["autoscaling_config"][key]


def test_local_needs_no_secret(overlay: Overlay) -> None:
    assert [each for obj in overlay("local").objects for each in secret_references(obj)] == []


def test_production_needs_exactly_the_listed_secrets(overlay: Overlay) -> None:
    rendering = overlay("production")
    used = {(name, key) for obj in rendering.objects for _, name, key in secret_references(obj)}
    assert used == {(name, key) for name, keys in required_secrets(rendering.folder).items() for key in keys}


def test_production_survives_one_of_everything(overlay: Overlay) -> None:
    objects = overlay("production").objects
    config = serve_config(ray_service(objects))
    assert deployment(config, "Ingress")["num_replicas"] >= 2
    assert deployment(config, "GodelModel")["autoscaling_config"]["min_replicas"] >= 2
    assert deployment(config, "GodelModel")["max_replicas_per_node"] == 1
    assert "redisAddress" in ray_service(objects)["spec"]["rayClusterConfig"]["gcsFaultToleranceOptions"]
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


def test_upgrades_move_the_frontend_to_the_gateway(overlay: Overlay) -> None:
    frontend = next(pod for pod in pods(overlay("upgrade").objects) if pod.role == "deployment")
    variables = environment(frontend.containers[0])
    assert variables["FRONTEND_BACKEND_URL"]["value"] == "http://godel-gateway-istio:80"


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


def test_the_load_balancer_can_be_added_to_an_overlay(overlay: Overlay, tree: Path) -> None:
    overlay("base")
    kustomization = tree / "kuberay/overlays/production/kustomization.yaml"
    kustomization.write_text(kustomization.read_text() + "components: [../../components/load-balancer]\n")
    rendering = render(tree, kustomization.parent)
    assert problems(rendering) == []
    services = {
        obj["metadata"]["name"]: obj["spec"].get("type") for obj in rendering.objects if obj["kind"] == "Service"
    }
    assert services["frontend-public"] == "LoadBalancer"
    assert services["frontend"] == "ClusterIP"


def test_images_can_be_pinned_by_digest(overlay: Overlay, tree: Path) -> None:
    """As the guide says."""
    overlay("base")
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
    overlay("base")
    assert main(["--print", "local"]) == 0
    command = [str(kubectl()), "kustomize", str(ROOT / "kuberay/overlays/local")]
    by_kubectl = subprocess.run(command, capture_output=True, text=True, check=True)
    assert capfd.readouterr().out == by_kubectl.stdout
