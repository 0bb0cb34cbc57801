"""Decoding steps as CUDA graphs: one per batch size, recorded once and replayed.

A step of few slots is hundreds of small kernels whose launches take longer than their work; a graph launches them as
one. It reads and writes the same memory at every replay, so its shapes are fixed: a step of n slots replays the
smallest recorded batch size that is at least n, and the results of the slots beyond n are ignored.
"""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

# Takes a function that writes to fixed memory; returns one that repeats what it did
Capture = Callable[[Callable[[], None]], Callable[[], None]]


def cuda_graph(work: Callable[[], None]) -> Callable[[], None]:
    """Record `work` as a CUDA graph, after one run in which libraries allocate their workspaces."""
    side = torch.cuda.Stream()  # type: ignore[no-untyped-call]  # torch does not annotate it
    side.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(side):
        work()
    torch.cuda.current_stream().wait_stream(side)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        work()
    return graph.replay


class GraphedStep:
    """A decoding step that replays recorded graphs."""

    def __init__(self, step: Callable[[Tensor], Tensor], capture: Capture, *, slots: int, device: torch.device) -> None:
        """step: token ids [n] of slots 0..n-1 -> logits [n, vocabulary]. It must not read values on the CPU."""
        self._step = step
        self._capture = capture
        self._slots = slots
        self._tokens = torch.zeros(slots, dtype=torch.long, device=device)
        self._replay: dict[int, Callable[[], None]] = {}  # by batch size, ascending
        self._logits: dict[int, Tensor] = {}

    def __call__(self, tokens: Sequence[int], counts: Sequence[int] | None = None) -> Tensor:
        """Returns the logits [n, vocabulary], valid until the next step. counts: None, as each slot has one token."""
        self._tokens[: len(tokens)] = torch.tensor(tokens)
        size = next(recorded for recorded in self._replay if recorded >= len(tokens))
        self._replay[size]()
        return self._logits[size][: len(tokens)]

    def record(self) -> None:
        """Record the batch sizes 1, 2, 4 ... slots. Call it before the first reply, as it writes to every slot."""
        size = 1
        while size < self._slots:
            self._record(size)
            size *= 2
        self._record(self._slots)

    def _record(self, size: int) -> None:
        def work() -> None:
            self._logits[size] = self._step(self._tokens[:size])

        self._replay[size] = self._capture(work)
