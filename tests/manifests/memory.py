"""What pods hold in memory, looked at while they run, to compare with the manifests' requests."""

import threading
from collections.abc import Sequence
from pathlib import Path

import psutil

from tests.manifests.machine import RunningPod

PAUSE_S = 3.0
KIB = 1024


def held(pod: RunningPod) -> int:
    """Bytes: what its processes have written to, and the pages of files of the one that has mapped most of them.

    The others map mostly the same files (Python, Ray, PyTorch), and a container is charged for a page once.
    """
    written, mapped = 0, [0]
    for process in pod.processes:
        shares, own = _kib(process, "smaps_rollup"), _kib(process, "status")
        written += shares.get("Pss_Anon", 0) + shares.get("Pss_Shmem", 0)  # a page of n processes counts 1/n for each
        mapped.append(own.get("RssFile", 0))
    return (written + max(mapped)) * KIB


def _kib(process: psutil.Process, file: str) -> dict[str, int]:
    """The figures of a file of /proc/<pid>; none when the process has ended."""
    try:
        lines = Path(f"/proc/{process.pid}/{file}").read_text().splitlines()
    except OSError:
        return {}
    fields = (line.partition(":") for line in lines if line.endswith(" kB"))
    return {name: int(value.split()[0]) for name, _, value in fields}


class Watch:
    """The most that each pod has held so far, looked at every few seconds."""

    def __init__(self, pods: Sequence[RunningPod]) -> None:
        self._pods = pods
        self._done = threading.Event()
        self._thread = threading.Thread(target=self._look, daemon=True)
        self.peaks: dict[str, int] = {}

    def __enter__(self) -> "Watch":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._done.set()
        self._thread.join()

    def _look(self) -> None:
        while not self._done.wait(PAUSE_S):
            for pod in list(self._pods):
                self.peaks[pod.name] = max(self.peaks.get(pod.name, 0), held(pod))

    def __str__(self) -> str:
        return ", ".join(f"{name} {peak / 2**20:.0f} MiB" for name, peak in sorted(self.peaks.items()))
