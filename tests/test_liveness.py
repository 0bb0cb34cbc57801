"""Each replica is judged by itself, by what was heard of it."""

from dataclasses import replace

from serve_app.liveness import Liveness
from serve_app.messages import ReplicaStatus
from tests.support.fakes import ORIGIN

STATUS = ReplicaStatus(ORIGIN, slots=4, active=0, waiting=0, tokens_per_second=0)
OTHER = replace(STATUS, origin=replace(ORIGIN, replica_id="r2"))


class Watched(Liveness):
    def __init__(self) -> None:
        self.now = 0.0
        super().__init__(stall_limit_s=10, clock=lambda: self.now)


def test_one_that_was_heard_is_ready_until_it_is_late_and_then_stalled() -> None:
    replicas = Watched()
    replicas.heard(STATUS)
    assert replicas.ready == [STATUS]
    replicas.now = 5
    assert replicas.states == [(STATUS, "LATE")]
    replicas.now = 10
    assert replicas.states == [(STATUS, "STALLED")]
    replicas.heard(STATUS)
    assert replicas.states == [(STATUS, "RUNNING")]


def test_one_does_not_speak_for_another() -> None:
    replicas = Watched()
    replicas.heard(STATUS)
    replicas.heard(OTHER)
    replicas.now = 9
    replicas.heard(OTHER)
    replicas.now = 10
    assert replicas.ready == [OTHER]
    assert replicas.stalled == {"r1"}


def test_an_engine_that_makes_no_step_is_stalled_though_its_replica_answers() -> None:
    replicas = Watched()
    replicas.heard(replace(STATUS, stalled_s=10.0))
    assert replicas.stalled == {"r1"}


def test_a_token_is_as_good_as_a_status() -> None:
    replicas = Watched()
    replicas.heard(STATUS)
    replicas.now = 8
    replicas.heard_token("r1")
    replicas.heard_token("unknown")
    assert replicas.ready == [STATUS]


def test_a_suspect_is_stalled_until_it_is_heard() -> None:
    replicas = Watched()
    replicas.heard(STATUS)
    replicas.suspect("r1")
    assert replicas.stalled == {"r1"}
    replicas.heard(STATUS)
    assert replicas.ready == [STATUS]


def test_who_is_gone_is_forgotten() -> None:
    replicas = Watched()
    replicas.heard(STATUS)
    replicas.heard(OTHER)
    replicas.keep(["r2"])
    assert replicas.states == [(OTHER, "RUNNING")]
