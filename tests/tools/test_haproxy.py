"""HAProxy's settings on a machine that others use too."""

import os
import stat
import subprocess
from pathlib import Path

import pytest

from tools import haproxy

linux_only = pytest.mark.skipif(haproxy.bundled_binary() is None, reason="ray[serve] brings HAProxy on Linux only")

# The parts of Ray 2.60's haproxy_templates.py that name addresses.
CONFIG = """\
global
    log 127.0.0.1:514 local0 info
defaults
    mode http
    timeout connect 1s
    timeout client 1s
    timeout server 1s
frontend prometheus
    bind :{metrics}
    mode http
    http-request use-service prometheus-exporter if {{ path /metrics }}
    no log
frontend http_frontend
    bind 127.0.0.1:8000
    log global
    default_backend default_backend
backend default_backend
    http-request return status 404
listen stats
  bind *:{stats}
  stats enable
"""


@linux_only
def test_the_pages_about_haproxy_are_taken_out_and_the_rest_stays(tmp_path: Path) -> None:
    config = tmp_path / "haproxy.cfg"
    config.write_text(CONFIG.format(metrics=9101, stats=8404))
    with haproxy.settings() as settings:
        script = settings["RAY_SERVE_HAPROXY_BINARY_PATH"]
        subprocess.run([script, "-db", "-f", str(config), "-c"], env=settings, check=True, timeout=30)
    lines = config.read_text().splitlines()
    assert [line.strip() for line in lines if "bind" in line] == ["bind 127.0.0.1:8000"]
    assert "    log global" in lines and "    http-request return status 404" in lines


@linux_only
def test_the_folder_is_private_and_goes_with_the_run() -> None:
    with haproxy.settings() as settings, haproxy.settings() as others:
        folder = Path(settings["RAY_SERVE_HAPROXY_SOCKET_PATH"]).parent
        assert stat.S_IMODE(folder.stat().st_mode) == 0o700
        assert folder.stat().st_uid == os.getuid()
        assert settings["RAY_SERVE_HAPROXY_SOCKET_PATH"] != others["RAY_SERVE_HAPROXY_SOCKET_PATH"]
    assert not folder.exists()


@linux_only
def test_sockets_have_paths_short_enough_to_exist() -> None:
    """Ray puts a node's id between folder and name; HAProxy binds a temporary name with its process id behind it."""
    with haproxy.settings() as settings:
        folder, name = os.path.split(settings["RAY_SERVE_HAPROXY_SOCKET_PATH"])
    assert len(f"{folder}/{'0' * 56}/{name}.4194304.tmp") <= 107


def test_without_haproxy_both_modes_are_off(monkeypatch: pytest.MonkeyPatch) -> None:
    """On macOS; throughput mode alone would leave the ingress without its proxy."""
    monkeypatch.setattr(haproxy, "bundled_binary", lambda: None)
    with haproxy.settings() as settings:
        assert settings == haproxy.OFF
