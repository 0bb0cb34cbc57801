"""The faults one after another, for as long as one likes: `make chaos`. Writes the tables in docs/reliability.md."""

import argparse
import itertools
import math
import re
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import TypeAlias, TypeVar

from tests.chaos.faults import FAULTS, backend_to_break, break_under_load, pinger_of
from tests.chaos.nodes import NODE_FAULTS, nodes_to_break
from tests.chaos.pinger import Record
from tests.chaos.soak import Left, soak
from tests.support.backend import PROXIES, ROOT, Backend, Proxy, run_backend

B = TypeVar("B", bound=Backend)
Records: TypeAlias = dict[str, list[tuple[Record, float]]]

_PAGE = ROOT / "docs/reliability.md"
_COUNTS = ("sent", "identical", "taken over", "asked again", "refused", "lost", "wrong")
_COLUMNS = ("fault", "times", *_COUNTS, "last trouble after")


_FAULTS, _LEAVING = "chaos", "leaving"  # the tables' names


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.chaos", description=__doc__)
    parser.add_argument("--minutes", type=float, default=30)
    seconds = 60 * parser.parse_args().minutes / 2
    with tempfile.TemporaryDirectory() as folder, backend_to_break(Path(folder)) as backend:
        records = _break_all(backend, FAULTS, seconds)
    with tempfile.TemporaryDirectory() as folder, nodes_to_break(Path(folder)) as nodes:
        records |= _break_all(nodes, NODE_FAULTS, seconds)
    _write(_FAULTS, _COLUMNS, [_row(fault, done) for fault, done in records.items() if done])
    left = {proxy: _soak(proxy) for proxy in PROXIES}
    _write(_LEAVING, ("proxy", "left behind"), [f"| {proxy} | {each.line} |" for proxy, each in left.items()])
    is_bad = any(
        record.lost or record.wrong or math.isinf(recovered_s)
        for done in records.values()
        for record, recovered_s in done
    )
    return 1 if is_bad or not all(each.is_little for each in left.values()) else 0


def _soak(proxy: Proxy) -> Left:
    # One replica throughout: a second one would be taken for a leak.
    with (
        tempfile.TemporaryDirectory() as folder,
        run_backend(Path(folder), behind=proxy, max_replicas=1) as backend,
    ):
        return soak(backend)


def _write(name: str, columns: Sequence[str], rows: Sequence[str]) -> None:
    """Put the table of that name into the page."""
    table = "\n".join([f"| {' | '.join(columns)} |", "|---" * len(columns) + "|", *rows]) + "\n"
    sys.stdout.write(table)
    place = re.compile(rf"(<!-- {name}: .*?-->\n).*?(<!-- /{name} -->)", re.DOTALL)
    text = _PAGE.read_text(encoding="utf-8")
    _PAGE.write_text(place.sub(lambda found: found[1] + table + found[2], text), encoding="utf-8")


def _break_all(backend: B, faults: Mapping[str, Callable[[B], None]], seconds: float) -> Records:
    """One fault after the other, each at least once, or until the backend does not recover from one."""
    until = time.monotonic() + seconds
    records: Records = {fault: [] for fault in faults}
    pinger = pinger_of(backend)
    for name, fault in itertools.cycle(faults.items()):
        if time.monotonic() > until and all(records.values()):
            break
        try:
            record, recovered_s = break_under_load(backend, pinger, name, partial(fault, backend))
        except AssertionError as failure:  # which leaves nothing to break, but what was seen so far
            records[name].append((Record(), math.inf))
            sys.stdout.write(f"{name}: {failure}\n{backend.serve('status').stdout}\n")
            break
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
