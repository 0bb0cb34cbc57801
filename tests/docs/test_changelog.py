"""The version is one in all places that name it, and the changelog speaks of it."""

import re
import tomllib

import yaml

from tests.support.backend import ROOT

VERSION = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]


def test_the_newest_entry_is_of_this_version() -> None:
    entries = re.findall(r"^## (\S+) - (unreleased|\d{4}-\d\d-\d\d)$", (ROOT / "CHANGELOG.md").read_text(), re.M)
    assert entries[0][0] == VERSION


def test_the_manifests_run_this_versions_images() -> None:
    images = yaml.safe_load((ROOT / "kuberay/base/kustomization.yaml").read_text())["images"]
    assert {image["newTag"] for image in images} == {VERSION}
    named = re.findall(r"godel-(?:backend|frontend):([\d.]+\d)", (ROOT / "docs/kubernetes.md").read_text())
    assert VERSION in named
