"""`make bench`: this engine beside transformers and CTranslate2, on one machine in one run.

The systems take turns on every case, several rounds over, so that a drift of the machine's speed meets all of them;
medians and spread go to bench/results/engine.json, a table to the terminal and a plot to bench/results/engine.png.
"""

import argparse
import json
import logging
import multiprocessing
import os
import platform
import random
import statistics
import subprocess
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from importlib.metadata import version
from importlib.util import find_spec
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import matplotlib.pyplot as plt

from bench.systems import SYSTEMS, VOCABULARY, make_checkpoint, serve

RESULTS = Path(__file__).parent / "results"
OUTPUT_TOKENS = 32
# To compile takes minutes for each shape, so that system is measured where --systems names it.
BY_DEFAULT = [name for name in SYSTEMS if not name.endswith("compiled")]
log = logging.getLogger("bench")


@dataclass(frozen=True)
class Case:
    batch: int
    input_tokens: int


@dataclass(frozen=True)
class Row:
    """One system on one case; seconds for the whole batch, megabytes of the system's whole run."""

    system: str
    dtype: str
    batch: int
    input_tokens: int
    output_tokens: int
    seconds_median: float
    seconds_min: float
    seconds_max: float
    peak_rss_mb: int
    loaded_rss_mb: int  # resident when the model is loaded, before the first request


@dataclass(frozen=True)
class System:
    """A system's process."""

    end: Connection
    loaded_rss_mb: int


@contextmanager
def running(names: Sequence[str], folder: Path) -> Iterator[dict[str, System]]:
    """Each system in a process of its own, loaded."""
    context = multiprocessing.get_context("spawn")
    systems: dict[str, System] = {}
    for name in names:
        ours, theirs = context.Pipe()
        context.Process(target=serve, args=(name, folder, theirs), daemon=True).start()
        systems[name] = System(ours, ours.recv())
        log.info("%s is loaded, %d MB resident", name, systems[name].loaded_rss_mb)
    yield systems


def prompts(case: Case) -> list[list[int]]:
    chance = random.Random(case.input_tokens)
    return [[*(chance.randrange(3, VOCABULARY) for _ in range(case.input_tokens - 1)), 1] for _ in range(case.batch)]


def timed(end: Connection, asked: list[list[int]]) -> float:
    """Seconds for the whole batch. Raises RuntimeError where a system wrote less than it was asked for."""
    started = time.perf_counter()
    end.send((asked, OUTPUT_TOKENS))
    replies = end.recv()
    seconds = time.perf_counter() - started
    if [len(reply) for reply in replies] != [OUTPUT_TOKENS] * len(asked):
        raise RuntimeError(f"asked for {OUTPUT_TOKENS} tokens, got {[len(reply) for reply in replies]}")
    return seconds


def measure(systems: dict[str, System], cases: Sequence[Case], rounds: int) -> list[Row]:
    for case in cases:
        for system in systems.values():
            timed(system.end, prompts(case))  # warms up, and compiles for its shape
    seconds: dict[tuple[str, Case], list[float]] = {(name, case): [] for name in systems for case in cases}
    for number in range(1, rounds + 1):
        for case in cases:
            asked = prompts(case)
            for name, system in systems.items():
                seconds[name, case].append(timed(system.end, asked))
        log.info("round %d of %d done", number, rounds)
    peaks = {}
    for name, system in systems.items():
        system.end.send(None)
        peaks[name] = system.end.recv()
    return [
        Row(
            name,
            SYSTEMS[name][0],
            case.batch,
            case.input_tokens,
            OUTPUT_TOKENS,
            round(statistics.median(taken), 4),
            round(min(taken), 4),
            round(max(taken), 4),
            peaks[name],
            systems[name].loaded_rss_mb,
        )
        for (name, case), taken in seconds.items()
    ]


def environment() -> dict[str, Any]:
    """What a figure means nothing without."""
    packages = [name for name in ("torch", "transformers", "ctranslate2", "ray") if find_spec(name)]
    commit = subprocess.run(["git", "rev-parse", "HEAD"], capture_output=True, text=True, check=True).stdout.strip()
    return {
        "machine": {"processor": _processor(), "cores": os.cpu_count(), "system": platform.platform()},
        "versions": {"python": platform.python_version()} | {package: version(package) for package in packages},
        "commit": commit,
    }


