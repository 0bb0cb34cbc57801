"""Decoding steps as CUDA graphs: one per bucket of slots, recorded once and replayed.

A step of few slots is hundreds of small kernels whose launches take longer than their work; a graph launches them as
one. It replays the very same memory, so its shapes are fixed: a step of n slots runs the smallest bucket that holds n,
and the slots beyond n compute what nobody reads.
"""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

# Work that writes to fixed memory -> a function that does it again
Capture = Callable[[Callable[[], None]], Callable[[], None]]


def cuda_graph(work: Callable[[], None]) -> Callable[[], None]:
    """Record `work` as a CUDA graph, after a run that lets libraries settle what they allocate."""
    side = torch.cuda.Stream()  # type: ignore[no-untyped-call]  # torch leaves it so
    side.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(side):
        work()
    torch.cuda.current_stream().wait_stream(side)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        work()
    return graph.replay


class GraphedStep:
    def __init__(self, step: Callable[[Tensor], Tensor], capture: Capture, *, slots: int, device: torch.device) -> None:
        """step: token ids [n] of slots 0..n-1 -> logits [n, vocabulary], in any shape of n without asking the CPU."""
        self._step = step
        self._capture = capture
        self._slots = slots
        self._tokens = torch.zeros(slots, dtype=torch.long, device=device)
        self._replay: dict[int, Callable[[], None]] = {}  # by bucket
        self._logits: dict[int, Tensor] = {}

    def __call__(self, tokens: Sequence[int]) -> Tensor:
        """-> logits [n, vocabulary], which last until the next step."""
        self._tokens[: len(tokens)] = torch.tensor(tokens)
        bucket = next(size for size in self._replay if size >= len(tokens))
        self._replay[bucket]()
        return self._logits[bucket][: len(tokens)]

    def record(self) -> None:
        """Record the buckets 1, 2, 4 ... slots. It writes to every slot: to be done before the first reply."""
        bucket = 1
        while bucket < self._slots:
            self._record(bucket)
            bucket *= 2
        self._record(self._slots)

    def _record(self, bucket: int) -> None:
        def work() -> None:
            self._logits[bucket] = self._step(self._tokens[:bucket])

        self._replay[bucket] = self._capture(work)
