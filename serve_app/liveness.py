"""Pure: which model replicas are alive. Each is judged by itself, by when it was last heard and what it said then.

ready    answered lately, and its engine gets on
stalled  has not answered, or its engine has made no step, for `stall_limit_s`: others take over what it writes
"""

from collections.abc import Callable, Collection
from dataclasses import dataclass

from serve_app.messages import ReplicaStatus, State

# A replica that has not answered for this long gets no credit for what it said last.
_LATE_S = 5.0


@dataclass
class _Known:
    status: ReplicaStatus
    heard_at: float
    is_suspect: bool = False


class Liveness:
    def __init__(self, stall_limit_s: float, clock: Callable[[], float]) -> None:
        self._stall_limit_s = stall_limit_s
        self._clock = clock
        self._known: dict[str, _Known] = {}

    def heard(self, status: ReplicaStatus) -> None:
        """A replica has reported its status."""
        self._known[status.origin.replica_id] = _Known(status, self._clock())

    def heard_token(self, replica_id: str) -> None:
        """A token is as good as a status, which comes late from a busy machine."""
        if known := self._known.get(replica_id):
            known.heard_at = self._clock()

    def suspect(self, replica_id: str) -> None:
        """A reply that it was writing came to a stop: it is taken for stalled until it is heard again."""
        if known := self._known.get(replica_id):
            known.is_suspect = True

    def keep(self, replica_ids: Collection[str]) -> None:
        """All others are known to be gone."""
        self._known = {id: known for id, known in self._known.items() if id in replica_ids}

    @property
    def ready(self) -> list[ReplicaStatus]:
        return [status for status, state in self.states if state == "RUNNING"]

    @property
    def stalled(self) -> set[str]:
        return {status.origin.replica_id for status, state in self.states if state == "STALLED"}

    @property
    def states(self) -> list[tuple[ReplicaStatus, State]]:
        now = self._clock()
        return [(known.status, self._state(known, now - known.heard_at)) for known in self._known.values()]

    def _state(self, known: _Known, silent_s: float) -> State:
        if known.is_suspect or max(silent_s, known.status.stalled_s) >= self._stall_limit_s:
            return "STALLED"
        return "LATE" if silent_s >= _LATE_S else "RUNNING"
