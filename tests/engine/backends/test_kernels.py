"""How kernels.c is built and kept, and what happens where it cannot be."""

import ctypes
import logging
import os
import platform
import shutil
import stat
import subprocess
import tempfile
from pathlib import Path
from typing import Any

import cffi
import pytest
import torch

from serve_app.engine.backends import kernels
from serve_app.engine.backends.eager import Eager
from serve_app.engine.backends.kernels import CannotCompile, load, pointer
from serve_app.engine.backends.linear import Float32Linear, Int8Linear
from serve_app.engine.backends.select import select_backend
from serve_app.engine.cache import cache_folder
from tests.engine.support import needs_compiled


@pytest.fixture(autouse=True)
def quickly(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is built here is loaded, not computed with."""
    monkeypatch.setattr(kernels, "_FLAGS", [flag.replace("-O3", "-O0") for flag in kernels._FLAGS])


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    return tmp_path / "godel-serve"


def loads() -> bool:
    """Whether `load` gives what computes."""
    size: int = load().packed_bytes(1, 4)
    return size > 0


@needs_compiled
def test_it_is_built_once(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert loads()
    (built,) = cache.iterdir()
    monkeypatch.setattr(kernels, "_build", lambda *_: pytest.fail("it was built before"))
    load()
    assert list(cache.iterdir()) == [built]
    assert stat.S_IMODE(cache.stat().st_mode) == 0o700


@needs_compiled
def test_another_source_or_processor_is_built_anew(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    load()
    monkeypatch.setattr(kernels, "_processor", lambda: b"another one")
    load()
    assert len(list(cache.iterdir())) == 2


@needs_compiled
def test_a_cache_that_cannot_be_written_is_done_without(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As in a container whose root is read-only."""
    (tmp_path / "file").touch()
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    assert loads()


def broken_by(library: Path, how: str) -> None:
    if how == "a library of something else":
        library.with_suffix(".c").write_text("int nothing_of_ours;")
        subprocess.run(["cc", "-shared", "-o", library, library.with_suffix(".c")], check=True)
        library.with_suffix(".c").unlink()
    else:
        library.write_bytes(b"" if how == "an empty file" else b"\x7fELF, and then the disk was full")


@needs_compiled
@pytest.mark.parametrize("how", ["an empty file", "a beginning", "a library of something else"])
def test_what_does_not_load_is_built_again(
    cache: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, how: str
) -> None:
    """An empty file once ended every start with an OSError, until the file was removed."""
    cache.mkdir(mode=0o700)
    monkeypatch.setattr(kernels, "_processor", lambda: how.encode())  # one that this process has not loaded yet
    library = cache_folder() / kernels._name("cc")
    broken_by(library, how)
    monkeypatch.setattr(kernels, "compiler", lambda: "cc")
    with caplog.at_level(logging.WARNING):
        assert loads()
    assert f"{library} does not load" in caplog.text
    assert ctypes.CDLL(str(shutil.copy(library, cache / "mended.so"))).linear  # for the next one, too


@needs_compiled
def test_where_nothing_loads_from_the_cache_it_is_built_for_this_process(
    cache: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """As on a file system that is mounted noexec."""
    original = kernels._FFI.dlopen

    def noexec(name: str, flags: int) -> Any:
        if name.startswith(str(cache)):
            raise OSError(f"{name}: failed to map segment from shared object")
        return original(name, flags)

    monkeypatch.setattr(kernels._FFI, "dlopen", noexec)
    with caplog.at_level(logging.WARNING):
        assert loads()
    assert "for this process alone" in caplog.text


@needs_compiled
def test_where_nothing_loads_at_all_pytorch_computes(
    cache: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def refuse(name: str, flags: int) -> None:
        raise OSError(f"{name}: failed to map segment from shared object")

    monkeypatch.setattr(kernels._FFI, "dlopen", refuse)
    with caplog.at_level(logging.WARNING):
        assert isinstance(select_backend("auto", "cpu"), Eager)
    assert "failed to map segment" in caplog.text


@needs_compiled
@pytest.mark.parametrize("mode", [0o770, 0o707, 0o777])
def test_a_cache_that_others_could_write_to_is_not_used(
    cache: Path, caplog: pytest.LogCaptureFixture, mode: int
) -> None:
    """What lies in it is run, as this user."""
    cache.mkdir()
    cache.chmod(mode)
    with caplog.at_level(logging.WARNING):
        assert loads()
    assert not list(cache.iterdir())
    assert f"mode {mode:o}" in caplog.text


@needs_compiled
def test_a_cache_of_another_user_is_not_used(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    cache.mkdir()
    monkeypatch.setattr(os, "geteuid", lambda: cache.stat().st_uid + 1)
    assert loads()
    assert not list(cache.iterdir())


@needs_compiled
def test_a_user_without_a_home_has_no_cache(monkeypatch: pytest.MonkeyPatch) -> None:
    """As a pod that runs under a user id that the image does not know."""

    def no_home() -> Path:
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    monkeypatch.setattr(Path, "home", no_home)
    assert loads()


@needs_compiled
def test_what_is_built_for_one_process_leaves_nothing_behind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It once left a folder in /tmp at every start."""
    (tmp_path / "file").touch()
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    (tmp_path / "tmp").mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "tmp"))
    assert loads()
    assert not list((tmp_path / "tmp").iterdir())


@needs_compiled
def test_machines_that_share_a_cache_do_not_write_to_the_same_file(
    cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In containers process ids are alike: two pods once wrote to one part of one name."""
    parts: list[str] = []
    original = subprocess.run

    def watched(command: list[str], **options: Any) -> Any:
        parts.append(command[command.index("-o") + 1])
        if len(parts) == 1:
            load()  # the other pod, meanwhile
            assert Path(parts[1]).parent != Path(parts[0]).parent
        return original(command, **options)

    monkeypatch.setattr(subprocess, "run", watched)
    load()
    assert len(parts) == 2
    assert [file.suffix for file in cache.iterdir()] == [".so"]


@pytest.mark.parametrize("vnni", [True, False])
def test_without_a_compiler_pytorch_computes_and_the_log_says_so(
    cache: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, vnni: bool
) -> None:
    """Before VNNI its products of integers saturate, unless they are computed as floats."""
    monkeypatch.setattr(platform, "machine", lambda: "x86_64")
    monkeypatch.setattr("serve_app.engine.backends.select.integer_products_are_exact", lambda: vnni)
    monkeypatch.setattr(kernels, "compiler", lambda: None)
    with caplog.at_level(logging.WARNING):
        layers = [select_backend(dtype, "cpu").linear(torch.ones(4, 4), width=4) for dtype in ("auto", "int8")]
    assert [type(layer) for layer in layers] == [Int8Linear if vnni else Float32Linear, Int8Linear]
    assert "no C compiler" in caplog.text


@needs_compiled
@pytest.mark.skipif(platform.machine() != "x86_64", reason="the options are those for x86")
def test_a_processor_without_the_instructions_is_named(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KERNELS_TARGET", "-march=x86-64")
    with pytest.raises(CannotCompile, match="AVX2"):
        load()


@needs_compiled
def test_a_compiler_without_openmp_builds_for_one_thread(
    cache: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(kernels, "_OPENMP", ["-fno-such-option"])
    with caplog.at_level(logging.WARNING):
        assert loads()
    assert "on one thread" in caplog.text


@needs_compiled
def test_a_compiler_that_fails_is_quoted(cache: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "broken.c").write_text("this is not C;")
    monkeypatch.setattr(kernels, "_SOURCE", tmp_path / "broken.c")
    with pytest.raises(CannotCompile, match="error"):
        load()
    assert not list(cache.iterdir())


# --- what ctypes would not notice -----------------------------------------------------------------------------------


@needs_compiled
def test_a_wrong_name_or_argument_raises_before_memory_is_touched() -> None:
    norm, x = load().rms_norm, torch.ones(2, 3)
    y = torch.zeros(2, 3)
    for dtype in (torch.float16, torch.int64):
        with pytest.raises(TypeError, match="pointer to same type"):
            norm(pointer(x.to(dtype)), pointer(torch.ones(3)), 1e-6, 2, 3, pointer(y))
    with pytest.raises(TypeError, match="expects 6 arguments, got 5"):
        norm(pointer(x), pointer(torch.ones(3)), 1e-6, 2, pointer(y))
    with pytest.raises(TypeError, match="must be a cdata pointer"):
        norm(x.data_ptr(), pointer(torch.ones(3)), 1e-6, 2, 3, pointer(y))
    with pytest.raises(AttributeError, match="rms_nrom"):
        _ = load().rms_nrom
    assert not y.any()


@needs_compiled
def test_a_header_that_kernels_c_does_not_keep_to_does_not_compile(
    cache: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    for file in (kernels._SOURCE, kernels._VECTORS):
        shutil.copy(file, tmp_path)
    header = kernels._HEADER.read_text()
    (tmp_path / "kernels.h").write_text(header.replace("set_threads(int count)", "set_threads(float count)"))
    monkeypatch.setattr(kernels, "_SOURCE", tmp_path / "kernels.c")
    with pytest.raises(CannotCompile, match="conflicting types"):
        load()


@needs_compiled
def test_a_library_without_a_declared_function_does_not_load(monkeypatch: pytest.MonkeyPatch, cache: Path) -> None:
    ffi = cffi.FFI()
    ffi.cdef("void set_threads(int count); void forgotten(void);")
    monkeypatch.setattr(kernels, "_FFI", ffi)
    with pytest.raises(CannotCompile, match="forgotten"):
        load()
