"""What the images hold that pods start from: files laid over this machine's own, environment, command."""

import json
import shutil
import sys
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from tests.manifests import dockerfile
from tests.manifests.machine import Volume
from tests.support.backend import ROOT

SYSTEM_PATH = "/usr/sbin:/usr/bin:/sbin:/bin"

# What the official image's docker-entrypoint.sh makes of the variables that its documentation names.
POSTGRES_ENTRYPOINT = r"""#!/bin/bash
set -e
if [ ! -s "$PGDATA/PG_VERSION" ]; then
  initdb --username="$POSTGRES_USER" --pwfile=<(printf '%s\n' "$POSTGRES_PASSWORD") > /dev/null
  echo 'host all all all scram-sha-256' >> "$PGDATA/pg_hba.conf"
  postgres --single postgres <<< "CREATE DATABASE \"$POSTGRES_DB\"" > /dev/null
fi
exec postgres -c listen_addresses='*'
"""


@dataclass(frozen=True)
class Image:
    folder: Path
    environment: dict[str, str]
    workdir: str = "/"
    command: Sequence[str] = ()  # where the manifest gives none
    mounts: Sequence[Volume] = ()  # files that are too large to copy


def build(file: Path, target: str, folder: Path) -> Image:
    """What the Dockerfile copies from the repository, laid out as in the image; its packages are this machine's."""
    stages = {stage.name: stage for stage in dockerfile.read(file)}
    environment: dict[str, str] = {}
    for stage in dockerfile.chain(list(stages.values()), target):
        for key, value in stage.environment.items():
            environment[key] = value.replace("$PATH", SYSTEM_PATH)
        for copy in stage.copies:
            if copy.stage and copy.target == stages[copy.stage].workdir:
                _copy_context(stages[copy.stage], folder)
            elif copy.target != "/opt/venv":
                (folder / copy.target.lstrip("/")).mkdir(parents=True, exist_ok=True)
    path = f"{Path(sys.prefix).resolve()}/bin:{SYSTEM_PATH}"
    last = dockerfile.chain(list(stages.values()), target)
    workdir = next(stage.workdir for stage in reversed(last) if stage.workdir != "/")
    return Image(folder, environment | {"PATH": path, "HOME": "/home/nobody"}, workdir)


def _copy_context(stage: dockerfile.Stage, folder: Path) -> None:
    for copy in stage.copies:
        for source in copy.sources:
            target = folder / stage.workdir.lstrip("/") / copy.target
            target.parent.mkdir(parents=True, exist_ok=True)
            if (ROOT / source).is_dir():
                shutil.copytree(ROOT / source, target, ignore=shutil.ignore_patterns("__pycache__"))
            else:
                shutil.copy(ROOT / source, target)
    _let_all_read(folder)


def _let_all_read(folder: Path) -> None:
    """The Dockerfiles' chmod -R a+rX."""
    for path in [folder, *folder.rglob("*")]:
        path.chmod(0o755 if path.is_dir() else 0o644)


def backend(folder: Path) -> Image:
    return build(ROOT / "docker/backend.Dockerfile", "cpu", folder)


def with_model(image: Image, name: str, folder: Path) -> Image:
    """As if it were built with `MODEL=name`: GODEL-base's shape in the hub's cache, with random weights."""
    from bench.systems import make_checkpoint  # here, since it imports torch

    cache = folder / "hub" / f"models--{name.replace('/', '--')}"
    snapshot = cache / "snapshots" / ("0" * 40)
    snapshot.mkdir(parents=True)
    make_checkpoint(snapshot)
    for file in (snapshot / "config.json", snapshot / "generation_config.json"):  # replies of words, not of <pad>
        file.write_text(json.dumps(json.loads(file.read_text()) | {"decoder_start_token_id": 3}))
    (cache / "refs").mkdir()
    (cache / "refs/main").write_text(snapshot.name)
    _let_all_read(folder)
    return replace(image, mounts=[Volume(image.environment["HF_HOME"], folder, writable=False)])


def frontend(folder: Path) -> Image:
    return build(ROOT / "docker/frontend.Dockerfile", "stage-2", folder)


def redis_image(folder: Path) -> Image:
    """This machine's Redis in place of the official image's."""
    folder.mkdir()
    return Image(folder, {"PATH": SYSTEM_PATH})


def postgres_image(folder: Path, binaries: Path, user: int) -> Image:
    """This machine's PostgreSQL in place of the official image's, started as that starts its own."""
    entrypoint, passwd = folder / "usr/local/bin/docker-entrypoint.sh", folder / "etc/passwd"
    for file, content, mode in (
        (entrypoint, POSTGRES_ENTRYPOINT, 0o755),
        (passwd, f"root:x:0:0::/root:/bin/sh\npostgres:x:{user}:{user}::/var/lib/postgresql:/bin/sh\n", 0o644),
    ):
        file.parent.mkdir(parents=True)
        file.write_text(content)
        file.chmod(mode)
    return Image(
        folder,
        {"PATH": f"{binaries}:/usr/local/bin:{SYSTEM_PATH}", "LANG": "C.UTF-8"},
        command=["docker-entrypoint.sh"],
    )
