"""OpenMP's worker threads, in which PyTorch and kernels.c compute."""

import ctypes
import sys

_HARD = 2  # omp_pause_hard, OpenMP 5.0


def end_workers() -> None:
    """End the calling thread's workers; it gets new ones at its next parallel operation.

    libgomp keeps workers for every thread that has computed. Once there are more workers than cores, they sleep between
    operations instead of spinning, and a decoding step, which is hundreds of small operations, takes twice as long. So
    a thread that has loaded a model and will not run it should end its workers.
    """
    if sys.platform == "linux":  # elsewhere PyTorch ships another OpenMP
        ctypes.CDLL("libgomp.so.1").omp_pause_resource_all(_HARD)
