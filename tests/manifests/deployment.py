"""The pods of a rendered overlay, run on a Machine: what the operator and the kubelet make of the manifests."""

import os
import shutil
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import requests

from tests.backend import ROOT
from tests.manifests import dockerfile, kuberay_pods
from tests.manifests.machine import Machine, RunningPod, Volume, config_map
from tools.manifests.objects import Object, Pod, at, pods, ray_service
from tools.manifests.render import Rendering

TOKEN = "0123456789abcdef0123456789abcdef"
PROBE_PAUSE_S = 0.5


@dataclass
class Image:
    """The files and the environment that a Dockerfile's last stage gives to its containers."""

    folder: Path
    environment: dict[str, str]
    workdir: str


def build(file: Path, target: str, folder: Path) -> Image:
    """What the Dockerfile copies from the repository, laid out as in the image; its packages are this machine's."""
    stages = {stage.name: stage for stage in dockerfile.read(file)}
    environment: dict[str, str] = {}
    for stage in dockerfile.chain(list(stages.values()), target):
        for key, value in stage.environment.items():
            environment[key] = value.replace("$PATH", "/usr/sbin:/usr/bin:/sbin:/bin")
        for copy in stage.copies:
            if copy.stage and copy.target == stages[copy.stage].workdir:
                _copy_context(stages[copy.stage], folder)
            elif copy.target != "/opt/venv":
                (folder / copy.target.lstrip("/")).mkdir(parents=True, exist_ok=True)
    path = f"{Path(sys.executable).parent}:/usr/sbin:/usr/bin:/sbin:/bin"
    last = dockerfile.chain(list(stages.values()), target)
    workdir = next(stage.workdir for stage in reversed(last) if stage.workdir != "/")
    return Image(folder, environment | {"PATH": path, "HOME": "/home/nobody"}, workdir)


def _copy_context(stage: dockerfile.Stage, folder: Path) -> None:
    for copy in stage.copies:
        for source in copy.sources:
            target = folder / stage.workdir.lstrip("/") / copy.target
            target.parent.mkdir(parents=True, exist_ok=True)
            if (ROOT / source).is_dir():
                shutil.copytree(ROOT / source, target, ignore=shutil.ignore_patterns("__pycache__"))
            else:
                shutil.copy(ROOT / source, target)
    for path in [folder, *folder.rglob("*")]:  # as the Dockerfile's chmod -R a+rX
        path.chmod(0o755 if path.is_dir() else 0o644)


@dataclass
class Deployment:
    rendering: Rendering
    machine: Machine
    backend_image: Image
    frontend_image: Image
    config_maps: dict[str, Path] = field(default_factory=dict)

    @property
    def service(self) -> Object:
        return ray_service(self.rendering.objects)

    def template(self, role: str) -> Pod:
        return next(pod for pod in pods(self.rendering.objects) if pod.role == role)

    def mount_config_maps(self) -> None:
        for obj in self.rendering.objects:
            if obj["kind"] == "ConfigMap":
                name = obj["metadata"]["name"]
                self.config_maps[name] = self.machine.folder / f"configmap-{name}"
                config_map(self.config_maps[name], obj["data"])

    def place(self, role: str, name: str) -> RunningPod:
        security = self.template(role).spec["securityContext"]
        return self.machine.pod(name, security["runAsUser"], security["runAsGroup"])

    def start(self, role: str, pod: RunningPod) -> None:
        """Start a placed pod with the command and environment of its template."""
        template = self.template(role)
        container = template.containers[0]
        image = self.frontend_image if template.group is None else self.backend_image
        given = self._environment(template, pod)
        if template.group is None:
            command = container["command"]
        else:
            head = kuberay_pods.head_service(self.service)
            given |= kuberay_pods.environment(template, head, pod.name, TOKEN)
            command = kuberay_pods.command(template, head)
        self.machine.start(
            pod, image.folder, command, image.environment | given, self._volumes(template, pod), image.workdir
        )

    def _environment(self, template: Pod, pod: RunningPod) -> dict[str, str]:
        fields = {"metadata.name": pod.name, "spec.nodeName": f"node-of-{pod.name}"}
        result = {}
        for variable in template.containers[0].get("env", []):
            path = at(variable, "valueFrom", "fieldRef", "fieldPath")
            result[variable["name"]] = fields[path] if path else variable["value"]
        return result

    def _volumes(self, template: Pod, pod: RunningPod) -> list[Volume]:
        volumes = {volume["name"]: volume for volume in template.spec.get("volumes", [])}
        mounts = sorted(template.containers[0].get("volumeMounts", []), key=lambda mount: len(mount["mountPath"]))
        return [self._volume(volumes[mount["name"]], mount, pod) for mount in mounts]

    def _volume(self, volume: Object, mount: Object, pod: RunningPod) -> Volume:
        if "configMap" in volume:
            return Volume(mount["mountPath"], self.config_maps[volume["configMap"]["name"]], writable=False)
        folder = self.machine.folder / f"volume-{pod.name}-{volume['name']}"
        folder.mkdir(exist_ok=True)
        os.chown(folder, pod.user, pod.group)  # what fsGroup is for
        return Volume(mount["mountPath"], folder, writable=True)

    def probe(self, role: str, pod: RunningPod, kind: str) -> str | None:
        """Run a probe once, exactly as written. Why it fails, or None."""
        probe = self.template(role).containers[0][f"{kind}Probe"]
        port = probe["httpGet"]["port"]
        if isinstance(port, str):
            ports = self.template(role).containers[0]["ports"]
            port = next(each["containerPort"] for each in ports if each["name"] == port)
        url = f"http://{pod.address}:{port}{probe['httpGet']['path']}"
        try:
            status = requests.get(url, timeout=probe["timeoutSeconds"]).status_code
        except requests.RequestException as error:
            return type(error).__name__
        return None if 200 <= status < 400 else str(status)

    def wait(self, role: str, pod: RunningPod, kind: str, within_s: float) -> None:
        """Until the probe passes, as the kubelet would."""
        wait_for(lambda: self.probe(role, pod, kind) is None or _ended(pod), within_s, f"{kind} of {pod.name}", pod)

    def dashboard(self, method: str, path: str, head: RunningPod, body: Any = None) -> requests.Response:
        """What the operator asks of the head."""
        headers = {"Authorization": f"Bearer {TOKEN}"}
        return requests.request(
            method, f"http://{head.address}:8265{path}", headers=headers, json=body, timeout=30, allow_redirects=False
        )


def wait_for(condition: Callable[[], bool], within_s: float, what: str, pod: RunningPod) -> None:
    deadline = time.monotonic() + within_s
    while not condition():
        if time.monotonic() > deadline:
            raise AssertionError(f"not within {within_s} s: {what}\n{tail(pod)}")
        time.sleep(PROBE_PAUSE_S)


def tail(pod: RunningPod) -> str:
    return pod.log.read_text(errors="replace")[-3000:] if pod.log.exists() else "(no log)"


def _ended(pod: RunningPod) -> bool:
    if not pod.runs:
        raise AssertionError(f"{pod.name} has ended:\n{tail(pod)}")
    return False
