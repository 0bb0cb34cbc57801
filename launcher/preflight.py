"""What `make run` is about to start, and what on this machine stands in its way: each problem is a sentence to act on.

Reads and measures; starts and changes nothing.
"""

import errno
import os
import random
import shutil
import socket
import sys
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil
import yaml
from pydantic import BaseModel, Field, ValidationError

from frontend.settings import Settings

DASHBOARD_PORT = 8265  # Ray's default; Ray takes the next free one where this is in use
GIB = 2**30
RAY_GIB = 2.5  # measured: 1.2 GiB with `models/mini` and one replica; the rest is for a second replica and for replies
HUB_MODELS_GIB = {  # float32 weights; of a model that is not listed the size is not known before it is loaded
    "microsoft/GODEL-v1_1-base-seq2seq": 0.9,
    "microsoft/GODEL-v1_1-large-seq2seq": 2.9,
}
WEIGHT_FILES = ("*.safetensors", "pytorch_model*.bin")
MIN_FREE_DISK_GIB = 1
RAY_FULL_DISK = 0.95  # Ray's local_fs_capacity_threshold: from here on it refuses to spill objects to the disk
# Below those that systems give to clients, and above those of Ray's workers. One of a client's may be taken before its
# server is there; or a client that asks whether it is gets that very port for itself, and is answered by itself.
SERVERS_PORTS = range(20_000, 32_000)
COMPILERS = ("cc", "gcc", "clang")


@dataclass(frozen=True)
class Problem:
    sentence: str
    fatal: bool = True  # else a notice: the service starts, with less


class PlanError(Exception):
    """A file or a setting is wrong; the text says which and what would be right."""


@dataclass(frozen=True)
class Plan:
    """Where the two halves will be, and with which model."""

    config: Path
    backend_host: str
    backend_port: int
    route_prefix: str  # of the first application; empty for "/"
    frontend_host: str
    frontend_port: int
    model: str | None = None  # hub id or folder

    @property
    def backend_url(self) -> str:
        return _url(self.backend_host, self.backend_port) + self.route_prefix

    @property
    def frontend_url(self) -> str:
        return _url(self.frontend_host, self.frontend_port)


class _HttpOptions(BaseModel):
    host: str = "0.0.0.0"  # Serve's defaults for config files
    port: int = Field(default=8000, ge=1, le=65_535)


class _Application(BaseModel):
    route_prefix: str | None = "/"
    args: dict[str, Any] = {}


class _ServeConfig(BaseModel):
    """The few fields of a Serve config that matter here; Serve itself checks the rest."""

    http_options: _HttpOptions = _HttpOptions()
    applications: list[_Application] = Field(min_length=1)


def read_plan(config: Path) -> Plan:
    """Read the Serve config and the frontend's settings. Raises PlanError."""
    try:
        content = _ServeConfig.model_validate(yaml.safe_load(config.read_text()))
        frontend = Settings()
    except OSError as error:
        raise PlanError(f"{config} cannot be read: {os.strerror(error.errno or 0).lower()}.") from None
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise PlanError(f"{config} is not YAML: {error}.") from None
    except ValidationError as error:
        source = str(config) if error.title == _ServeConfig.__name__ else "The frontend's settings"
        raise PlanError(f"{source} cannot be used: {_wrong_fields(error)}.") from None
    application = content.applications[0]
    return Plan(
        config=config,
        backend_host=content.http_options.host,
        backend_port=content.http_options.port,
        route_prefix=(application.route_prefix or "/").rstrip("/"),
        frontend_host=frontend.host,
        frontend_port=frontend.port or free_port(frontend.host),
        model=application.args.get("model"),
    )


def find_problems(plan: Plan) -> list[Problem]:
    """All problems at once, rather than one after the other."""
    return [
        *platform_problems(sys.platform),
        *port_problems(plan),
        *memory_problems(plan.model, available_memory()),
        *disk_problems(Path(os.environ.get("RAY_TMPDIR", "/tmp"))),
        *compiler_problems(),
    ]


def platform_problems(platform: str) -> Iterator[Problem]:
    if platform not in ("linux", "darwin"):
        yield Problem(f"This runs on Linux and macOS, not on {platform}. On Windows, use WSL 2.")


def port_problems(plan: Plan) -> Iterator[Problem]:
    dashboard = "Ray will take the next free one for its dashboard"
    if plan.backend_port == plan.frontend_port:
        yield Problem(
            f"Backend and frontend both want port {plan.backend_port}. Choose another for the frontend: "
            f"FRONTEND_PORT={plan.backend_port + 80} make run."
        )
    for host, port, what, remedy, fatal in (
        (plan.backend_host, plan.backend_port, "the backend", f"set http_options.port in {plan.config}", True),
        (plan.frontend_host, plan.frontend_port, "the page", f"FRONTEND_PORT={plan.frontend_port + 1} make run", True),
        ("127.0.0.1", DASHBOARD_PORT, "the Ray dashboard", dashboard, False),
    ):
        reason = port_in_use(host, port)
        if reason is not None:
            remedy = f"Stop what uses it, or choose another port: {remedy}." if fatal else f"{remedy}."
            yield Problem(f"Port {port}, meant for {what}, {reason}. {remedy}", fatal)


