"""What is known of the backend's cluster, over the answers of GET /replicas. Pure: knows neither HTTP nor a clock.

The backend says how it is at this moment; here is kept what that leaves out: replicas that have just been lost, the
last minute's speed, what has changed, and what each ingress said when it was the one that answered.
"""

from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Annotated

from pydantic import BaseModel, BeforeValidator

from frontend.errors import FrontendError
from frontend.health import Model
from frontend.origin import Count, Number, Writer, objects

LOST_SECONDS = 30.0  # a lost replica is shown for so long
INGRESS_SECONDS = 30.0  # an ingress that has not answered for so long is taken for gone
SAMPLES = 60  # of a replica's speed
CHANGES = 20
GOING = ("DRAINING", "LOST")


class Replica(Writer):
    """A model replica, as the backend describes it. What cannot be asked is None."""

    state: str = ""
    slots: Count | None = None
    active: Count | None = None
    waiting: Count | None = None
    tokens_per_second: Number | None = None


class Ingress(Writer):
    """The ingress that answered. It is the ingresses that read the configuration."""

    config_version: str = ""
    config_error: str | None = None


class Told(BaseModel):
    """The answer of GET /replicas."""

    replicas: Annotated[tuple[Replica, ...], BeforeValidator(objects)] = ()
    target_replicas: int | None = None
    model: Model = Model()
    ingress: Ingress | None = None


@dataclass(frozen=True)
class Change:
    """A replica that came, or whose state became another one."""

    at: float  # Unix time
    replica_id: str
    state: str  # GONE when it went in order


@dataclass(frozen=True)
class Known:
    """A replica, and what was seen of it."""

    replica: Replica
    speeds: tuple[float, ...]  # tokens per second, oldest first


@dataclass(frozen=True)
class Cluster:
    """All that is known at one moment."""

    replicas: tuple[Known, ...] = ()  # in the order in which they came
    ingresses: tuple[Ingress, ...] = ()
    changes: tuple[Change, ...] = ()  # newest first
    target: int | None = None
    model: Model = field(default_factory=Model)
    trouble: FrontendError | None = None  # why there was no answer; the rest is as it was before


@dataclass
class _Entry:
    replica: Replica
    speeds: deque[float] = field(default_factory=lambda: deque(maxlen=SAMPLES))
    lost_at: float | None = None


GONE = "GONE"


class ClusterMemory:
    """Puts the answers together."""

    def __init__(self) -> None:
        self._entries: dict[str, _Entry] = {}
        self._ingresses: dict[str, tuple[Ingress, float]] = {}
        self._changes: deque[Change] = deque(maxlen=CHANGES)
        self._began = False
        self._cluster = Cluster()

    def hear(self, told: Told, now: float) -> Cluster:
        """The cluster after an answer. now: Unix time."""
        for replica in told.replicas:
            self._see(replica, now)
        self._miss({each.replica_id for each in told.replicas}, now)
        if told.ingress is not None:
            self._ingresses[told.ingress.replica_id] = (told.ingress, now)
        self._ingresses = {
            name: (ingress, at) for name, (ingress, at) in self._ingresses.items() if now - at < INGRESS_SECONDS
        }
        self._began = True
        self._cluster = Cluster(
            replicas=tuple(Known(each.replica, tuple(each.speeds)) for each in self._entries.values()),
            ingresses=tuple(ingress for _, (ingress, _) in sorted(self._ingresses.items())),
            changes=tuple(reversed(self._changes)),
            target=told.target_replicas,
            model=told.model,
        )
        return self._cluster

    def fail(self, trouble: FrontendError) -> Cluster:
        """The cluster after a question without an answer."""
        self._cluster = replace(self._cluster, trouble=trouble)
        return self._cluster

    def _see(self, replica: Replica, now: float) -> None:
        entry = self._entries.get(replica.replica_id)
        if entry is None:
            entry = self._entries[replica.replica_id] = _Entry(replica)
            if self._began:  # at first all are new, which is no change
                self._note(replica.replica_id, replica.state, now)
        else:
            self._update(entry, replica, now)
        entry.speeds.append(replica.tokens_per_second or 0.0)

    def _update(self, entry: _Entry, replica: Replica, now: float) -> None:
        if replica.state == "STARTING" and entry.replica.state != "STARTING":
            return  # it runs, and the ingress that was asked does not hear it: it is new itself, or will soon say LOST
        if entry.replica.state == "LOST" and replica.state in GOING:
            replica = replica.model_copy(update={"state": "LOST"})  # another ingress has not seen its death
        if replica.state != entry.replica.state:
            self._note(replica.replica_id, replica.state, now)
        if not replica.pod_name:  # known from when it spoke for itself
            names = {name: getattr(entry.replica, name) for name in ("pod_name", "node_name", "node_id")}
            replica = replica.model_copy(update={name: value for name, value in names.items() if value})
        entry.replica = replica
        entry.lost_at = None

    def _miss(self, told: set[str], now: float) -> None:
        """Those of which nothing was said: gone, if they were draining, else lost."""
        for name in [name for name in self._entries if name not in told]:
            entry = self._entries[name]
            if entry.replica.state == "DRAINING":
                self._note(name, GONE, now)
                del self._entries[name]
            elif entry.lost_at is None:
                if entry.replica.state != "LOST":
                    self._note(name, "LOST", now)
                entry.replica = _silenced(entry.replica)
                entry.lost_at = now
            elif now - entry.lost_at >= LOST_SECONDS:
                del self._entries[name]
            else:
                entry.speeds.append(0.0)

    def _note(self, replica_id: str, state: str, now: float) -> None:
        self._changes.append(Change(now, replica_id, state))


def _silenced(replica: Replica) -> Replica:
    nothing = dict.fromkeys(("slots", "active", "waiting", "tokens_per_second"))
    return replica.model_copy(update=nothing | {"state": "LOST"})


def sparkline(speeds: Sequence[float], most: float, width: int, height: int) -> str:
    """Points of an SVG polyline whose newest sample is at the right edge and `most` at the top."""
    return " ".join(_points(speeds, most or 1.0, width, height))


def _points(speeds: Sequence[float], most: float, width: int, height: int) -> Iterator[str]:
    step = width / (SAMPLES - 1)
    begin = width - step * (len(speeds) - 1)
    for place, speed in enumerate(speeds):
        yield f"{begin + place * step:.1f},{height - min(speed / most, 1) * height:.1f}"
