"""Fixtures of the trainers' tests."""

import pytest


@pytest.fixture(scope="module", autouse=True)
def all_on_one_thread(one_thread: None) -> None: ...
