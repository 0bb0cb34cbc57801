"""Reads Dockerfiles, as far as the project's own go: stages, what they copy, their environment and user."""

import shlex
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path


@dataclass(frozen=True)
class Copy:
    sources: list[str]
    target: str
    stage: str | None  # None: from the build context


@dataclass
class Stage:
    name: str
    base: str
    copies: list[Copy] = field(default_factory=list)
    environment: dict[str, str] = field(default_factory=dict)
    runs: list[str] = field(default_factory=list)
    user: str | None = None
    workdir: str = "/"
    command: list[str] | None = None


def read(file: Path) -> list[Stage]:
    """The stages in their order. Raises ValueError for an instruction that is not understood."""
    stages: list[Stage] = []
    for instruction, rest in _instructions(file.read_text(encoding="utf-8")):
        if instruction == "FROM":
            base, *named = rest.split()
            stages.append(Stage(named[1] if named else f"stage-{len(stages)}", base))
        else:
            _apply(stages[-1], instruction, rest)
    return stages


def chain(stages: list[Stage], name: str) -> list[Stage]:
    """A stage and those that it starts from, the first one first."""
    stage = next(each for each in stages if each.name == name)
    known = {each.name for each in stages}
    return [*(chain(stages, stage.base) if stage.base in known else []), stage]


def _apply(stage: Stage, instruction: str, rest: str) -> None:
    if instruction == "COPY":
        stage.copies.append(_copy(rest))
    elif instruction == "ENV":
        key, _, value = rest.partition("=")
        stage.environment[key] = value
    elif instruction == "RUN":
        stage.runs.append(rest)
    elif instruction == "USER":
        stage.user = rest
    elif instruction == "WORKDIR":
        stage.workdir = rest
    elif instruction == "CMD":
        stage.command = [part.strip(' "') for part in rest.strip("[]").split(",")]
    elif instruction not in ("ARG", "EXPOSE"):
        raise ValueError(f"{instruction} {rest}")


def _copy(rest: str) -> Copy:
    words = shlex.split(rest)
    stage = next((word.removeprefix("--from=") for word in words if word.startswith("--from=")), None)
    *sources, target = [word for word in words if not word.startswith("--")]
    return Copy(sources, target, stage)


def _instructions(text: str) -> Iterator[tuple[str, str]]:
    lines = [line for line in text.splitlines() if line.strip() and not line.lstrip().startswith("#")]
    for line in "\n".join(lines).replace("\\\n", " ").splitlines():
        instruction, _, rest = line.strip().partition(" ")
        yield instruction.upper(), " ".join(rest.split())
