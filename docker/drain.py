"""A worker pod's preStop: leave the Ray cluster without cutting a reply.

    python /app/docker/drain.py SECONDS

Tells Ray that this node goes. Serve then starts replacements of its replicas on other nodes, gives these replicas no
new requests, and ends them once the replies under way are complete. Returns when none is left on this node, or after
SECONDS; the kubelet sends the signal that ends Ray after that.
"""

import subprocess
import sys
import time
from pathlib import Path

POLL_S = 0.5
# How Ray names the processes of Serve's actors; one whose actor has ended is called otherwise or gone.
BUSY = (b"ray::ServeReplica", b"ray::ProxyActor")


def main(arguments: list[str]) -> int:
    """0 when the node is empty, 1 when the time is up."""
    deadline = time.monotonic() + int(arguments[1])
    ask_to_drain(int(arguments[1]))
    while serve_processes():
        if time.monotonic() > deadline:
            return 1
        time.sleep(POLL_S)
    return 0


def ask_to_drain(seconds: int) -> None:
    """Without success the wait goes on all the same: new requests no longer come, as the pod is being deleted."""
    command = ["ray", "drain-node", "--reason", "DRAIN_NODE_REASON_PREEMPTION"]
    command += ["--reason-message", "the pod is being deleted", "--deadline-remaining-seconds", str(seconds)]
    subprocess.run(command, check=False)


def serve_processes(proc: Path = Path("/proc")) -> list[int]:
    """Process ids of Serve's replicas and proxy in this container."""
    found = []
    for folder in proc.glob("[0-9]*"):
        try:
            title = (folder / "cmdline").read_bytes()
        except OSError:  # it has just ended
            continue
        if title.startswith(BUSY):
            found.append(int(folder.name))
    return found


if __name__ == "__main__":
    sys.exit(main(sys.argv))
