"""A load's outcomes as text: one line while it runs, and tables and plots when it has ended."""

import math
from collections import Counter
from collections.abc import Iterator, Sequence

from serve_app.load import Load, Outcome

_BARS = "▁▂▃▄▅▆▇█"
_WIDTH = 60  # characters of a plot
_BINS = 10  # of the histogram
_RECENT_S = 3.0  # what "now" means in the line of progress


def progress(load: Load) -> str:
    """One line: how far it is, and how the last seconds went."""
    now = load.elapsed_s
    recent = [outcome for outcome in load.outcomes if outcome.ended_s > now - _RECENT_S]
    good = [outcome.total_s for outcome in recent if outcome.ending == "good"]
    rate = len(good) / min(_RECENT_S, max(now, 0.1))
    counts = Counter(outcome.ending for outcome in load.outcomes)
    return (
        f"{min(now, load.seconds):5.1f} of {load.seconds:.0f} s  {rate:6.1f} replies/s"
        f"  median {_seconds(quantile(good, 0.5))}  in flight {load.in_flight:4d}"
        f"  refused {counts['refused']}  failed {counts['failed']}"
    )


def report(load: Load) -> Iterator[str]:
    """Lines: what became of the requests, latencies, replies by replica, replies/s over time, latencies as bars."""
    good = [outcome for outcome in load.outcomes if outcome.ending == "good"]
    lasted_s = max((outcome.ended_s for outcome in load.outcomes), default=0.0)
    counts = Counter(outcome.ending for outcome in load.outcomes)
    yield f"requests   {len(load.outcomes)} in {lasted_s:.1f} s: " + ", ".join(
        f"{counts[ending]} {ending}" for ending in ("good", "refused", "failed")
    )
    for problem, count in Counter(outcome.problem for outcome in load.outcomes if outcome.problem).most_common():
        yield f"           {count} x {problem}"
    if not good:
        return
    tokens = sum(outcome.tokens for outcome in good)
    yield f"throughput {len(good) / lasted_s:.1f} replies/s, {tokens / lasted_s:.0f} tokens/s"
    first = [outcome.first_piece_s for outcome in good if outcome.first_piece_s is not None]
    for name, values in (("first word", first), ("whole", [outcome.total_s for outcome in good])):
        quantiles = (
            (label, quantile(values, share)) for label, share in (("median", 0.5), ("p95", 0.95), ("p99", 0.99))
        )
        yield f"{name:10} " + ", ".join(f"{label} {_seconds(value)}" for label, value in quantiles)
    for replica, count in sorted(Counter(outcome.replica for outcome in good).items()):
        yield f"replica    {replica} wrote {count}"
    yield ""
    yield "replies/s over time"
    yield from _over_time(good, lasted_s)
    yield ""
    yield "replies by seconds to the last word"
    yield from _histogram([outcome.total_s for outcome in good])


def quantile(values: Sequence[float], share: float) -> float | None:
    """The smallest value that `share` of them do not exceed; None where there are none."""
    return sorted(values)[max(0, math.ceil(share * len(values)) - 1)] if values else None


def _over_time(good: Sequence[Outcome], lasted_s: float) -> Iterator[str]:
    columns = min(_WIDTH, max(1, math.ceil(lasted_s)))
    width_s = lasted_s / columns
    counts = Counter(min(int(outcome.ended_s / width_s), columns - 1) for outcome in good)
    most = max(counts.values())
    bars = "".join(
        _BARS[math.ceil(counts[column] / most * len(_BARS)) - 1] if counts[column] else " " for column in range(columns)
    )
    yield f"  {bars}  up to {most / width_s:.1f}"


def _histogram(values: Sequence[float]) -> Iterator[str]:
    """Bins of one width from 0 to p99; the last one takes what is above."""
    edge = (quantile(values, 0.99) or 0.0) / _BINS or 1.0
    counts = Counter(min(int(value / edge), _BINS - 1) for value in values)
    most = max(counts.values())
    for number in range(_BINS):
        bar = "█" * round(counts[number] / most * (_WIDTH - 20))
        above = "+" if number == _BINS - 1 else " "
        yield f"  {_seconds(number * edge):>8}{above} {bar} {counts[number] or ''}".rstrip()


def _seconds(value: float | None) -> str:
    if value is None:
        return "-"
    return f"{value * 1000:.0f} ms" if value < 1 else f"{value:.2f} s"
