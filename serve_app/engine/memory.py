"""Memory that was freed, on its way back to the system."""

import ctypes
import sys


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
