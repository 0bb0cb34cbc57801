"""The arithmetic in eight-bit integers by kernels.c, which the machine's C compiler makes into instructions it has.

Weights are scaled per output channel and activations per token, as in linear.Int8Linear, bit for bit. Keys and values
are kept as float16: a decoding step of many slots is bound by how fast they can be read.
"""

import ctypes
import hashlib
import os
import platform
import shutil
import subprocess
import tempfile
from contextlib import suppress
from pathlib import Path

import torch
from torch import Tensor
from torch.nn import functional as F

from serve_app.engine.arithmetic import Linear
from serve_app.engine.eager import SlotCaches, attend
from serve_app.engine.linear import quantized_weight

_SOURCE = Path(__file__).with_name("kernels.c")
_FLAGS = ["-O3", "-march=native", "-fopenmp", "-fno-math-errno", "-fno-trapping-math", "-shared", "-fPIC"]
_CHANNELS, _TILE, _LANES = 16, 32, 16  # CHANNELS, BLOCKS * CHANNELS and LANES in kernels.c


# Of the functions of kernels.c, the result's type and the arguments': p(ointer), i(nteger), f(loat) or v(oid).
_SIGNATURES = {
    "set_threads": "vi",
    "rms_norm": "vppfiip",
    "linear_scratch": "iiii",
    "linear": "vpppiiiiiipp",
    "attend_prompt_scratch": "iiii",
    "attend_prompt": "vpiiipipp",
    "store_prompt": "vpiiiiipp",
    "attend_to_reply": "vpppppiiiiip",
    "attend_to_prompt": "vppppiiiiip",
}
_TYPES = {"p": ctypes.c_void_p, "i": ctypes.c_int64, "f": ctypes.c_float, "v": None}


class CannotCompile(Exception):
    """kernels.c cannot be built here, for want of a compiler or of the processor's instructions; says which."""


def compiler() -> str | None:
    """The path of the machine's C compiler."""
    return next((path for name in ("cc", "gcc", "clang") if (path := shutil.which(name))), None)


def load() -> ctypes.CDLL:
    """kernels.c, built once for this source and this processor. Raises CannotCompile."""
    found = compiler()
    if not found:
        raise CannotCompile("no C compiler (cc, gcc or clang) was found")
    made_from = [_SOURCE.read_bytes(), found.encode(), " ".join(_FLAGS).encode(), _processor()]
    library = _cache() / f"kernels-{hashlib.sha256(repr(made_from).encode()).hexdigest()[:16]}.so"
    if not library.exists():
        _build(found, library)
    kernels = ctypes.CDLL(str(library))
    for name, signature in _SIGNATURES.items():
        result, *arguments = map(_TYPES.get, signature)
        function = getattr(kernels, name)
        function.restype, function.argtypes = result, arguments
    return kernels


def _cache() -> Path:
    """A folder of this user's; where HOME cannot be written, one for this process alone."""
    folder = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "godel-serve"
    with suppress(OSError):
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        if os.access(folder, os.W_OK):
            return folder
    return Path(tempfile.mkdtemp(prefix="godel-serve-"))


def _processor() -> bytes:
    """What -march=native depends on."""
    cpuinfo = Path("/proc/cpuinfo")
    if not cpuinfo.exists():
        return platform.processor().encode()
    return b"\n".join(sorted({x for x in cpuinfo.read_bytes().splitlines() if x[:5] in (b"model", b"flags", b"Featu")}))


def _build(compiler_: str, library: Path) -> None:
    part = library.with_suffix(f".{os.getpid()}.part")  # several replicas may build at once; the last one's stays
    try:
        subprocess.run([compiler_, *_FLAGS, str(_SOURCE), "-o", str(part), "-lm"], check=True, capture_output=True)
        part.replace(library)
    except subprocess.CalledProcessError as error:
        raise CannotCompile(f"{compiler_} failed: {error.stderr.decode(errors='replace').strip()[-500:]}") from error
    except OSError as error:
        raise CannotCompile(f"{compiler_} could not be used: {error}") from error


class Compiled:
    """For one model: its layers share memory, so no two threads may compute with it."""

    device = torch.device("cpu")
    capture = None
    tokens_at_once = 384

    def __init__(self) -> None:
        """Raises CannotCompile."""
        self._kernels = load()
        self._kernels.set_threads(torch.get_num_threads())
        self._workspace = _Workspace()

    def linear(self, weight: Tensor, *, precise: bool = False, relu: bool = False) -> Linear:
        return _Linear(weight, 1 + precise, relu, self._kernels, self._workspace)

    def norm(self, x: Tensor, weight: Tensor, epsilon: float) -> Tensor:
        rows, width = x.shape
        y = self._workspace.take("normed", rows, width)
        self._kernels.rms_norm(x.data_ptr(), weight.data_ptr(), epsilon, rows, width, y.data_ptr())
        return y

    def prompt_bias(self, by_distance: Tensor) -> Tensor:
        return by_distance

    def attend_to_itself(self, qkv: Tensor, lengths: list[int], bias: Tensor) -> Tensor:
        count, longest = len(bias), (bias.shape[1] + 1) // 2
        size = qkv.shape[1] // (3 * count)
        y = self._workspace.take("attended", len(qkv), count * size)
        scratch = self._workspace.take("scratch", 1, self._kernels.attend_prompt_scratch(max(lengths), count, size))
        start = 0
        for tokens in lengths:
            self._kernels.attend_prompt(
                qkv[start].data_ptr(),
                tokens,
                count,
                size,
                bias.data_ptr(),
                longest,
                scratch.data_ptr(),
                y[start].data_ptr(),
            )
            start += tokens
        return y

    def attend(self, q: Tensor, keys_values: Tensor, bias: Tensor) -> Tensor:
        return attend(q, keys_values, bias)  # too small a part of the work for a kernel of its own

    def slots(self, layers: int, slots: int, size: int, max_prompt: int, reply_bias: Tensor) -> "CompiledSlots":
        return CompiledSlots(self._kernels, layers, slots, size, max_prompt, reply_bias)


