"""`dtype` and `device` -> backend, by what the machine has."""

import pytest
import torch

from serve_app.engine.backends.compiled import Compiled
from serve_app.engine.backends.cuda_graphs import cuda_graph
from serve_app.engine.backends.eager import Eager
from serve_app.engine.backends.linear import Float32Linear, HalfLinear
from serve_app.engine.backends.select import Dtype, select_backend
from tests.engine.support import needs_compiled


@pytest.fixture
def gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda: True)


@pytest.fixture
def no_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)


@needs_compiled
@pytest.mark.parametrize("dtype", ["auto", "int8"])
def test_a_cpu_computes_in_int8(no_gpu: None, dtype: Dtype) -> None:
    assert isinstance(select_backend(dtype, "auto"), Compiled)


@pytest.mark.usefixtures("no_gpu")
@pytest.mark.parametrize(("dtype", "layer"), [("float32", Float32Linear), ("bfloat16", HalfLinear)])
def test_a_cpu_computes_in_floats_if_told_to(dtype: Dtype, layer: type) -> None:
    backend = select_backend(dtype, "auto")
    assert isinstance(backend.linear(torch.ones(4, 4), width=4), layer)
    assert backend.capture is None


@pytest.mark.usefixtures("gpu")
def test_a_gpu_computes_in_bfloat16_by_recorded_steps() -> None:
    backend = select_backend("auto", "auto")
    assert isinstance(backend, Eager)
    assert (backend.device, backend.capture) == (torch.device("cuda"), cuda_graph)
    y = backend.linear(torch.ones(4, 4), width=4)(torch.full((1, 4), 1 + 2**-9))
    assert y.tolist() == [[4.0] * 4], "bfloat16 rounds that away"


def test_a_gpu_without_bfloat16_computes_in_float16(gpu: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda: False)
    y = select_backend("auto", "cuda").linear(torch.ones(4, 4), width=4)(torch.full((1, 4), 1 + 2**-9))
    assert y.tolist() == [[4 + 2**-7] * 4]


@pytest.mark.usefixtures("no_gpu")
def test_a_gpu_that_is_not_there_is_named() -> None:
    with pytest.raises(ValueError, match="device: cuda.*no CUDA GPU"):
        select_backend("auto", "cuda")


@pytest.mark.usefixtures("gpu")
def test_int8_on_a_gpu_is_refused() -> None:
    with pytest.raises(ValueError, match="dtype: int8"):
        select_backend("int8", "auto")
