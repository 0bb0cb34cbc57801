"""`python -m manifest_checks`: write the generated serve configs, render every overlay, check them all.

python -m manifest_checks              # what `make manifests` does
python -m manifest_checks --check      # change nothing; stale files are problems
python -m manifest_checks --print local  # one overlay, as it would be applied
"""

import argparse
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

import yaml

from manifest_checks import (
    contents,
    monitoring,
    network,
    operator_rules,
    references,
    schemas,
    security,
    serve_schema,
    timeouts,
)
from manifest_checks.crd import CRD
from manifest_checks.kustomization import FILE, folders
from manifest_checks.render import RenderError, Rendering, kubectl, overlays, render
from manifest_checks.serve_config import PatchError, generate

ROOT = Path(__file__).resolve().parents[1]
SHAPES = (schemas, serve_schema)  # what they find no fault with, the others can read
CHECKS = (operator_rules, references, contents, timeouts, security, network, monitoring)


def write_generated(root: Path) -> list[Path]:
    """The files that were not up to date. Raises PatchError."""
    changed = []
    for file, text in generate(root):
        if not file.exists() or file.read_text(encoding="utf-8") != text:
            file.write_text(text, encoding="utf-8")
            changed.append(file)
    return changed


def stale(root: Path) -> Iterator[str]:
    """A sentence for each generated file that is not up to date. Raises PatchError."""
    for file, text in generate(root):
        if not file.exists() or file.read_text(encoding="utf-8") != text:
            yield f"{file.relative_to(root)}: is not up to date with serve_config.yaml: run `make manifests`"


def problems(rendering: Rendering) -> list[str]:
    """All that is wrong with an overlay, a sentence each; of one in the wrong shape, what is wrong with that alone."""
    found = [problem for each in SHAPES for problem in each.check(rendering)]
    found = found or [problem for each in CHECKS for problem in each.check(rendering)]
    return list(dict.fromkeys(rendering.sentence(problem) for problem in found))


def unreadable(root: Path) -> Iterator[str]:
    """A sentence for each file that is not YAML, with the line."""
    for file in [root / "serve_config.yaml", root / "configs" / FILE, *sorted((root / "kuberay").rglob("*.yaml"))]:
        try:
            list(yaml.safe_load_all(file.read_text(encoding="utf-8")))
        except yaml.MarkedYAMLError as error:
            line = f"line {error.problem_mark.line + 1}" if error.problem_mark else "?"
            yield f"{file.relative_to(root)}: {line}: is not YAML: {error.problem}"
        except (yaml.YAMLError, UnicodeDecodeError) as error:  # of a character, not of a line
            yield f"{file.relative_to(root)}: is not YAML: {error}"


def check_all(root: Path) -> list[str]:
    """Every problem of every overlay. An overlay is left out where one that it builds on cannot be rendered."""
    sentences: list[str] = []
    failed: set[Path] = set()
    for folder in sorted(overlays(root), key=lambda each: len(folders(each))):
        if failed.intersection(folders(folder)):
            continue
        try:
            sentences += problems(render(root, folder))
        except (RenderError, subprocess.TimeoutExpired) as error:
            sentences.append(str(error))
            failed.add(folder.resolve())
    # A mistake in the base is in every overlay; it is reported once, of the first.
    return list({sentence.rpartition(" [")[0] or sentence: sentence for sentence in reversed(sentences)}.values())[::-1]


def main(arguments: Sequence[str] | None = None) -> int:
    """0 when all is well, 1 with problems, 2 without kubectl or KubeRay's CRD."""
    parser = argparse.ArgumentParser(prog="python -m manifest_checks", description="Render and check the manifests.")
    parser.add_argument("--check", action="store_true", help="do not write the generated files")
    printable = {folder.name: folder for folder in overlays(ROOT)}
    parser.add_argument("--print", choices=printable, help="print one overlay and check nothing")
    options = parser.parse_args(arguments)
    found = kubectl()
    if found is None:
        _say("The manifests are rendered with kubectl; neither this environment nor the PATH has one.")
        return 2
    if options.print:
        return subprocess.run([found, "kustomize", printable[options.print]], check=False).returncode
    if not CRD.exists():
        _say("RayServices are checked against KubeRay's CRD, which is not in .crds/: `make crds` brings it.")
        return 2
    return _check(write=not options.check)


def _check(write: bool) -> int:
    if broken := list(unreadable(ROOT)):
        _say("\n".join(broken))
        return 1
    try:
        found = [] if write else list(stale(ROOT))
        for file in write_generated(ROOT) if write else []:
            _say(f"written: {file.relative_to(ROOT)}")
    except PatchError as error:
        _say(str(error))
        return 1
    found += check_all(ROOT)
    for sentence in found:
        _say(sentence)
    names = ", ".join(folder.name for folder in overlays(ROOT))
    _say(f"{len(found)} problems" if found else f"No problems in {names}.")
    return 1 if found else 0


def _say(text: str) -> None:
    sys.stdout.write(text + "\n")


if __name__ == "__main__":
    sys.exit(main())
