"""kernels.c, built by this machine's C compiler in the instructions that its processor has, and kept for the next time.

What does not load is built again. Where nothing can be kept it is built for one process; where nothing can be built,
`load` says why, and PyTorch computes instead: a replica starts in any case.
"""

import ctypes
import hashlib
import logging
import os
import platform
import shutil
import stat
import subprocess
import tempfile
from pathlib import Path

logger = logging.getLogger("ray.serve.godel")

_SOURCE = Path(__file__).with_name("kernels.c")
_FLAGS = ["-O3", "-march=native", "-fopenmp", "-fno-math-errno", "-fno-trapping-math", "-shared", "-fPIC"]

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
    name = _name(found)
    try:
        return _kept(found, _cache() / name)
    except _Useless as reason:
        logger.warning("kernels.c is built for this process alone: %s", reason)
    try:
        with tempfile.TemporaryDirectory(
            prefix="godel-serve-", ignore_cleanup_errors=True
        ) as folder:  # what is loaded outlives its file
            return _built(found, Path(folder, name))
    except (_Useless, OSError) as reason:
        raise CannotCompile(f"what {found} made cannot be used: {reason}") from reason


def _name(compiler_: str) -> str:
    """A library's name says what it was made from, by whom and for which processor."""
    made_from = [_SOURCE.read_bytes(), compiler_.encode(), " ".join(_FLAGS).encode(), _processor()]
    return f"kernels-{hashlib.sha256(repr(made_from).encode()).hexdigest()[:16]}.so"


class _Useless(Exception):
    """A folder, or a library in it, is of no use to this process; says why."""


def _kept(compiler_: str, library: Path) -> ctypes.CDLL:
    """The library that is there already, or else a new one. Raises _Useless, CannotCompile."""
    if library.exists():
        try:
            return _open(library)
        except _Useless as reason:  # cut short, by a full disk or a crash
            logger.warning("kernels.c is built again: %s", reason)
    return _built(compiler_, library)


def _built(compiler_: str, library: Path) -> ctypes.CDLL:
    _build(compiler_, library)
    return _open(library)


def _open(library: Path) -> ctypes.CDLL:
    try:
        kernels = ctypes.CDLL(str(library))
        for name, signature in _SIGNATURES.items():
            result, *arguments = map(_TYPES.get, signature)
            function = getattr(kernels, name)
            function.restype, function.argtypes = result, arguments
    except (OSError, AttributeError) as error:
        raise _Useless(f"{library} does not load: {error}") from error
    return kernels


def _cache() -> Path:
    """A folder that no other user can write to: what lies in it is run. Raises _Useless."""
    try:
        folder = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "godel-serve"
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        found = folder.stat()
    except (OSError, RuntimeError) as error:  # RuntimeError: this user has no home
        raise _Useless(f"there is no cache folder: {error}") from error
    if found.st_uid != os.geteuid() or found.st_mode & (stat.S_IWGRP | stat.S_IWOTH):
        mode = stat.S_IMODE(found.st_mode)
        raise _Useless(f"{folder} belongs to user {found.st_uid} with mode {mode:o}, and others could write to it")
    if not os.access(folder, os.W_OK):
        raise _Useless(f"{folder} cannot be written to")
    return folder


def _processor() -> bytes:
    """What -march=native depends on."""
    cpuinfo = Path("/proc/cpuinfo")
    if not cpuinfo.exists():
        return platform.processor().encode()
    return b"\n".join(sorted({x for x in cpuinfo.read_bytes().splitlines() if x[:5] in (b"model", b"flags", b"Featu")}))


def _build(compiler_: str, library: Path) -> None:
    """Raises CannotCompile where the compiler fails, _Useless where the library's folder does."""
    try:
        # Several replicas may build at once, on machines that share the folder: each in one of its own, and the last
        # one's stays.
        with tempfile.TemporaryDirectory(dir=library.parent, ignore_cleanup_errors=True) as folder:
            part = Path(folder, library.name)
            _compile(compiler_, part)
            part.replace(library)
    except OSError as error:
        raise _Useless(f"{library} cannot be made: {error}") from error


def _compile(compiler_: str, library: Path) -> None:
    try:
        subprocess.run([compiler_, *_FLAGS, str(_SOURCE), "-o", str(library), "-lm"], check=True, capture_output=True)
    except subprocess.CalledProcessError as error:
        raise CannotCompile(f"{compiler_} failed: {error.stderr.decode(errors='replace').strip()[-500:]}") from error
    except OSError as error:
        raise CannotCompile(f"{compiler_} could not be used: {error}") from error
