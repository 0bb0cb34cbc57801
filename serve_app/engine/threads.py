"""The worker threads of OpenMP, on which PyTorch and kernels.c compute."""

import ctypes
import sys

_HARD = 2  # omp_pause_hard, OpenMP 5.0


def end_workers() -> None:
    """End the workers of the calling thread; it gets new ones when it computes again.

    libgomp keeps workers for every thread that ever computed. Once there are more of them than cores, they no longer
    await the next product awake, and a decoding step, which is hundreds of small products, takes twice as long. So a
    thread that loads a model and leaves the computing to another one should end its own.
    """
    if sys.platform == "linux":  # PyTorch brings another OpenMP elsewhere
        ctypes.CDLL("libgomp.so.1").omp_pause_resource_all(_HARD)
