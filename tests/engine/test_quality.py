"""How far int8 may differ from float32."""

from bench.quality import measure
from serve_app.engine.backends.compiled import Compiled
from serve_app.engine.backends.eager import Eager
from serve_app.engine.backends.linear import Int8Linear
from serve_app.engine.backends.protocols import Backend
from tests.engine.support import can_compile


def test_the_shipped_models_replies_are_nearly_all_float32s() -> None:
    backends: list[Backend] = [Eager(Int8Linear)]
    if can_compile():
        backends.append(Compiled())
    for quality in measure(backends):
        assert quality.tokens_equal >= 0.98
        assert quality.cosine_mean >= 0.999
