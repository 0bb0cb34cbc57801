"""What the engine's tests share."""

from collections.abc import Callable, Iterator, Sequence

import pytest
from torch import Tensor

from serve_app.engine.backends.compiled import Compiled
from serve_app.engine.backends.eager import Eager
from serve_app.engine.backends.linear import Float32Linear, Int8Linear
from serve_app.engine.backends.protocols import Backend
from serve_app.engine.engine import Engine
from serve_app.engine.trie import Trie
from serve_app.engine.weights import Weights, from_transformers
from tests.engine.support import Echo, SteppedEngine, can_compile
from tests.support.checkpoints import random_t5

MakeStepped = Callable[..., SteppedEngine]
MakeEngine = Callable[..., Engine]
Journal = list[tuple[str, int]]


@pytest.fixture(scope="module", autouse=True)
def all_on_one_thread(one_thread: None) -> None: ...


MAKERS: dict[str, Callable[[], Backend]] = {
    "float32": lambda: Eager(Float32Linear),
    "int8": lambda: Eager(Int8Linear),
    "int8 compiled": Compiled,
}


@pytest.fixture(scope="session", params=MAKERS)
def make_backend(request: pytest.FixtureRequest) -> Callable[[], Backend]:
    """The laws hold in every backend."""
    if request.param == "int8 compiled" and not can_compile():
        pytest.skip("kernels.c cannot be built here")
    return MAKERS[request.param]


@pytest.fixture(scope="session")
def weights(make_backend: Callable[[], Backend]) -> Weights:
    """A T5 whose heads are wider than its model (d_kv * heads != d_model), as in T5-11b."""
    return from_transformers(random_t5(d_kv=12), make_backend())


# --- engines around a model that echoes its prompt ------------------------------------------------------------------


@pytest.fixture
def stepped(weights: Weights, monkeypatch: pytest.MonkeyPatch) -> MakeStepped:
    monkeypatch.setattr("serve_app.engine.engine.T5", Echo)
    return lambda **sizes: SteppedEngine(weights, **{"slots": 2, "max_prompt": 100, "max_reply": 10**6} | sizes)


@pytest.fixture
def running(weights: Weights, monkeypatch: pytest.MonkeyPatch) -> Iterator[MakeEngine]:
    """Engines with their own thread, closed in the end, around a model of the test's choice."""
    engines: list[Engine] = []

    def make(model: type[Echo] = Echo, slots: int = 1) -> Engine:
        monkeypatch.setattr("serve_app.engine.engine.T5", model)
        engines.append(Engine(weights, slots=slots, max_prompt=100, max_reply=10**6))
        return engines[-1]

    yield make
    for engine in engines:
        engine.close()


@pytest.fixture
def journal(stepped: MakeStepped, monkeypatch: pytest.MonkeyPatch) -> Journal:
    """What the model of stepped engines is asked for, in order: ("encode", tokens), ("trie_logits", candidates) and
    ("step", slots)."""
    entries: Journal = []

    class Recorded(Echo):
        def encode(self, prompts: Sequence[Sequence[int]]) -> list[Tensor]:
            entries.append(("encode", sum(map(len, prompts))))
            return super().encode(prompts)

        def step(self, tokens: Sequence[int], counts: Sequence[int] | None = None) -> Tensor:
            entries.append(("step", len(tokens)))
            return super().step(tokens, counts)

        def trie_logits(self, trie: Trie, encoding: Tensor) -> Tensor:
            entries.append(("trie_logits", len(trie.candidates)))
            return super().trie_logits(trie, encoding)

    monkeypatch.setattr("serve_app.engine.engine.T5", Recorded)
    return entries