class _Linear:
    """linear.Int8Linear, bit for bit: sums of integers are exact. The weights are packed as kernels.c reads them."""

    def __init__(self, weight: Tensor, lines: int, relu: bool, kernels: ctypes.CDLL, workspace: "_Workspace") -> None:
        """lines: of bytes for a token's activations, 1 or 2."""
        integers, scale = quantized_weight(weight)
        self._channels = len(weight)
        self._weight = _packed(integers)
        self._scale = F.pad(scale, (0, -len(scale) % _TILE))
        self._lines = lines
        self._relu = relu
        self._kernels = kernels
        self._take = workspace.take

    def __call__(self, x: Tensor, onto: Tensor | None = None) -> Tensor:
        tokens, width = x.shape
        y = self._take(f"product {self._channels}", tokens, self._channels) if onto is None else onto
        scratch = self._take("scratch", 1, self._kernels.linear_scratch(tokens, width, self._lines))
        self._kernels.linear(
            x.data_ptr(),
            self._weight.data_ptr(),
            self._scale.data_ptr(),
            tokens,
            width,
            self._channels,
            self._lines,
            self._relu,
            onto is not None,
            scratch.data_ptr(),
            y.data_ptr(),
        )
        return y


def _packed(weight: Tensor) -> Tensor:
    """Integers [out, in] as kernels.c's `linear` reads them; both filled up with zeros, to whole tiles and fours."""
    channels, width = weight.shape
    filled = F.pad(weight, (0, -width % 4, 0, -channels % _TILE)).bitwise_xor_(-128).view(torch.uint8)  # plus 128
    blocks = filled.view(-1, _CHANNELS, filled.shape[1] // 4, 4)
    return blocks.transpose(1, 2).contiguous()


class CompiledSlots(SlotCaches):
    def __init__(
        self, kernels: ctypes.CDLL, layers: int, slots: int, size: int, max_prompt: int, reply_bias: Tensor
    ) -> None:
        self._size, self._depth = size, -(-size // _LANES) * _LANES
        super().__init__(torch.float16, layers, slots, self._depth, max_prompt, reply_bias)
        self._max_prompt, self._max_reply = max_prompt, reply_bias.shape[1]
        self._kernels = kernels
        self._result = torch.empty(slots, self._heads * size)

    def fill(self, slot: int, layer: int, keys_values: Tensor) -> None:
        tokens = len(keys_values)
        keys, values = self._prompts[layer, :, slot]
        self._kernels.store_prompt(
            keys_values.data_ptr(),
            tokens,
            self._heads,
            self._max_prompt,
            self._size,
            self._depth,
            keys.data_ptr(),
            values.data_ptr(),
        )
        self._prompt_lengths[slot] = tokens
        self._reply_lengths[slot] = 0

    def begin(self, count: int) -> None:
        self._active = slice(count)
        self._attended = self._result[:count]

    def attend_to_reply(self, layer: int, qkv: Tensor) -> Tensor:
        keys, values = self._replies[layer, :, self._active]
        self._kernels.attend_to_reply(
            qkv.data_ptr(),
            keys.data_ptr(),
            values.data_ptr(),
            self._reply_lengths[self._active].data_ptr(),
            self._reply_bias.data_ptr(),
            len(qkv),
            self._heads,
            self._max_reply,
            self._size,
            self._depth,
            self._attended.data_ptr(),
        )
        return self._attended

    def attend_to_prompt(self, layer: int, q: Tensor) -> Tensor:
        keys, values = self._prompts[layer, :, self._active]
        self._kernels.attend_to_prompt(
            q.data_ptr(),
            keys.data_ptr(),
            values.data_ptr(),
            self._prompt_lengths[self._active].data_ptr(),
            len(q),
            self._heads,
            self._max_prompt,
            self._size,
            self._depth,
            self._attended.data_ptr(),
        )
        return self._attended


class _Workspace:
    """Memory that is used again at every call, so no step waits for fresh pages. It grows to what was asked for."""

    def __init__(self) -> None:
        self._memory: dict[str, Tensor] = {}

    def take(self, purpose: str, rows: int, width: int) -> Tensor:
        """[rows, width], not initialised; what was taken for the same purpose before is overwritten."""
        memory = self._memory.get(purpose)
        if memory is None or len(memory) < rows * width:
            memory = self._memory[purpose] = torch.empty(rows * width)
        return memory[: rows * width].view(rows, width)
