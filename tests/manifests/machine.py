"""Pods without Kubernetes: each a process tree with a network, a file system and a user of its own on this machine.

A pod gets what a container runtime and a kubelet give it: a network namespace on a common bridge, a process namespace,
a root file system that holds the image's files and is read-only, its volumes, the image's and the manifest's
environment, the manifest's user without any capability. Needs root, Linux, iproute2 and util-linux.
"""

import os
import secrets
import shutil
import signal
import subprocess
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import psutil

from tests.manifests.cluster_dns import Dns

PROGRAMS = ("ip", "unshare", "nsenter", "setpriv", "chroot", "mount")

# Runs in the pod's namespaces, as root. $1: the pod's folder, $2: user, $3: group; the rest is the command.
# The lower layer is this machine (its Python and packages); the image's own files lie over it.
_ENTER = r"""
set -e
pod=$1 user=$2 group=$3; shift 3
root=$pod/root
mount -t overlay overlay -o "lowerdir=/,upperdir=$pod/image,workdir=$pod/work" "$root"
mount -t proc proc "$root/proc"
mount --rbind /sys "$root/sys"
mount --rbind /dev "$root/dev"
while read -r source target mode; do
  mkdir -p "$root$target"
  mount --bind "$source" "$root$target"
  [ "$mode" = rw ] || mount -o remount,bind,ro "$root$target"
done < "$pod/volumes"
for file in hosts resolv.conf; do mount --bind "$pod/$file" "$root/etc/$file"; done
mount -o remount,ro "$root"
hostname "$(basename "$pod")"
cd "$root"
exec chroot "$root" /usr/bin/setpriv --reuid="$user" --regid="$group" --clear-groups --no-new-privs \
  --inh-caps=-all --ambient-caps=-all --bounding-set=-all -- /bin/sh -c 'cd "$WORKDIR" && exec "$@"' sh "$@"
"""


def missing() -> str | None:
    """Why pods cannot be run here, or None."""
    if os.name != "posix" or not hasattr(os, "geteuid") or os.geteuid() != 0:
        return "only root can make network namespaces"
    absent = [name for name in PROGRAMS if shutil.which(name) is None]
    if absent:
        return f"not installed: {', '.join(absent)}"
    probe = subprocess.run(["unshare", "--mount", "--net", "--pid", "--fork", "true"], capture_output=True, check=False)
    return "this machine allows no namespaces" if probe.returncode else None


@dataclass(frozen=True)
class Volume:
    target: str
    source: Path
    writable: bool


@dataclass
class RunningPod:
    name: str
    address: str
    namespace: str
    folder: Path
    environment: dict[str, str]
    user: int
    group: int
    process: subprocess.Popen[bytes] | None = None

    @property
    def log(self) -> Path:
        return self.folder / "log"

    @property
    def first(self) -> psutil.Process:
        """The pod's process 1."""
        if self.process is None:
            raise RuntimeError(f"{self.name} was not started")
        return psutil.Process(self.process.pid).children()[0]

    @property
    def runs(self) -> bool:
        return self.process is not None and self.process.poll() is None

    def memory(self) -> int:
        """Bytes that its processes have for themselves (USS): shared pages are counted once by nobody."""
        return sum(process.memory_full_info().uss for process in [self.first, *self.first.children(recursive=True)])

    def execute(self, command: Sequence[str], timeout_s: float) -> subprocess.CompletedProcess[bytes]:
        """What `kubectl exec`, an exec probe and an exec hook do."""
        enter = ["nsenter", f"--target={self.first.pid}", "--mount", "--net", "--pid", "--uts", "--root"]
        drop = ["setpriv", f"--reuid={self.user}", f"--regid={self.group}", "--clear-groups", "--no-new-privs"]
        drop += ["--inh-caps=-all", "--ambient-caps=-all", "--bounding-set=-all"]
        shell = ["sh", "-c", 'cd "$WORKDIR" && exec "$@"', "sh"]
        return subprocess.run(
            [*enter, *drop, *shell, *command],
            env=self.environment,
            capture_output=True,
            timeout=timeout_s,
            check=False,
        )

    def terminate(self, grace_s: float) -> None:
        """The end of a deleted pod after its preStop: SIGTERM, and SIGKILL when the grace period is over."""
        self.first.send_signal(signal.SIGTERM)
        try:
            if self.process is not None:
                self.process.wait(grace_s)
        except subprocess.TimeoutExpired:
            self.kill()

    def kill(self) -> None:
        """All at once, as when a node loses power: the kernel ends every process of the namespace."""
        if self.runs and self.process is not None:
            self.first.kill()
            self.process.wait(30)


