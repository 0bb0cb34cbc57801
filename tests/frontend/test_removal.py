"""Many conversations are deleted few at a time, so that no statement takes long and no writer waits."""

import pytest

from frontend.removal import changed
from frontend.store import ChatStore
from tests.frontend.conftest import FakeClock


def test_a_sweep_deletes_all_that_has_expired_few_at_a_time(
    store: ChatStore, clock: FakeClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    batches: list[int] = []

    def noted(result: object) -> int:
        batches.append(changed(result))
        return batches[-1]

    monkeypatch.setattr("frontend.removal.BATCH", 2)
    monkeypatch.setattr("frontend.removal.changed", noted)
    for number in range(5):
        store.begin("s", "", f"pod {number}")
    clock.advance(31 * 86_400)
    store.begin("s", "", "new")
    assert store.delete_expired() == 5
    assert batches == [2, 2, 1, 0, 0]
