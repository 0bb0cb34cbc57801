"""Any single field replaced or removed: no check raises, and each problem names a file and a field.

The fields are those of the rendered objects, of the Serve config within the RayService and of Grafana's dashboard.
"""

import copy
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from manifest_checks.__main__ import problems
from manifest_checks.render import Rendering
from tests.manifests.breaking import REMOVED, closed, opened

Path = tuple[str | int, ...]
VALUES: tuple[Any, ...] = (REMOVED, None, True, 7, -1, 1.5, "", "x", [], ["x"], [None], {}, {"x": 1})

pytestmark = pytest.mark.usefixtures("crd")


def paths(value: Any, path: Path = ()) -> Iterator[Path]:
    """Of everything within `value`."""
    steps = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for step, inner in steps:
        yield (*path, step)
        yield from paths(inner, (*path, step))


def replace(value: Any, path: Path, by: object) -> None:
    for step in path[:-1]:
        value = value[step]
    if by is REMOVED:
        del value[path[-1]]
    else:
        value[path[-1]] = copy.deepcopy(by)


@pytest.mark.parametrize("name", ["local", "upgrade", "monitoring"])
def test_no_field_makes_a_check_fail(overlay: Callable[[str], Rendering], name: str) -> None:
    rendering = overlay(name)
    original = opened(rendering.objects)

    @settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.too_slow])
    @given(path=st.sampled_from([path for path in paths(original) if len(path) > 1]), value=st.sampled_from(VALUES))
    def try_one(path: Path, value: object) -> None:
        objects = copy.deepcopy(original)
        replace(objects, path, value)
        for sentence in problems(Rendering(rendering.root, rendering.folder, closed(objects))):
            file, field, message = sentence.split(": ", 2)
            assert (rendering.root / file).is_file(), sentence
            assert field and "?" not in field and message, sentence

    try_one()
