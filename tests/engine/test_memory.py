"""What loading leaves behind must not stay."""

import platform

import psutil
import pytest
import torch

from serve_app.engine.engine import Engine
from serve_app.engine.memory import return_freed
from serve_app.engine.weights import Weights

MB = 1024**2
pytestmark = pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="only glibc keeps freed memory like this")


def resident_mb() -> int:
    return int(psutil.Process().memory_info().rss) // MB


def leave_holes() -> list[torch.Tensor]:
    """100 MB in small pieces, of which every second one is freed: glibc cannot shrink its heap."""
    pieces = [torch.ones(16 * 1024) for _ in range(1600)]  # 64 KB each
    return pieces[::2]


def test_freed_memory_goes_back_to_the_system() -> None:
    kept = leave_holes()
    before = resident_mb()
    return_freed()
    assert resident_mb() < before - 30
    assert len(kept) == 800


def test_an_engine_returns_what_loading_its_model_left(weights: Weights) -> None:
    kept = leave_holes()
    before = resident_mb()
    engine = Engine(weights, slots=1, max_prompt=16, max_reply=8)
    assert resident_mb() < before - 30
    engine.close()
    assert len(kept) == 800
