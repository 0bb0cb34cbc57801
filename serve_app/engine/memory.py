"""Recognising that memory ran out, and returning freed memory to the operating system."""

import ctypes
import sys

import torch


def is_out_of_memory(error: Exception) -> bool:
    """PyTorch raises OutOfMemoryError for a GPU's memory, but a plain RuntimeError for the CPU's: its text decides."""
    return isinstance(error, MemoryError | torch.OutOfMemoryError) or (
        isinstance(error, RuntimeError) and "can't allocate memory" in str(error)
    )


def return_freed() -> None:
    """Return freed memory to the operating system; call it after loading a model.

    Weights are read, concatenated and quantised one by one. glibc keeps the freed buffers, a third of what the model
    needs, for allocations of the same sizes, but none come.
    """
    if sys.platform != "linux":
        return
    libc = ctypes.CDLL(None)
    if hasattr(libc, "malloc_trim"):  # glibc only: musl has none
        libc.malloc_trim(0)
