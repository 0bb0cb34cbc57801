"""What the engine's tests share."""

from collections.abc import Callable, Iterator

import pytest
import torch

from serve_app.engine.arithmetic import Arithmetic
from serve_app.engine.compiled import Compiled
from serve_app.engine.eager import Eager
from serve_app.engine.linear import Float32Linear, Int8Linear
from serve_app.engine.weights import Weights, from_transformers
from tests.checkpoints import random_t5
from tests.engine.support import can_compile


@pytest.fixture(scope="session", autouse=True)
def one_thread() -> Iterator[None]:
    """Models this small get slower with every thread that waits for another one."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


MAKERS: dict[str, Callable[[], Arithmetic]] = {
    "float32": lambda: Eager(Float32Linear),
    "int8": lambda: Eager(Int8Linear),
    "int8 compiled": Compiled,
}


@pytest.fixture(scope="session", params=MAKERS)
def make_arithmetic(request: pytest.FixtureRequest) -> Callable[[], Arithmetic]:
    """The laws hold in every arithmetic."""
    if request.param == "int8 compiled" and not can_compile():
        pytest.skip("kernels.c cannot be built here")
    return MAKERS[request.param]


@pytest.fixture(scope="session")
def weights(make_arithmetic: Callable[[], Arithmetic]) -> Weights:
    """A T5 whose heads are wider than its model (d_kv * heads != d_model), as in T5-11b."""
    return from_transformers(random_t5(d_kv=12), make_arithmetic())
