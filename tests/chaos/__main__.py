"""The faults one after another, for as long as one likes: `make chaos`. Writes the table in docs/reliability.md."""

import argparse
import itertools
import re
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import TypeAlias, TypeVar

from tests.chaos.faults import FAULTS, backend_to_break, break_under_load, pinger_of
from tests.chaos.nodes import NODE_FAULTS, nodes_to_break
from tests.chaos.pinger import Record
from tests.support.backend import ROOT, Backend

B = TypeVar("B", bound=Backend)
Records: TypeAlias = dict[str, list[tuple[Record, float]]]

_PAGE = ROOT / "docs/reliability.md"
_COUNTS = ("sent", "identical", "taken over", "asked again", "refused", "lost", "wrong")
_COLUMNS = ("fault", "times", *_COUNTS, "last trouble after")
_TABLE = re.compile(r"(<!-- chaos: .*?-->\n).*?(<!-- /chaos -->)", re.DOTALL)


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.chaos", description=__doc__)
    parser.add_argument("--minutes", type=float, default=30)
    seconds = 60 * parser.parse_args().minutes / 2
    with tempfile.TemporaryDirectory() as folder, backend_to_break(Path(folder)) as backend:
        records = _break_all(backend, FAULTS, seconds)
    with tempfile.TemporaryDirectory() as folder, nodes_to_break(Path(folder)) as nodes:
        records |= _break_all(nodes, NODE_FAULTS, seconds)
    rows = [_row(fault, done) for fault, done in records.items()]
    table = "\n".join([f"| {' | '.join(_COLUMNS)} |", "|---" * len(_COLUMNS) + "|", *rows]) + "\n"
    text = _PAGE.read_text(encoding="utf-8")
    _PAGE.write_text(_TABLE.sub(lambda found: found[1] + table + found[2], text), encoding="utf-8")
    sys.stdout.write(table)
    return 1 if any(record.lost or record.wrong for done in records.values() for record, _ in done) else 0


def _break_all(backend: B, faults: Mapping[str, Callable[[B], None]], seconds: float) -> Records:
    """One fault after the other, each at least once."""
    until = time.monotonic() + seconds
    records: Records = {fault: [] for fault in faults}
    pinger = pinger_of(backend)
    for name, fault in itertools.cycle(faults.items()):
        if time.monotonic() > until and all(records.values()):
            break
        record, recovered_s = break_under_load(backend, pinger, name, partial(fault, backend))
        records[name].append((record, recovered_s))
        sys.stdout.write(f"{name}: {record.line} recovered after {recovered_s:.1f} s\n")
        sys.stdout.flush()
    return records


def _row(fault: str, done: list[tuple[Record, float]]) -> str:
    total = Record()
    for record, _ in done:
        total.add(record)
    counts = (total.sent, total.identical, total.taken_over, total.asked_again, total.refused, len(total.lost))
    cells = [fault, len(done), *counts, len(total.wrong), f"{max(recovered_s for _, recovered_s in done):.1f} s"]
    return f"| {' | '.join(map(str, cells))} |"


if __name__ == "__main__":
    sys.exit(main())
