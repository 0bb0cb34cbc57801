"""What the engine's tests share."""

from collections.abc import Iterator

import pytest
import torch

from serve_app.engine.linear import Float32Linear, Int8Linear, MakeLinear
from serve_app.engine.weights import Weights, from_transformers
from tests.checkpoints import random_t5


@pytest.fixture(scope="session", autouse=True)
def one_thread() -> Iterator[None]:
    """Models this small get slower with every thread that waits for another one."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="session", params=[Float32Linear, Int8Linear], ids=["float32", "int8"])
def make_linear(request: pytest.FixtureRequest) -> MakeLinear:
    """The laws hold in every arithmetic."""
    made: MakeLinear = request.param
    return made


@pytest.fixture(scope="session")
def weights(make_linear: MakeLinear) -> Weights:
    """A T5 whose heads are wider than its model (d_kv * heads != d_model), as in T5-11b."""
    return from_transformers(random_t5(d_kv=12), make_linear)
