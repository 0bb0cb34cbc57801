"""OpenMP's workers: none may idle beside those of the step loop."""

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from serve_app.engine.threads import end_workers

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="libgomp is PyTorch's OpenMP on Linux")


@pytest.fixture
def two_threads() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    yield
    torch.set_num_threads(before)


def threads() -> int:
    return len(list(Path("/proc/self/task").iterdir()))


@pytest.mark.usefixtures("two_threads")
def test_the_callers_workers_end_and_come_back() -> None:
    end_workers()
    none = threads()
    for _ in range(2):
        torch.ones(2000, 2000).add_(1)
        assert threads() == none + 1
        end_workers()
        assert threads() == none
