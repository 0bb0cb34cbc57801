"""The scores as a plot: a group of bars for each category, a bar for each way of answering."""

import textwrap
from collections.abc import Sequence
from pathlib import Path

import matplotlib.pyplot as plt

from training.scores import CATEGORIES, Column

_BARS = 0.8  # of the space that a group has


def plot(columns: Sequence[Column], path: Path, title: str) -> None:
    """Shares that are right, with their 95 % intervals."""
    present = [category for category in CATEGORIES if category in columns[0].right]
    figure, axes = plt.subplots(figsize=(12, 5), layout="constrained")
    width = _BARS / len(columns)
    for number, column in enumerate(columns):
        shares = [(place, column.right[name]) for place, name in enumerate(present) if name in column.right]
        below = [share.value - share.interval[0] for _, share in shares]
        above = [share.interval[1] - share.value for _, share in shares]
        axes.bar(
            [place + (number + 0.5) * width for place, _ in shares],
            [share.value for _, share in shares],
            width,
            yerr=[below, above],
            error_kw={"capsize": 2, "elinewidth": 1},
            label=column.name,
        )
    middles = [place + _BARS / 2 for place in range(len(present))]
    axes.set_xticks(middles, labels=[textwrap.fill(category, 16) for category in present])
    axes.set(title=title, ylabel="share that is right", ylim=(0, 1.03))
    axes.grid(axis="y", alpha=0.3)
    axes.legend(loc="upper center", bbox_to_anchor=(0.5, -0.2), ncols=len(columns))
    figure.savefig(path, dpi=120)
    plt.close(figure)
