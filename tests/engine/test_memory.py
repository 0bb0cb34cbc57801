"""What loading leaves behind must not stay; how one sees that memory has run out."""

import platform
from collections.abc import Callable

import psutil
import pytest
import torch

from serve_app.engine.engine import Engine
from serve_app.engine.memory import is_out_of_memory, return_freed
from serve_app.engine.weights import Weights

MB = 1024**2
glibc_only = pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="only glibc keeps freed memory like this")


def resident_mb() -> int:
    return int(psutil.Process().memory_info().rss) // MB


def leave_holes() -> list[torch.Tensor]:
    """100 MB in small pieces, of which every second one is freed: glibc cannot shrink its heap."""
    pieces = [torch.ones(16 * 1024) for _ in range(1600)]  # 64 KB each
    return pieces[::2]


@glibc_only
def test_freed_memory_goes_back_to_the_system() -> None:
    kept = leave_holes()
    before = resident_mb()
    return_freed()
    assert resident_mb() < before - 30
    assert len(kept) == 800


@glibc_only
def test_an_engine_returns_what_loading_its_model_left(weights: Weights) -> None:
    kept = leave_holes()
    before = resident_mb()
    engine = Engine(weights, slots=1, max_prompt=16, max_reply=8)
    assert resident_mb() < before - 30
    engine.close()
    assert len(kept) == 800


@pytest.mark.parametrize("allocate", [lambda: torch.empty(2**50), lambda: bytearray(2**50)])
def test_the_errors_of_memory_that_runs_out_are_known(allocate: Callable[[], object]) -> None:
    """PyTorch's for a CPU is known by its text alone, so a release that words it otherwise must fail here."""
    with pytest.raises((RuntimeError, MemoryError)) as raised:
        allocate()
    assert is_out_of_memory(raised.value)


def test_other_errors_are_not_taken_for_it() -> None:
    assert is_out_of_memory(torch.OutOfMemoryError("CUDA out of memory."))
    assert not any(map(is_out_of_memory, [RuntimeError("CUDA error: device-side assert triggered"), ValueError("x")]))