def port_in_use(host: str, port: int) -> str | None:
    """Why `host` and `port` cannot be listened on now, or None: a bind is refused, or something answers there."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # connections of a run that has ended do not count
        try:
            probe.bind((host, port))
        except OSError as error:
            if error.errno != errno.EADDRINUSE:
                return f"cannot be used: {os.strerror(error.errno or 0).lower()}"
            return f"is in use by {port_holder(port)}"
    with socket.socket(family, socket.SOCK_STREAM) as probe:
        probe.settimeout(1)
        if probe.connect_ex((_reachable(host), port)) == 0:  # macOS lets 0.0.0.0 be bound beside 127.0.0.1
            return f"is in use by {port_holder(port)}"
    return None


def port_holder(port: int) -> str:
    """The process that listens on `port`, as far as this user may know."""
    try:
        for connection in psutil.net_connections("tcp"):
            listens = connection.status == psutil.CONN_LISTEN and connection.laddr and connection.laddr.port == port
            if listens and connection.pid is not None:
                return f"{psutil.Process(connection.pid).name()} (process {connection.pid})"
    except psutil.Error:
        pass  # macOS tells root only; or the process has just ended
    return "another program"


def memory_problems(model: str | None, available: float) -> Iterator[Problem]:
    """`available` in GiB. Loading holds the weights twice: as read from the file, and as the engine lays them out."""
    weights = model_gib(model)
    if available < RAY_GIB:
        yield Problem(
            f"Ray needs about {RAY_GIB} GiB of memory and {available:.1f} GiB is available. Close other programs, or "
            "give the container or virtual machine more memory."
        )
    elif available < RAY_GIB + 2 * weights:
        yield Problem(
            f"Loading {model} needs about {RAY_GIB + 2 * weights:.1f} GiB of memory and {available:.1f} GiB is "
            "available: Ray may end it. Close other programs, or name a smaller `model` in the Serve config.",
            fatal=False,
        )


def model_gib(model: str | None) -> float:
    """The size of a model's weights; 0 where it is not known."""
    if model is None:
        return 0
    sizes = [file.stat().st_size for pattern in WEIGHT_FILES for file in Path(model).glob(pattern)]
    return sum(sizes) / GIB if sizes else HUB_MODELS_GIB.get(model, 0)


def available_memory(cgroup: Path = Path("/sys/fs/cgroup")) -> float:
    """GiB that new processes can have: the machine's, or what this container's limit leaves."""
    available = psutil.virtual_memory().available
    try:
        limit = int((cgroup / "memory.max").read_text())
        used = int((cgroup / "memory.current").read_text())
        cached = int(dict(line.split() for line in (cgroup / "memory.stat").open())["inactive_file"])
    except (OSError, ValueError):  # not in a container, or in one without a limit ("max")
        return available / GIB
    return min(available, limit - used + cached) / GIB


def disk_problems(folder: Path) -> Iterator[Problem]:
    disk = shutil.disk_usage(folder)
    if disk.free < MIN_FREE_DISK_GIB * GIB:
        yield Problem(
            f"{folder} has {disk.free / GIB:.1f} GiB of free space, and Ray keeps its logs and sockets there. "
            "Free some, or name a folder on another disk: RAY_TMPDIR=/path make run."
        )
    elif disk.free / disk.total < 1 - RAY_FULL_DISK:
        yield Problem(
            f"The disk of {folder} is more than {RAY_FULL_DISK:.0%} full, and Ray will write no objects to it. "
            "Free some space, or name a folder on another disk: RAY_TMPDIR=/path make run.",
            fatal=False,
        )


def compiler_problems() -> Iterator[Problem]:
    if not any(shutil.which(name) for name in COMPILERS):
        yield Problem(
            "There is no C compiler, so the engine computes without compiled kernels. To have them: "
            "apt-get install gcc libc6-dev (Debian, Ubuntu) or xcode-select --install (macOS).",
            fatal=False,
        )


def _wrong_fields(error: ValidationError) -> str:
    """Each wrong field and why. Never its value: it may be a secret."""
    is_setting = error.title == Settings.__name__
    wrong = []
    for problem in error.errors(include_input=False, include_url=False):
        field = ".".join(str(part) for part in problem["loc"])
        wrong.append(f"FRONTEND_{field} ".upper() * is_setting + f"{field} " * (not is_setting) + problem["msg"])
    return "; ".join(wrong)


def free_port(host: str = "127.0.0.1") -> int:
    """A port of `host` that was free a moment ago. Raises OSError where there is none."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    for port in random.sample(SERVERS_PORTS, 100):
        with suppress(OSError), socket.create_server((host, port), family=family):
            return port
    raise OSError(f"{host} has no port free among {SERVERS_PORTS.start} to {SERVERS_PORTS.stop - 1}")


def _reachable(host: str) -> str:
    return {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)


def _url(host: str, port: int) -> str:
    host = _reachable(host)
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"
