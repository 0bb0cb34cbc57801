"""Components of a real backend are killed and stopped under load: no reply is lost, and none differs.

Each test prints what became of the requests (`-s` shows it); `make chaos` has more, for as long as one likes.
"""

import sys
from collections.abc import Iterator

import pytest

from tests.chaos.faults import FAULTS, IN_SHORT, backend_to_break, break_under_load, pinger_of, processes_of
from tests.chaos.pinger import Pinger
from tests.support.backend import Backend


@pytest.fixture(scope="module")
def backend(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Backend]:
    with backend_to_break(tmp_path_factory.mktemp("faults")) as running:
        yield running


@pytest.fixture(scope="module")
def pinger(backend: Backend) -> Pinger:
    return pinger_of(backend)


@pytest.mark.parametrize("fault", IN_SHORT)
def test_nothing_is_lost_and_nothing_differs(backend: Backend, pinger: Pinger, fault: str) -> None:
    before = {process.pid for process in processes_of(backend, "GodelModel")}
    record, recovered_s = break_under_load(backend, pinger, fault, lambda: FAULTS[fault](backend))
    sys.stdout.write(f"{fault}: {record.line} recovered after {recovered_s:.1f} s\n")
    assert not record.lost and not record.wrong
    assert record.identical == record.sent
    if "model replica" in fault:
        assert record.taken_over, "the replica wrote nothing when it broke: nothing was shown"
        after = {process.pid for process in processes_of(backend, "GodelModel")}
        assert len(after) == len(before) and after != before, "it was not replaced"
    if "ingress" in fault:
        assert record.asked_again, "no client had to ask again: nothing was shown"