@dataclass
class Machine:
    """A bridge with pods on it."""

    folder: Path
    mark: str = field(default_factory=lambda: secrets.token_hex(2))
    pods: list[RunningPod] = field(default_factory=list)
    services: dict[str, list[str]] = field(default_factory=dict)  # name -> addresses
    _dns: Dns | None = None

    @property
    def bridge(self) -> str:
        return f"br-{self.mark}"

    @property
    def subnet(self) -> str:
        return f"10.{int(self.mark[:2], 16)}.{int(self.mark[2:], 16)}"

    def __enter__(self) -> "Machine":
        _run("ip", "link", "add", self.bridge, "type", "bridge")
        _run("ip", "address", "add", f"{self.subnet}.1/24", "dev", self.bridge)
        _run("ip", "link", "set", self.bridge, "up")
        self._dns = Dns(f"{self.subnet}.1", self.services)
        return self

    def __exit__(self, *_: object) -> None:
        for pod in self.pods:
            pod.kill()
            subprocess.run(["ip", "netns", "delete", pod.namespace], check=False)
        if self._dns is not None:
            self._dns.close()
        subprocess.run(["ip", "link", "delete", self.bridge], check=False)

    def pod(self, name: str, user: int, group: int) -> RunningPod:
        """A place for a pod: its address is known before it runs, as Services need it."""
        number = len(self.pods) + 10
        namespace, inside = f"{name}-{self.mark}", f"v{number}-{self.mark}"
        pod = RunningPod(name, f"{self.subnet}.{number}", namespace, self.folder / name, {}, user, group)
        self.pods.append(pod)
        _run("ip", "netns", "add", namespace)
        _run("ip", "link", "add", inside, "type", "veth", "peer", "name", "eth0", "netns", namespace)
        _run("ip", "link", "set", inside, "master", self.bridge, "up")
        for command in (
            ["address", "add", f"{pod.address}/24", "dev", "eth0"],
            ["link", "set", "eth0", "up"],
            ["link", "set", "lo", "up"],
            ["route", "add", "default", "via", f"{self.subnet}.1"],
        ):
            _run("ip", "-n", namespace, *command)
        return pod

    def start(
        self,
        pod: RunningPod,
        image: Path,
        command: Sequence[str],
        environment: Mapping[str, str],
        volumes: Sequence[Volume],
        workdir: str,
    ) -> None:
        """Run the pod's container. `image` holds the files of its image, from the root on."""
        pod.folder.mkdir(exist_ok=True)
        layer = pod.folder / "image"
        shutil.copytree(image, layer)
        for name in ("root", "work"):
            (pod.folder / name).mkdir()
        for path in (
            Path("/root"),
            Path("/root/.pyenv"),
        ):  # this machine's Python may be there; the pod's user is not root
            if path.exists():
                (layer / path.relative_to("/")).mkdir(parents=True, exist_ok=True, mode=0o755)
                (layer / path.relative_to("/")).chmod(0o755)
        lines = [f"{volume.source} {volume.target} {'rw' if volume.writable else 'ro'}\n" for volume in volumes]
        (pod.folder / "volumes").write_text("".join(lines))
        (pod.folder / "hosts").write_text(f"127.0.0.1 localhost\n{pod.address} {pod.name}\n")
        (pod.folder / "resolv.conf").write_text(f"nameserver {self.subnet}.1\n")
        pod.environment = {**environment, "WORKDIR": workdir}
        enter = ["ip", "netns", "exec", pod.namespace]
        unshare = ["unshare", "--mount", "--pid", "--uts", "--fork", "--kill-child", "--propagation", "private"]
        script = ["bash", "-c", _ENTER, "enter", str(pod.folder), str(pod.user), str(pod.group)]
        with pod.log.open("wb") as log:
            pod.process = subprocess.Popen(
                [*enter, *unshare, *script, *command],
                env={"PATH": os.environ["PATH"], **pod.environment},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        time.sleep(0.2)  # until the second process exists

    def name_service(self, name: str, pods: Sequence[RunningPod]) -> None:
        """What a Service without an address of its own does: its name leads to the pods."""
        self.services[name] = [pod.address for pod in pods]


def config_map(folder: Path, values: Mapping[str, str]) -> None:
    """Write a mounted ConfigMap as the kubelet does: files link through `..data`, which is swapped in one step."""
    folder.mkdir(exist_ok=True)
    version = folder / f"..{secrets.token_hex(4)}"
    version.mkdir()
    for key, value in values.items():
        (version / key).write_text(value)
    before = (folder / "..data").resolve() if (folder / "..data").exists() else None
    (folder / "..data_tmp").symlink_to(version.name)
    (folder / "..data_tmp").rename(folder / "..data")
    for key in values:
        if not (folder / key).is_symlink():
            (folder / key).symlink_to(f"..data/{key}")
    if before is not None:
        shutil.rmtree(before)


def _run(*command: str) -> None:
    subprocess.run(command, check=True, capture_output=True, timeout=30)