def _processor() -> str:
    lines = Path("/proc/cpuinfo").read_text().splitlines() if Path("/proc/cpuinfo").exists() else []
    return next(
        (line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")), platform.processor()
    )


def table(rows: Sequence[Row]) -> str:
    """Markdown: a line a case, a column a system; seconds for the whole batch, the spread behind."""
    names = list(dict.fromkeys(row.system for row in rows))
    found = {(row.system, row.batch, row.input_tokens): row for row in rows}
    lines = [f"| batch | input | {' | '.join(names)} |", f"|---|---|{'---|' * len(names)}"]
    for batch, length in dict.fromkeys((row.batch, row.input_tokens) for row in rows):
        cells = [found[name, batch, length] for name in names]
        shown = [f"{row.seconds_median:.2f} ({row.seconds_min:.2f}-{row.seconds_max:.2f})" for row in cells]
        lines.append(f"| {batch} | {length} | {' | '.join(shown)} |")
    memory = {row.system: f"{row.loaded_rss_mb}, {row.peak_rss_mb}" for row in rows}
    return "\n".join([*lines, f"| MB loaded, at most | | {' | '.join(memory[name] for name in names)} |"])


def plot(rows: Sequence[Row], path: Path) -> None:
    """Requests a second over the batch, a panel for each prompt length."""
    lengths = sorted({row.input_tokens for row in rows})
    figure, panels = plt.subplots(1, len(lengths), figsize=(4.5 * len(lengths), 4), squeeze=False, layout="constrained")
    for panel, length in zip(panels[0], lengths, strict=True):
        for name in dict.fromkeys(row.system for row in rows):
            points = [row for row in rows if (row.system, row.input_tokens) == (name, length)]
            batches = [row.batch for row in points]
            panel.plot(batches, [row.batch / row.seconds_median for row in points], marker="o", label=name)
        panel.set(title=f"{length} tokens in, {OUTPUT_TOKENS} out", xlabel="requests at once", xscale="log")
        panel.set_xticks(batches, labels=[str(batch) for batch in batches])
        panel.minorticks_off()
        panel.set_ylim(bottom=0)
        panel.grid(alpha=0.3)
    panels[0][0].set_ylabel("requests a second")
    panels[0][0].legend()
    figure.savefig(path, dpi=120)


# What holds our kernels, CTranslate2 with the libraries beneath it, and PyTorch to AVX2, as most machines have it. They
# read these variables when they are loaded.
AVX2 = {
    "KERNELS_TARGET": "-march=haswell",
    "CT2_FORCE_CPU_ISA": "AVX2",
    "ONEDNN_MAX_CPU_ISA": "AVX2",
    "MKL_ENABLE_INSTRUCTIONS": "AVX2",
    "ATEN_CPU_CAPABILITY": "avx2",
}


def main() -> None:
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--batches", type=int, nargs="+", default=[1, 4, 8, 16, 32])
    parser.add_argument("--inputs", type=int, nargs="+", default=[64, 300, 500])
    parser.add_argument("--systems", nargs="+", default=BY_DEFAULT, choices=SYSTEMS)
    parser.add_argument("--avx2", action="store_true", help="hold all systems to AVX2; results: engine-avx2.json")
    options = parser.parse_args()
    if options.avx2:
        os.environ.update(AVX2)
    file = RESULTS / ("engine-avx2.json" if options.avx2 else "engine.json")
    cases = [Case(batch, length) for length in options.inputs for batch in options.batches]
    with tempfile.TemporaryDirectory() as folder:
        make_checkpoint(Path(folder) / "model")
        with running(options.systems, Path(folder) / "model") as systems:
            rows = measure(systems, cases, options.rounds)
    RESULTS.mkdir(exist_ok=True)
    file.write_text(json.dumps(environment() | {"rows": [asdict(row) for row in rows]}, indent=1))
    plot(rows, file.with_suffix(".png"))
    log.info("seconds for the whole batch, median (min-max):\n%s", table(rows))


if __name__ == "__main__":
    main()
