"""kernels.c computes the same bits in every instruction set, by every compiler: products are those of eager int8, all
else is what this machine's own build computes (which test_compiled.py compares with PyTorch).

A program of the kernels (driver.c) is built for each set, and run: under qemu for ARM.
"""

import platform
import shutil
import struct
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest
import torch
from torch import Tensor
from transformers import T5ForConditionalGeneration

from serve_app.engine.backends import kernels
from serve_app.engine.backends.compiled import Compiled
from serve_app.engine.backends.linear import Int8Linear, quantized_weight
from serve_app.engine.t5 import T5
from serve_app.engine.weights import from_transformers
from tests.engine.support import needs_compiled
from tests.support.checkpoints import random_t5

pytestmark = needs_compiled

DRIVER = Path(__file__).with_name("driver.c")


@dataclass(frozen=True)
class Target:
    """Of a build: the compiler with its options, and what the machine must have to run it."""

    command: Sequence[str]
    needs: Sequence[str] = ()  # flags of /proc/cpuinfo, as x86 names them
    run: Sequence[str] = ()
    machine: str = "x86_64"

    def skip_unless_possible(self) -> None:
        for program in (self.command[0], *self.run[:1]):
            if not shutil.which(program):
                pytest.skip(f"{program} is not installed")
        if not self.run and platform.machine() != self.machine:
            pytest.skip(f"this is no {self.machine}")
        missing = set(self.needs) - set(Path("/proc/cpuinfo").read_text().split()) if self.needs else set()
        if missing:
            pytest.skip(f"this processor lacks {', '.join(sorted(missing))}")


# Without OpenMP the pragmas are passed over. Clang has the bits to prove, not the time.
CLANG = ("clang", "-Wno-unknown-pragmas", "-O1")
SETS = {
    "AVX-512": (("-march=icelake-server",), ("avx512_vnni",)),
    "AVX-VNNI": (("-march=haswell", "-mavxvnni"), ("avx2", "avx_vnni")),
    "AVX2": (("-march=haswell",), ("avx2",)),
}
ARM = ("-march=armv8.2-a+dotprod", "-static")
TARGETS = {f"{name}, gcc": Target(("gcc", "-fopenmp", *flags), needs) for name, (flags, needs) in SETS.items()}
TARGETS |= {f"{name}, clang": Target((*CLANG, *flags), needs) for name, (flags, needs) in SETS.items()}
TARGETS["NEON, gcc"] = Target(("aarch64-linux-gnu-gcc", "-fopenmp", *ARM), run=("qemu-aarch64",))
TARGETS["NEON, clang"] = Target((*CLANG, "--target=aarch64-linux-gnu", *ARM), run=("qemu-aarch64",), machine="aarch64")


