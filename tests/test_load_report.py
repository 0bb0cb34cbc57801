"""What is said of a load: numbers that are right, and plots that show them."""

import pytest

from serve_app.load import Load, Outcome
from serve_app.load_report import progress, quantile, report


def load_of(*outcomes: Outcome) -> Load:
    return Load("http://here", [{"dialog": ["What?"]}], 4.0, clients=1, outcomes=list(outcomes))


def good(at_s: float, total_s: float, replica: str = "r1") -> Outcome:
    return Outcome(at_s, at_s + total_s, "good", total_s / 2, 10, replica)


def test_counts_rates_and_quantiles() -> None:
    outcomes = [good(0, 1), good(1, 1), good(2, 2, "r2"), Outcome(0, 0.1, "refused", problem="status 429")]
    shown = "\n".join(report(load_of(*outcomes)))
    assert "requests   4 in 4.0 s: 3 good, 1 refused, 0 failed" in shown
    assert "1 x status 429" in shown
    assert "throughput 0.8 replies/s, 8 tokens/s" in shown
    assert "first word median 500 ms, p95 1.00 s, p99 1.00 s" in shown
    assert "whole      median 1.00 s, p95 2.00 s, p99 2.00 s" in shown
    assert "r1 wrote 2" in shown and "r2 wrote 1" in shown


def test_the_plots_show_when_and_how_long() -> None:
    lines = list(report(load_of(*(good(0.1, 0.5) for _ in range(8)), good(3, 1))))
    over_time = lines[lines.index("replies/s over time") + 1]
    assert over_time == "  █  ▁  up to 8.0"
    bars = lines[lines.index("replies by seconds to the last word") + 1 :]
    assert [bar.split()[-1] for bar in bars if "█" in bar] == ["8", "1"]


def test_without_a_good_reply_there_is_nothing_to_plot() -> None:
    assert list(report(load_of())) == ["requests   0 in 0.0 s: 0 good, 0 refused, 0 failed"]
    assert len(list(report(load_of(Outcome(0, 1, "failed", problem="status 500"))))) == 2


@pytest.mark.parametrize(("share", "value"), [(0.0, 1.0), (0.5, 2.0), (0.75, 3.0), (1.0, 4.0)])
def test_quantiles(share: float, value: float) -> None:
    assert quantile([4.0, 2.0, 1.0, 3.0], share) == value
    assert quantile([], share) is None


def test_progress_is_one_line() -> None:
    load = load_of(Outcome(0, 0.1, "refused"))
    assert "refused 1  failed 0" in progress(load) and "\n" not in progress(load)
