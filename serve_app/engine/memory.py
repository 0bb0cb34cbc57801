"""Memory that runs out, and memory that was freed on its way back to the system."""

import ctypes
import sys

import torch


def is_out_of_memory(error: Exception) -> bool:
    """PyTorch has an error of its own for a GPU's memory; a CPU's is a bare RuntimeError, known by its text."""
    return isinstance(error, MemoryError | torch.OutOfMemoryError) or (
        isinstance(error, RuntimeError) and "can't allocate memory" in str(error)
    )


def return_freed() -> None:
    """Return what was freed to the system. To be called once a model is loaded.

    Weights are read, joined and quantised piece by piece; glibc keeps the pieces for later, a third of what the model
    needs, but nothing later is of their sizes.
    """
    if sys.platform != "linux":
        return
    libc = ctypes.CDLL(None)
    if hasattr(libc, "malloc_trim"):  # glibc's own: musl has none
        libc.malloc_trim(0)