@pytest.fixture(scope="module", params=TARGETS)
def program(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """The command that runs the driver."""
    target = TARGETS[request.param]
    target.skip_unless_possible()
    built = tmp_path_factory.mktemp("driver") / "driver"
    command = [*kernels._FLAGS, *target.command[1:], "-Wall", "-Wextra", "-Werror", f"-I{kernels._SOURCE.parent}"]
    subprocess.run([target.command[0], *command, str(DRIVER), "-o", str(built), "-lm"], check=True)
    return [*target.run, str(built)]


def computed(program: list[str], name: str, numbers: Sequence[int], *arrays: Tensor) -> Tensor:
    """The last of `arrays` as the driver's call leaves it."""
    call = struct.pack("=16s8qq", name.encode(), *numbers, *[0] * (8 - len(numbers)), len(arrays))
    for array in arrays:
        content = array.numpy().tobytes()
        call += struct.pack("=q", len(content)) + content
    result = subprocess.run(program, input=call, check=True, capture_output=True).stdout
    return torch.frombuffer(bytearray(result), dtype=torch.float32).view(arrays[-1].shape)


def random(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def largest_everywhere(channels: int, width: int) -> tuple[Tensor, Tensor]:
    """Weights and activations of which every product, and every sum, is as large as it can be."""
    signs = torch.where(torch.arange(channels) % 2 == 0, 1.0, -1.0)
    return signs[:, None].expand(channels, width).contiguous(), torch.ones(3, width)


@pytest.mark.parametrize("precise", [False, True])
@pytest.mark.parametrize(("channels", "width"), [(96, 64), (45, 12), (33, 1100)])
def test_products_are_those_of_eager_int8(program: list[str], precise: bool, channels: int, width: int) -> None:
    """Tokens of every height of a tile, and of several tiles."""
    weight = random(channels, width)
    for tokens in (1, 2, 3, 5, 20):
        x = random(tokens, width, seed=tokens)
        x[0, 0] = 50  # a token with an outlier
        check_product(program, weight, x, precise, relu=tokens == 5)


@pytest.mark.parametrize("precise", [False, True])
def test_the_largest_sums_are_exact(program: list[str], precise: bool) -> None:
    """Sums of two products of bytes, as vpmaddubsw makes them, do not fit into 16 bits here."""
    check_product(program, *largest_everywhere(48, 1024), precise)


def check_product(program: list[str], weight: Tensor, x: Tensor, precise: bool, relu: bool = False) -> None:
    integers, scale = quantized_weight(weight)
    shape = (len(x), weight.shape[1], len(weight), 1 + precise, relu, False)
    y = computed(program, "linear", shape, x, integers, scale, torch.empty(len(x), len(weight)))
    assert torch.equal(y, Int8Linear(weight, precise, relu)(x))


def test_a_product_added_to_what_is_there(program: list[str]) -> None:
    weight, x, before = random(45, 64), random(5, 64, seed=1), random(5, 45, seed=2)
    integers, scale = quantized_weight(weight)
    y = computed(program, "linear", (5, 64, 45, 1, False, True), x, integers, scale, before)
    backend = Compiled()
    assert torch.equal(y, backend.linear(*backend.pack(weight), width=64)(x, onto=before.clone()))


def test_what_is_no_number_stays_none(program: list[str]) -> None:
    x, (integers, scale) = random(5, 64), quantized_weight(random(40, 64))
    x[2, 7], x[4, 0] = float("nan"), float("inf")
    y = computed(program, "linear", (5, 64, 40, 1, True, False), x, integers, scale, torch.empty(5, 40))
    assert y.isfinite().all(dim=1).tolist() == [True, True, False, True, False]


def test_norms(program: list[str]) -> None:
    for width in (15, 768):
        x, weight = random(20, width), random(width, seed=1)
        y = computed(program, "rms_norm", (20, width), x, weight, torch.empty(20, width))
        assert torch.equal(y, Compiled().norm(x, weight, 1e-6))


@pytest.mark.parametrize(("heads", "size"), [(2, 64), (3, 12), (2, 100)])
def test_a_prompts_attention(program: list[str], heads: int, size: int) -> None:
    for tokens in (1, 33):
        qkv, bias = 3 * random(tokens, 3 * heads * size), 20 * random(heads, 2 * 40 - 1, seed=1)
        y = computed(program, "attend_prompt", (tokens, heads, size, 40), qkv, bias, torch.empty(tokens, heads * size))
        assert torch.equal(y, Compiled().attend_to_itself(qkv, [tokens], bias))


@pytest.mark.parametrize(("heads", "size"), [(2, 64), (3, 12), (2, 100)])
def test_a_slots_attention(program: list[str], heads: int, size: int) -> None:
    """Of one row a step, and of several, which attend as if they came one by one."""
    keys_values, queries = random(19, 2 * heads * size), random(3, heads * size, seed=1)
    qkv, bias = random(21, 3 * heads * size, seed=2), random(heads, 24, seed=3)
    keys_values[3, 5] = 1e9  # beyond a 16-bit float
    depth = -(-size // 16) * 16
    slot = Compiled().kv_cache(1, 1, size, 30, bias)
    slot.fill(0, 0, keys_values)
    slot.begin([1])
    expected = torch.cat([slot.attend_to_prompt(0, query[None]).clone() for query in queries])
    y = computed(program, "prompt", (heads, 30, size, depth, 19, 3), keys_values, queries, torch.empty(3, heads * size))
    assert torch.equal(y, expected)
    replies = []
    for token in qkv:
        slot.begin([1])
        replies.append(slot.attend_to_reply(0, token[None]).clone())
        slot.end()
    for rows in (1, 3):
        sizes = (heads, 24, size, depth, 21, rows)
        y = computed(program, "reply", sizes, qkv, bias, torch.empty(21, heads * size))
        assert torch.equal(y, torch.cat(replies))


@pytest.mark.parametrize("slots", [3, 20])
def test_a_decoding_step(program: list[str], slots: int) -> None:
    """Of few rows, which each thread prepares for itself, and of many. The second step attends to the first."""
    model = random_t5(d_kv=12, d_ff=100)
    t5 = T5(from_transformers(model, Compiled()), slots=slots, max_prompt=64, max_reply=64)
    encodings = [random(3 * slot + 1, 32, seed=slot) for slot in range(slots)]
    for slot, encoding in enumerate(encodings):
        t5.fill(slot, encoding)
    tokens = torch.randint(0, 64, (2, slots), generator=torch.Generator().manual_seed(1))
    expected = torch.stack([t5.step(step.tolist()).clone() for step in tokens])
    sizes = (32, 4, 12, 100, 64, slots, len(tokens))
    y = computed(program, "decode", sizes, tokens, *decoder_of(model, t5, encodings), torch.empty(2, slots, 64))
    assert torch.equal(y, expected)


def decoder_of(model: T5ForConditionalGeneration, t5: T5, encodings: list[Tensor]) -> tuple[Tensor, Tensor]:
    """The floats and the integers of which driver.c makes a decoder, in its order."""
    state, floats, integers = model.state_dict(), [], []

    def norm(name: str) -> None:
        floats.append(state[f"decoder.{name}.weight"])

    def product(*names: str) -> None:
        whole, scale = quantized_weight(torch.cat([state[f"{name}.weight"] for name in names]))
        floats.append(scale)
        integers.append(whole)

    floats += [torch.tensor([t5.shape.logit_scale]), state["shared.weight"]]
    norm("final_layer_norm")
    product("lm_head")
    floats.append(t5._decoder_bias)
    for index, layer in enumerate(t5._weights.decoder):
        own, cross, dense = (
            f"decoder.block.{index}.layer.{part}"
            for part in ("0.SelfAttention", "1.EncDecAttention", "2.DenseReluDense")
        )
        norm(f"block.{index}.layer.0.layer_norm")
        product(f"{own}.q", f"{own}.k", f"{own}.v")
        product(f"{own}.o")
        norm(f"block.{index}.layer.1.layer_norm")
        product(f"{cross}.q")
        product(f"{cross}.o")
        norm(f"block.{index}.layer.2.layer_norm")
        product(f"{dense}.wi")
        product(f"{dense}.wo")
        floats += [layer.cross_kv(encoding).clone() for encoding in encodings]
    return torch.cat([some.flatten() for some in floats]), torch.cat([some.flatten() for some in integers])
