"""`python -m bench.memory`: what model replicas of GODEL-base's shape take in memory, and how long they take to start.

Each is a process of its own (bench/replica.py), on one thread, as serve_config.yaml gives it. What two take together is
the resident memory of one, and of the other what it shares with nobody (in Linux's smaps_rollup): other processes that
have the same libraries mapped make no difference to it. A start lasts from the process's beginning until it has written
four tokens; what it reads is in the page cache. Results: bench/results/memory.json.
"""

import json
import logging
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import IO

from bench.engine import RESULTS, environment
from bench.systems import make_checkpoint

WARM_STARTS = 3
log = logging.getLogger("bench")


@dataclass(frozen=True)
class Figures:
    """Seconds, and MB (of 2^20 bytes)."""

    first_start_s: float  # nothing is cached: kernels are compiled, weights quantised
    cold_start_s: float  # weights are quantised
    warm_start_s: float
    cold_peak_mb: int  # resident, at most, of a replica that quantises
    warm_peak_mb: int
    loaded_mb: int  # resident, of one replica that nobody has asked yet
    two_loaded_mb: int  # of two
    busy_mb: int  # of one that has written sixteen replies at once
    two_busy_mb: int


class Replica:
    """A running one."""

    def __init__(self, process: "subprocess.Popen[str]", started: float) -> None:
        self._process = process
        self._await("ready")
        self.start_s = time.perf_counter() - started

    def work(self) -> None:
        """Have it write sixteen replies at once."""
        _stream(self._process.stdin).write("\n")
        _stream(self._process.stdin).flush()
        self._await("done")

    def mb(self, what: str) -> int:
        """what: a name in its smaps_rollup or status, of which /proc gives kB."""
        folder = Path("/proc", str(self._process.pid))
        lines = [line for file in ("smaps_rollup", "status") for line in (folder / file).read_text().splitlines()]
        (value,) = {line.split()[1] for line in lines if line.startswith(f"{what}:")}
        return int(value) // 1024

    @property
    def private_mb(self) -> int:
        return self.mb("Private_Clean") + self.mb("Private_Dirty")

    def _await(self, word: str) -> None:
        if (line := _stream(self._process.stdout).readline()) != f"{word}\n":
            raise RuntimeError(f"the replica said {line!r} instead of {word!r}")


def _stream(stream: IO[str] | None) -> IO[str]:
    if stream is None:
        raise RuntimeError("the process has no pipes")
    return stream


@contextmanager
def replica(model: Path, cache: Path) -> Iterator[Replica]:
    started = time.perf_counter()
    process = subprocess.Popen(
        [sys.executable, "-m", "bench.replica", str(model)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env=os.environ | {"XDG_CACHE_HOME": str(cache), "OMP_NUM_THREADS": "1"},
    )
    with process:
        try:
            yield Replica(process, started)
        finally:
            process.kill()


def measure(model: Path, cache: Path) -> Figures:
    """cache: an empty folder."""
    with replica(model, cache) as first:
        pass
    for file in cache.rglob("weights-*"):
        file.unlink()
    with replica(model, cache) as cold:
        cold_peak_mb = cold.mb("VmHWM")
    starts = []
    for _ in range(WARM_STARTS):
        with replica(model, cache) as warm:
            starts.append(warm.start_s)
            warm_peak_mb = warm.mb("VmHWM")
    with replica(model, cache) as one, replica(model, cache) as other:
        loaded_mb, two_loaded_mb = one.mb("Rss"), one.mb("Rss") + other.private_mb
        one.work()
        other.work()
        busy_mb, two_busy_mb = one.mb("Rss"), one.mb("Rss") + other.private_mb
    return Figures(
        round(first.start_s, 2),
        round(cold.start_s, 2),
        round(statistics.median(starts), 2),
        cold_peak_mb,
        warm_peak_mb,
        loaded_mb,
        two_loaded_mb,
        busy_mb,
        two_busy_mb,
    )


def main() -> None:
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    if sys.platform != "linux":
        sys.exit("Linux alone tells what processes share: run this there.")
    with tempfile.TemporaryDirectory() as folder:
        make_checkpoint(Path(folder, "model"))
        figures = measure(Path(folder, "model"), Path(folder, "cache"))
    RESULTS.mkdir(exist_ok=True)
    (RESULTS / "memory.json").write_text(json.dumps(environment() | asdict(figures), indent=1) + "\n")
    for name, value in asdict(figures).items():
        log.info("%-14s %s", name, value)


if __name__ == "__main__":
    main()
