"""`make run` says in a sentence what hinders it, before anything starts."""

import os
import shutil
import socket
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest

from launcher import preflight
from launcher.preflight import (
    GIB,
    RAY_GIB,
    Plan,
    PlanError,
    available_memory,
    compiler_problems,
    disk_problems,
    free_port,
    memory_problems,
    model_gib,
    platform_problems,
    port_in_use,
    port_problems,
    read_plan,
)

ROOT = Path(__file__).parents[2]
CLIENTS_PORTS = Path("/proc/sys/net/ipv4/ip_local_port_range")


@pytest.fixture(autouse=True)
def no_frontend_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in os.environ:
        if name.startswith("FRONTEND_"):
            monkeypatch.delenv(name)


@pytest.fixture
def taken() -> Iterator[int]:
    """A port that this process listens on."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        yield listener.getsockname()[1]


@pytest.fixture
def free() -> int:
    return free_port()


def plan(backend_port: int = 8000, frontend_port: int = 8080) -> Plan:
    return Plan(Path("serve_config.yaml"), "127.0.0.1", backend_port, "", "127.0.0.1", frontend_port)


def test_the_plan_of_the_shipped_configuration() -> None:
    shipped = read_plan(ROOT / "serve_config.yaml")
    assert shipped.backend_url == "http://127.0.0.1:8000"
    assert shipped.frontend_url == "http://127.0.0.1:8080"
    assert shipped.model == "microsoft/GODEL-v1_1-base-seq2seq"


def test_the_plan_follows_the_configuration_and_the_environment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FRONTEND_HOST", "0.0.0.0")
    monkeypatch.setenv("FRONTEND_PORT", "9001")
    config = tmp_path / "config.yaml"
    config.write_text("http_options: {port: 9000}\napplications: [{route_prefix: /api, args: {model: a/b}}]")
    assert read_plan(config) == Plan(config, "0.0.0.0", 9000, "/api", "0.0.0.0", 9001, "a/b")
    assert read_plan(config).backend_url == "http://127.0.0.1:9000/api", "0.0.0.0 is no address to open"


def test_port_0_of_the_frontend_is_a_free_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FRONTEND_PORT", "0")
    assert read_plan(ROOT / "serve_config.yaml").frontend_port > 0


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        (None, "cannot be read: no such file"),
        ("applications: [", "is not YAML"),
        ("", "cannot be used"),
        ("applications: []", "applications List should have at least 1 item"),
        ("http_options: {port: 0}\napplications: [{}]", "http_options.port Input should be greater than"),
        ("applications: [{args: no mapping}]", "applications.0.args Input should be a valid dictionary"),
    ],
)
def test_a_wrong_serve_config_is_a_sentence(tmp_path: Path, content: str | None, problem: str) -> None:
    config = tmp_path / "config.yaml"
    if content is not None:
        config.write_text(content)
    with pytest.raises(PlanError) as error:
        read_plan(config)
    assert problem in str(error.value)
    assert str(config) in str(error.value)


def test_a_wrong_frontend_setting_is_named_without_its_value(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FRONTEND_SECRET_KEY", "private")
    with pytest.raises(PlanError, match="FRONTEND_SECRET_KEY is too short|FRONTEND_SECRET_KEY Value error") as error:
        read_plan(ROOT / "serve_config.yaml")
    assert "private" not in str(error.value)


def test_a_port_in_use_names_its_holder(taken: int) -> None:
    reason = port_in_use("127.0.0.1", taken)
    assert reason is not None
    assert reason.startswith("is in use by ")
    assert f"(process {os.getpid()})" in reason


def test_a_listener_on_one_address_is_in_the_way_of_all_addresses(taken: int) -> None:
    assert port_in_use("0.0.0.0", taken) is not None


def test_a_free_port_is_no_problem(free: int) -> None:
    assert port_in_use("127.0.0.1", free) is None


def test_an_address_of_another_machine_is_told() -> None:
    reason = port_in_use("203.0.113.1", 8000)  # kept for documentation: nobody has it
    assert reason == "cannot be used: cannot assign requested address"


def test_each_half_has_its_own_remedy(taken: int, free: int) -> None:
    (problem,) = [problem for problem in port_problems(plan(taken, free)) if problem.fatal]
    assert f"Port {taken}, meant for the backend, is in use by" in problem.sentence
    assert "set http_options.port in serve_config.yaml" in problem.sentence
    (problem,) = [problem for problem in port_problems(plan(free, taken)) if problem.fatal]
    assert f"Port {taken}, meant for the page, is in use by" in problem.sentence
    assert f"FRONTEND_PORT={taken + 1} make run" in problem.sentence


def test_a_busy_dashboard_port_is_a_notice(monkeypatch: pytest.MonkeyPatch, taken: int, free: int) -> None:
    monkeypatch.setattr(preflight, "DASHBOARD_PORT", taken)
    (problem,) = port_problems(plan(free, free + 1))
    assert not problem.fatal
    assert "Ray will take the next free one" in problem.sentence


def test_both_halves_on_one_port(free: int) -> None:
    assert any("both want port" in problem.sentence for problem in port_problems(plan(free, free)))


def test_too_little_memory_for_ray() -> None:
    (problem,) = memory_problems(None, RAY_GIB - 0.5)
    assert problem.fatal
    assert f"{RAY_GIB - 0.5:.1f} GiB is available" in problem.sentence


def test_too_little_memory_for_the_model_is_a_notice_that_names_it() -> None:
    (problem,) = memory_problems("microsoft/GODEL-v1_1-base-seq2seq", RAY_GIB + 1)
    assert not problem.fatal
    assert "microsoft/GODEL-v1_1-base-seq2seq" in problem.sentence


def test_enough_memory() -> None:
    assert list(memory_problems("microsoft/GODEL-v1_1-base-seq2seq", RAY_GIB + 2)) == []


def test_the_size_of_a_model_is_that_of_its_files(tmp_path: Path) -> None:
    with (tmp_path / "model.safetensors").open("wb") as file:
        file.truncate(GIB // 2)  # takes no room on the disk
    assert model_gib(str(tmp_path)) == 0.5
    assert model_gib("some/unknown-model") == 0
    assert model_gib(None) == 0


def test_a_container_has_what_its_limit_leaves(tmp_path: Path) -> None:
    (tmp_path / "memory.max").write_text(f"{GIB}\n")
    (tmp_path / "memory.current").write_text(f"{GIB // 2}\n")
    (tmp_path / "memory.stat").write_text(f"anon {GIB // 4}\ninactive_file {GIB // 4}\n")
    assert available_memory(tmp_path) == pytest.approx(0.75)


def test_without_a_limit_the_machine_counts(tmp_path: Path) -> None:
    (tmp_path / "memory.max").write_text("max\n")
    assert available_memory(tmp_path) > 0
    assert available_memory(tmp_path / "nowhere") > 0


@pytest.mark.parametrize(
    ("free_gib", "total_gib", "fatal"), [(0.5, 100, [True]), (2, 100, [False]), (50, 100, []), (1.5, 10, [])]
)
def test_a_full_disk(monkeypatch: pytest.MonkeyPatch, free_gib: float, total_gib: float, fatal: list[bool]) -> None:
    disk = SimpleNamespace(free=free_gib * GIB, total=total_gib * GIB)
    monkeypatch.setattr(shutil, "disk_usage", lambda folder: disk)
    problems = list(disk_problems(Path("/tmp")))
    assert [problem.fatal for problem in problems] == fatal
    assert all("RAY_TMPDIR=" in problem.sentence for problem in problems)


def test_a_missing_compiler_is_a_notice(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    (problem,) = compiler_problems()
    assert not problem.fatal
    compiler = tmp_path / "gcc"
    compiler.write_text("#!/bin/sh\n")
    compiler.chmod(0o755)
    assert list(compiler_problems()) == []


def test_an_unsupported_platform() -> None:
    (problem,) = platform_problems("win32")
    assert problem.fatal
    assert "WSL 2" in problem.sentence
    assert list(platform_problems("linux")) == []


@pytest.mark.skipif(not CLIENTS_PORTS.exists(), reason="only Linux says which ports it gives to clients")
def test_a_free_port_is_none_that_clients_are_given() -> None:
    low, _ = CLIENTS_PORTS.read_text().split()
    assert free_port() < int(low)


def test_an_address_of_another_machine_has_no_free_port() -> None:
    with pytest.raises(OSError, match=r"203\.0\.113\.1 has no port free"):
        free_port("203.0.113.1")
