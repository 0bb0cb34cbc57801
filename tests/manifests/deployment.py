"""The pods of a rendered overlay, run on a Machine: what the operator and the kubelet make of the manifests."""

import os
import re
import socket
import subprocess
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import requests

from manifest_checks.objects import Object, Pod, pods, quantity, ray_service
from manifest_checks.render import Rendering
from tests.manifests import kuberay_pods
from tests.manifests.images import Image
from tests.manifests.machine import Machine, RunningPod, Volume, config_map

PROBE_PAUSE_S = 0.5

Secrets = Mapping[str, Mapping[str, str]]  # name -> key -> value


@dataclass
class Deployment:
    """A pod is placed first, which gives it its address, and started later."""

    rendering: Rendering
    machine: Machine
    images: Mapping[str, Image]  # by name without tag
    secrets: Secrets
    config_maps: dict[str, Path] = field(default_factory=dict)
    _templates: dict[str, Pod] = field(default_factory=dict)  # by the name of the pod

    def __post_init__(self) -> None:
        for obj in self.rendering.objects:
            if obj["kind"] == "ConfigMap":
                name = obj["metadata"]["name"]
                self.config_maps[name] = self.machine.folder / f"configmap-{name}"
                config_map(self.config_maps[name], obj["data"])

    @property
    def service(self) -> Object:
        return ray_service(self.rendering.objects)

    def template(self, of: str) -> Pod:
        """`of`: head, worker, or the name of a Deployment or StatefulSet."""
        every = pods(self.rendering.objects)
        return next(pod for pod in every if of == (pod.role if pod.group else pod.owner["metadata"]["name"]))

    def place(self, of: str, name: str) -> RunningPod:
        template = self._templates[name] = self.template(of)
        security = template.spec["securityContext"]
        return self.machine.pod(name, security["runAsUser"], security["runAsGroup"])

    def start(self, pod: RunningPod) -> None:
        """Start a placed pod with the command and environment of its template."""
        template = self._templates[pod.name]
        container = template.containers[0]
        image = self.images[container["image"].partition(":")[0]]
        variables, command = container.get("env", []), container.get("command", image.command)
        if template.group is not None:
            variables = [*variables, *kuberay_pods.environment(template, pod.name)]
            command = kuberay_pods.command(template)
        environment = dict(image.environment)
        for each in variables:
            environment[each["name"]] = _expanded(self._value(each, pod), environment)
        volumes = [*image.mounts, *self._volumes(template, pod)]
        self.machine.start(pod, image.folder, command, environment, volumes, image.workdir)

    def _value(self, variable: Object, pod: RunningPod) -> str:
        source = variable.get("valueFrom", {})
        if "secretKeyRef" in source:
            return self.secrets[source["secretKeyRef"]["name"]][source["secretKeyRef"]["key"]]
        if "fieldRef" in source:
            fields = {"metadata.name": pod.name, "spec.nodeName": f"node-of-{pod.name}"}
            return fields[source["fieldRef"]["fieldPath"]]
        value: str = variable["value"]
        return value

    def _volumes(self, template: Pod, pod: RunningPod) -> list[Volume]:
        volumes = {volume["name"]: volume for volume in template.spec.get("volumes", [])}
        mounts = sorted(template.containers[0].get("volumeMounts", []), key=lambda mount: len(mount["mountPath"]))
        group = template.spec["securityContext"]["fsGroup"]
        return [self._volume(volumes.get(mount["name"], {}), mount, pod, group) for mount in mounts]

    def _volume(self, volume: Object, mount: Object, pod: RunningPod, group: int) -> Volume:
        """A ConfigMap's or Secret's folder, or an empty one; a claim's is empty, too, when it is new."""
        if "configMap" in volume:
            return Volume(mount["mountPath"], self.config_maps[volume["configMap"]["name"]], writable=False)
        if "secret" in volume:
            return Volume(mount["mountPath"], self.secret_folder(volume["secret"]["secretName"]), writable=False)
        folder = self.machine.folder / f"volume-{pod.name}-{mount['name']}"
        folder.mkdir()
        os.chown(folder, 0, group)  # as for fsGroup: root's, and writable for the group
        folder.chmod(0o2775)
        return Volume(mount["mountPath"], folder, writable=True)

    def secret_folder(self, name: str) -> Path:
        """Where a Secret is mounted from; the kubelet writes it as it does a ConfigMap."""
        folder = self.machine.folder / f"secret-{name}"
        if not folder.exists():
            config_map(folder, self.secrets[name])
        return folder

    def probes(self, pod: RunningPod) -> list[str]:
        """The kinds of probes that it has."""
        container = self._templates[pod.name].containers[0]
        return [kind for kind in ("startup", "readiness", "liveness") if f"{kind}Probe" in container]

    def probe(self, pod: RunningPod, kind: str) -> str | None:
        """Run a probe once, exactly as written. Why it fails, or None."""
        container = self._templates[pod.name].containers[0]
        probe, ports = container[f"{kind}Probe"], {each["name"]: each["containerPort"] for each in container["ports"]}
        seconds = probe.get("timeoutSeconds", 1)
        handler = probe.get("httpGet") or probe.get("tcpSocket") or {}
        port = ports.get(handler.get("port"), handler.get("port"))
        try:
            if "exec" in probe:
                status = pod.execute(probe["exec"]["command"], seconds).returncode
                return f"exit status {status}" if status else None
            if "tcpSocket" in probe:
                socket.create_connection((pod.address, port), seconds).close()
                return None
            code = requests.get(f"http://{pod.address}:{port}{handler['path']}", timeout=seconds).status_code
        except (OSError, subprocess.TimeoutExpired) as error:  # requests' own errors are OSErrors, too
            return type(error).__name__
        return None if 200 <= code < 400 else str(code)

    def wait(self, pod: RunningPod, kind: str, within_s: float) -> None:
        """Until the probe passes, as the kubelet would."""
        wait_for(lambda: _runs(pod) and self.probe(pod, kind) is None, within_s, f"{kind} of {pod.name}", pod)

    def grace(self, pod: RunningPod) -> float:
        """Seconds from the request to end until the kubelet ends it by force."""
        seconds: float = self._templates[pod.name].spec["terminationGracePeriodSeconds"]
        return seconds

    def memory_request(self, pod: RunningPod) -> int:
        """Bytes that the scheduler sets aside for it."""
        return int(quantity(self._templates[pod.name].containers[0]["resources"]["requests"]["memory"]))

    @property
    def token(self) -> str:
        """What Ray's processes and the operator show each other."""
        return self.secrets[kuberay_pods.token_secret(self.service)]["auth_token"]


def _expanded(value: str, environment: Mapping[str, str]) -> str:
    """With the variables before it, as the kubelet writes them in: `$(NAME)`."""
    return re.sub(r"\$\((\w+)\)", lambda match: environment.get(match[1], match[0]), value)


def wait_for(condition: Callable[[], bool], within_s: float, what: str, pod: RunningPod) -> None:
    deadline = time.monotonic() + within_s
    while not condition():
        if time.monotonic() > deadline:
            raise AssertionError(f"not within {within_s} s: {what}\n{tail(pod)}")
        time.sleep(PROBE_PAUSE_S)


def tail(pod: RunningPod) -> str:
    return pod.log.read_text(errors="replace")[-3000:] if pod.log.exists() else "(no log)"


def _runs(pod: RunningPod) -> bool:
    if not pod.runs:
        raise AssertionError(f"{pod.name} has ended:\n{tail(pod)}")
    return True
