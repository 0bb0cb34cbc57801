"""How far int8 may differ from float32."""

from collections.abc import Callable

import pytest

from bench.quality import measure
from serve_app.engine.backends.compiled import Compiled
from serve_app.engine.backends.eager import Eager
from serve_app.engine.backends.linear import Int8Linear
from serve_app.engine.backends.protocols import Backend
from tests.engine.support import needs_compiled


@pytest.mark.parametrize(
    "make",
    [
        lambda: Eager(Int8Linear),
        pytest.param(Compiled, marks=needs_compiled),
    ],
    ids=["eager", "compiled"],
)
def test_the_shipped_models_replies_are_nearly_all_float32s(make: Callable[[], Backend]) -> None:
    quality = measure(make())
    assert quality.tokens_equal >= 0.98
    assert quality.cosine_mean >= 0.999
