"""Builds kernels.c with this machine's C compiler, for the instructions of its processor, and loads it through cffi.

vectors.h chooses among instruction sets by what the compiler predefines for the processor. To measure another one, the
environment variable KERNELS_TARGET replaces the compiler's -march=native (for AVX2: -march=haswell).

cffi reads the prototypes in kernels.h, which kernels.c includes. So a wrong name, a wrong number of arguments or an
array of another dtype raises, where ctypes would corrupt memory.

The library is cached for the next process. One that does not load is built again; where there is no usable cache it is
built for this process alone. If it cannot be built, `load` raises, and select.py takes PyTorch's backend instead.
"""

import hashlib
import logging
import os
import platform
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import cffi
import torch
from torch import Tensor

from serve_app.engine.cache import NoCache, cache_folder

logger = logging.getLogger("ray.serve.godel")

_SOURCE = Path(__file__).with_name("kernels.c")
_HEADER = Path(__file__).with_name("kernels.h")
_VECTORS = Path(__file__).with_name("vectors.h")

# Products and sums are fused only where kernels.c says so: otherwise the compiler would choose what is rounded.
_FLAGS = ["-O3", "-ffp-contract=off", "-fno-math-errno", "-fno-trapping-math", "-Wfatal-errors"]
_TORCH_LIBRARIES = Path(torch.__file__).with_name("lib")
_OPENMP = (
    # Apple's compiler has no -fopenmp, and no library for it; PyTorch brings one.
    ["-Xclang", "-fopenmp", f"-L{_TORCH_LIBRARIES}", f"-Wl,-rpath,{_TORCH_LIBRARIES}", "-lomp"]
    if sys.platform == "darwin"
    else ["-fopenmp"]
)

_FFI = cffi.FFI()
_FFI.cdef("typedef uint16_t half;")  # of the same size; nothing here computes with it
_FFI.cdef(_HEADER.read_text())
_POINTERS = {
    torch.float32: _FFI.typeof("float *"),
    torch.float16: _FFI.typeof("half *"),
    torch.int8: _FFI.typeof("int8_t *"),
    torch.int64: _FFI.typeof("int64_t *"),
}


class CannotCompile(Exception):
    """kernels.c cannot be built here: there is no C compiler, or the processor lacks the instructions. Says which."""


def pointer(tensor: Tensor) -> Any:
    """A tensor's data as a C pointer of its dtype, for the functions of `load`. The tensor must outlive its use."""
    return _FFI.cast(_POINTERS[tensor.dtype], tensor.data_ptr())


def new(ctype: str, value: Any) -> Any:
    """Memory of a type of kernels.h, freed with what is returned. What it points to is not kept by it."""
    return _FFI.new(ctype, value)


def compiler() -> str | None:
    """The path of the machine's C compiler."""
    return next((path for name in ("cc", "gcc", "clang") if (path := shutil.which(name))), None)


def load() -> Any:
    """The functions of kernels.h as attributes; built if there is no cached library. Raises CannotCompile."""
    found = compiler()
    if not found:
        raise CannotCompile("no C compiler (cc, gcc or clang) was found")
    name = _name(found)
    try:
        return _cached(found, cache_folder() / name)
    except (NoCache, _Unusable) as reason:
        logger.warning("kernels.c is built for this process alone: %s", reason)
    try:
        with tempfile.TemporaryDirectory(
            prefix="godel-serve-", ignore_cleanup_errors=True
        ) as folder:  # the loaded library stays, though its file is removed
            return _built(found, Path(folder, name))
    except (_Unusable, OSError) as reason:
        raise CannotCompile(f"what {found} made cannot be used: {reason}") from reason


def build_id() -> str:
    """Names what `load` gives here: other sources, another compiler or processor have another name."""
    return _name(compiler() or "")


def _name(compiler_: str) -> str:
    """The library's file name: a hash of the sources, the compiler, its flags and the processor."""
    made_from = [
        *(file.read_bytes() for file in (_SOURCE, _HEADER, _VECTORS)),
        compiler_.encode(),
        " ".join([*_FLAGS, *_target(), *_OPENMP]).encode(),
        _processor(),
    ]
    return f"kernels-{hashlib.sha256(repr(made_from).encode()).hexdigest()[:16]}.so"


def _target() -> list[str]:
    """The compiler's options for the processor; those of ARM know `native` as a processor only."""
    native = "-mcpu=native" if platform.machine() in ("arm64", "aarch64") else "-march=native"
    return os.environ.get("KERNELS_TARGET", native).split()


class _Unusable(Exception):
    """This process cannot use a library, or the folder for it; says why."""


def _cached(compiler_: str, library: Path) -> Any:
    """The library, built if it is missing or does not load. Raises _Unusable, CannotCompile."""
    if library.exists():
        try:
            return _open(library)
        except _Unusable as reason:  # truncated, by a full disk or a crash
            logger.warning("kernels.c is built again: %s", reason)
    return _built(compiler_, library)


def _built(compiler_: str, library: Path) -> Any:
    _build(compiler_, library)
    return _open(library)


def _open(library: Path) -> Any:
    """Raises _Unusable where it is no library, or lacks a function of kernels.h."""
    try:
        # RTLD_NODELETE: cffi would unload it with the last reference, but OpenMP's threads may still be in it.
        kernels = _FFI.dlopen(str(library), _FFI.RTLD_NOW | _FFI.RTLD_NODELETE)
        for name in dir(kernels):
            getattr(kernels, name)
    except (OSError, AttributeError) as error:
        raise _Unusable(f"{library} does not load: {error}") from error
    return kernels


def _processor() -> bytes:
    """What -march=native depends on."""
    cpuinfo = Path("/proc/cpuinfo")
    if not cpuinfo.exists():
        return platform.processor().encode()
    return b"\n".join(sorted({x for x in cpuinfo.read_bytes().splitlines() if x[:5] in (b"model", b"flags", b"Featu")}))


def _build(compiler_: str, library: Path) -> None:
    """Raises CannotCompile if the compiler fails, _Unusable if the folder cannot be written."""
    try:
        # Several replicas, on several machines that share the folder, may build at once: each in a folder of its own,
        # and the rename is atomic.
        with tempfile.TemporaryDirectory(dir=library.parent, ignore_cleanup_errors=True) as folder:
            part = Path(folder, library.name)
            _compile(compiler_, part)
            part.replace(library)
    except OSError as error:
        raise _Unusable(f"{library} cannot be made: {error}") from error


def _compile(compiler_: str, library: Path) -> None:
    """With OpenMP, or for one thread where the compiler or its library lacks it."""
    arguments = [*_FLAGS, *_target(), "-shared", "-fPIC", str(_SOURCE), "-o", str(library), "-lm"]
    try:
        if subprocess.run([compiler_, *arguments, *_OPENMP], capture_output=True).returncode == 0:
            return
        subprocess.run([compiler_, *arguments], check=True, capture_output=True)
    except subprocess.CalledProcessError as error:
        raise CannotCompile(f"{compiler_} failed: {error.stderr.decode(errors='replace').strip()[-500:]}") from error
    except OSError as error:
        raise CannotCompile(f"{compiler_} could not be used: {error}") from error
    logger.warning("The model runs on one thread: %s has no OpenMP", compiler_)
