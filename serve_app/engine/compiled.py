"""The arithmetic in eight-bit integers by kernels.c, which the machine's C compiler makes into instructions it has.

Weights are scaled per output channel and activations per token, as in linear.Int8Linear, bit for bit. Keys and values
are kept as float16: a decoding step of many slots is bound by how fast they can be read. Products with many rows are
PyTorch's (oneDNN); kernels.c has those with few, which oneDNN does at a third of the memory's speed.
"""

import ctypes
import hashlib
import os
import platform
import shutil
import subprocess
import tempfile
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import torch
from torch import Tensor

from serve_app.engine.arithmetic import Linear
from serve_app.engine.eager import SlotCaches
from serve_app.engine.linear import quantized_weight

_SOURCE = Path(__file__).with_name("kernels.c")
_FLAGS = ["-O3", "-march=native", "-fopenmp", "-fno-math-errno", "-fno-trapping-math", "-shared", "-fPIC"]
_CHANNELS, _TILE, _ROWS, _LANES = 16, 32, 8, 16  # CHANNELS, BLOCKS * CHANNELS, ROWS and LANES in kernels.c


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
    return ctypes.CDLL(str(library))


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

    def __init__(self) -> None:
        """Raises CannotCompile."""
        library = load()
        library.set_threads(torch.get_num_threads())
        library.attend_prompt_scratch.restype = ctypes.c_int64
        self._library = library
        self._norm = _function(library, "rms_norm", "ppfiip")
        self._attend_prompt = _function(library, "attend_prompt", "piiipipp")
        self._workspace = _Workspace()

    def linear(self, weight: Tensor, *, precise: bool = False) -> Linear:
        return _ManyRows(weight, 1 + precise, self._library, self._workspace)

    def step_linear(self, weight: Tensor, *, precise: bool = False) -> Linear:
        fits = weight.shape[1] % 4 == 0  # kernels.c reads four weights at a time
        return (_FewRows if fits else _ManyRows)(weight, 1 + precise, self._library, self._workspace)

    def norm(self, x: Tensor, weight: Tensor, epsilon: float) -> Tensor:
        rows, width = x.shape
        y = torch.empty_like(x)
        self._norm(x.data_ptr(), weight.data_ptr(), epsilon, rows, width, y.data_ptr())
        return y

    def attend_to_itself(self, qkv: Tensor, lengths: list[int], bias: Tensor) -> Tensor:
        count, longest, _ = bias.shape
        size = qkv.shape[1] // (3 * count)
        y = self._workspace.take("attended", len(qkv), count * size, torch.float32)
        room = self._library.attend_prompt_scratch(*map(ctypes.c_int64, (max(lengths), count, size)))
        scratch = self._workspace.take("scratch", 1, room, torch.float32)
        start = 0
        for tokens in lengths:
            self._attend_prompt(
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

    def slots(self, layers: int, slots: int, size: int, max_prompt: int, reply_bias: Tensor) -> "CompiledSlots":
        return CompiledSlots(self._library, layers, slots, size, max_prompt, reply_bias)


class _ManyRows:
    """linear.Int8Linear with its passes in C and its results in memory that is used again."""

    def __init__(self, weight: Tensor, bytes_: int, library: ctypes.CDLL, workspace: "_Workspace") -> None:
        integers, self._scale = quantized_weight(weight)
        self._weight = integers.t()  # the layout that oneDNN's kernel takes without repacking
        self._bytes = bytes_
        self._take = workspace.take
        self._quantize = _function(library, "quantize", "piiipp")
        self._rescale = _function(library, "rescale", "pppiiip")

    def __call__(self, x: Tensor) -> Tensor:
        (rows, width), channels, bytes_ = x.shape, self._weight.shape[1], self._bytes
        q = self._take("quantized", rows * bytes_, width, torch.int8)
        scale = self._take("scale", 1, rows, torch.float32)
        sums = self._take("sums", rows * bytes_, channels, torch.int32)
        y = self._take(f"product {channels}", rows, channels, torch.float32)
        self._quantize(x.data_ptr(), rows, width, bytes_, q.data_ptr(), scale.data_ptr())
        torch._int_mm(q, self._weight, out=sums)
        self._rescale(sums.data_ptr(), scale.data_ptr(), self._scale.data_ptr(), rows, bytes_, channels, y.data_ptr())
        return y


class _FewRows:
    """The same by kernels.c's own product. Equal to the other, bit for bit: sums of integers are exact."""

    def __init__(self, weight: Tensor, bytes_: int, library: ctypes.CDLL, workspace: "_Workspace") -> None:
        integers, self._scale = quantized_weight(weight)
        self._channels = len(weight)
        self._weight = _packed(integers)
        self._bytes = bytes_
        self._take = workspace.take
        self._quantize = _function(library, "quantize", "piiipp")
        self._multiply = _function(library, "multiply", "ppppiiiip")

    def __call__(self, x: Tensor) -> Tensor:
        (rows, width), channels, bytes_ = x.shape, self._channels, self._bytes
        q = self._take("quantized", -(-rows * bytes_ // _ROWS) * _ROWS, width, torch.int8)
        scale = self._take("scale", 1, rows, torch.float32)
        y = self._take(f"product {channels}", rows, channels, torch.float32)
        self._quantize(x.data_ptr(), rows, width, bytes_, q.data_ptr(), scale.data_ptr())
        self._multiply(
            q.data_ptr(),
            scale.data_ptr(),
            self._weight.data_ptr(),
            self._scale.data_ptr(),
            rows,
            bytes_,
            channels,
            width,
            y.data_ptr(),
        )
        return y


def _packed(weight: Tensor) -> Tensor:
    """Integers [out, in] as kernels.c's `multiply` reads them; both filled up with zeros to whole tiles."""
    channels, width = weight.shape
    filled = torch.zeros(-(-channels // _TILE) * _TILE, width, dtype=torch.int16)
    filled[:channels] = weight
    blocks = (filled + 128).to(torch.uint8).view(-1, _CHANNELS, width // 4, 4)
    return blocks.transpose(1, 2).contiguous()


class CompiledSlots(SlotCaches):
    def __init__(
        self, library: ctypes.CDLL, layers: int, slots: int, size: int, max_prompt: int, reply_bias: Tensor
    ) -> None:
        self._size, self._depth = size, -(-size // _LANES) * _LANES
        super().__init__(torch.float16, layers, slots, self._depth, max_prompt, reply_bias)
        self._max_prompt, self._max_reply = max_prompt, reply_bias.shape[1]
        self._store = _function(library, "store_prompt", "piiiiipp")
        self._attend_to_reply = _function(library, "attend_to_reply", "pppppiiiiip")
        self._attend_to_prompt = _function(library, "attend_to_prompt", "ppppiiiiip")

    def fill(self, slot: int, layer: int, keys_values: Tensor) -> None:
        tokens = len(keys_values)
        keys, values = self._prompts[layer, :, slot]
        self._store(
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
        self._attended = torch.empty(count, self._heads * self._size)

    def attend_to_reply(self, layer: int, qkv: Tensor) -> Tensor:
        keys, values = self._replies[layer, :, self._active]
        self._attend_to_reply(
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
        self._attend_to_prompt(
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

    def take(self, purpose: str, rows: int, width: int, dtype: torch.dtype) -> Tensor:
        """[rows, width], not initialised; what was taken for the same purpose before is overwritten."""
        memory = self._memory.get(purpose)
        if memory is None or len(memory) < rows * width:
            memory = self._memory[purpose] = torch.empty(rows * width, dtype=dtype)
        return memory[: rows * width].view(rows, width)


_TYPES = {"p": ctypes.c_void_p, "i": ctypes.c_int64, "f": ctypes.c_float}


def _function(library: ctypes.CDLL, name: str, arguments: str) -> Callable[..., None]:
    """A function of kernels.c. arguments: p(ointer), i(nteger), f(loat), one letter each."""
    prototype = ctypes.CFUNCTYPE(None, *(_TYPES[letter] for letter in arguments))
    function: Callable[..., None] = prototype((name, library))
    return function
