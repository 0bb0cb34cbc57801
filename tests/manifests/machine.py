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
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import psutil

from tests.manifests.cluster_dns import Dns

NOBODY = 65534
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
  target=$(chroot "$root" realpath --canonicalize-missing "$target")  # a link, such as /var/run, leads within the pod
  mkdir -p "$root$target"
  mount --bind "$source" "$root$target"
  [ "$mode" = rw ] || mount -o remount,bind,ro "$root$target"
done < "$pod/volumes"
for file in hosts resolv.conf; do mount --bind "$pod/$file" "$root/etc/$file"; done
mount -o remount,ro "$root"
hostname "$(basename "$pod")"
cd "$root"
# A change of user cancels the death signal that unshare gave its child: asked for anew, no pod outlives the tests.
exec chroot "$root" /usr/bin/setpriv --pdeathsig=KILL --reuid="$user" --regid="$group" --clear-groups --no-new-privs \
  --inh-caps=-all --ambient-caps=-all --bounding-set=-all -- /bin/sh -c 'cd "$WORKDIR" && exec "$@"' sh "$@"
"""


def missing() -> str | None:
    """Why pods cannot be run here, or None: found out by running the smallest one."""
    if sys.platform != "linux":
        return "they need Linux"
    if os.geteuid() != 0:
        return "only root can make network namespaces"
    absent = [name for name in PROGRAMS if shutil.which(name) is None]
    if absent:
        return f"not installed: {', '.join(absent)}"
    with tempfile.TemporaryDirectory() as folder:
        image = Path(folder, "image")
        image.mkdir()
        try:
            with Machine(Path(folder)) as machine:
                pod = machine.pod("probe", NOBODY, NOBODY)
                machine.start(pod, image, ["true"], {"PATH": os.environ["PATH"]}, [], "/")
                failed = pod.process is None or pod.process.wait(20) != 0
                return f"a pod cannot be made: {pod.log.read_text().strip()}" if failed else None
        except subprocess.CalledProcessError as error:
            return f"{' '.join(error.cmd)}: {error.stderr.decode().strip()}"
        except OSError as error:
            return f"a bridge cannot be made: {error}"


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
    link: str  # its end at the bridge
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
        """The pod's process 1. Raises ProcessLookupError when the pod does not run."""
        found = psutil.Process(self.process.pid).children() if self.process is not None and self.runs else []
        if not found:
            raise ProcessLookupError(f"{self.name} does not run")
        return found[0]

    @property
    def runs(self) -> bool:
        return self.process is not None and self.process.poll() is None

    @property
    def processes(self) -> list[psutil.Process]:
        """All of the pod's that run at the moment."""
        try:
            return [self.first, *self.first.children(recursive=True)]
        except (psutil.NoSuchProcess, ProcessLookupError):
            return []

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
            for process in self.processes[:1]:
                process.kill()
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
            # A namespace outlives its name for as long as a connection that was cut; its link need not.
            subprocess.run(["ip", "link", "delete", pod.link], check=False)
            subprocess.run(["ip", "netns", "delete", pod.namespace], check=False)
        if self._dns is not None:
            self._dns.close()
        subprocess.run(["ip", "link", "delete", self.bridge], check=False)

    def pod(self, name: str, user: int, group: int) -> RunningPod:
        """A place for a pod: its address is known before it runs, as Services need it."""
        number = len(self.pods) + 10
        namespace, link = f"{name}-{self.mark}", f"v{number}-{self.mark}"
        pod = RunningPod(name, f"{self.subnet}.{number}", namespace, link, self.folder / name, {}, user, group)
        self.pods.append(pod)
        _run("ip", "netns", "add", namespace)
        _run("ip", "link", "add", link, "type", "veth", "peer", "name", "eth0", "netns", namespace)
        _run("ip", "link", "set", link, "master", self.bridge, "up")
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
        layer.chmod(0o755)  # the pod's `/`
        for name in ("root", "work"):
            (pod.folder / name).mkdir()
        python = [Path(prefix).resolve() for prefix in (sys.prefix, sys.base_prefix)]
        for path in python:
            _open_way(layer, path)
        volumes = [*volumes, *(Volume(str(path), path, writable=False) for path in python)]  # a volume may hide them
        lines = [f"{volume.source} {volume.target} {'rw' if volume.writable else 'ro'}\n" for volume in volumes]
        (pod.folder / "volumes").write_text("".join(lines))
        (pod.folder / "hosts").write_text(f"127.0.0.1 localhost\n{pod.address} {pod.name}\n")
        (pod.folder / "resolv.conf").write_text(f"nameserver {self.subnet}.1\n")
        pod.environment = {**environment, "WORKDIR": workdir}
        enter = ["setpriv", "--pdeathsig=KILL", "ip", "netns", "exec", pod.namespace]  # no pod outlives the tests
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
        while pod.runs and not pod.processes:  # until process 1 exists
            time.sleep(0.01)

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
    for link in folder.iterdir():
        if not link.exists():  # its key has gone
            link.unlink()
    if before is not None:
        shutil.rmtree(before)


def _open_way(layer: Path, path: Path) -> None:
    """Let any user of the pod come to `path`: the folders that lead there may be for root alone."""
    for folder in reversed(path.parents[:-1]):
        inside = layer / folder.relative_to("/")
        inside.mkdir(parents=True, exist_ok=True)
        inside.chmod(0o755)


def _run(*command: str) -> None:
    subprocess.run(command, check=True, capture_output=True, timeout=30)
