"""What several folders of tests share."""

from collections.abc import Iterator

import pytest

from tests.backend import Backend, run_backend


@pytest.fixture(scope="session")
def real_backend(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Backend]:
    """The backend as it is shipped, on models/mini: Ray takes its time to start, so it starts once."""
    with run_backend(tmp_path_factory.mktemp("real_backend")) as running:
        yield running
