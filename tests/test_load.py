"""A load over real HTTP: what it counts as good, refused and failed, and from when its latencies count."""

import asyncio

import pytest

from serve_app import load as loads
from serve_app.load import Load
from tests.support.stub_backend import REPLICA, Answer, StubBackend

WHAT = [{"dialog": ["What?"]}]


async def made(backend: StubBackend, **how: float) -> Load:
    load = Load(backend.url, [{"dialog": ["What?"]}, {"dialog": ["Why?"]}], how.pop("seconds", 0.3), **how)  # type: ignore[arg-type]
    await load.run()
    assert load.in_flight == 0
    return load


@pytest.fixture
def backend() -> StubBackend:
    return StubBackend()


async def test_a_careless_client_asks_again_at_its_own_pace(backend: StubBackend) -> None:
    backend.plan(Answer(status=429, headers={"Retry-After": "60"}))
    with backend:
        load = await made(backend, clients=1, pause_s=0.05)
    refused, next_one = load.outcomes[:2]
    assert 0.05 <= next_one.at_s - refused.ended_s < 0.3


async def test_clients_ask_again_once_they_have_their_answers(backend: StubBackend) -> None:
    backend.answers.extend(Answer(token_seconds=0.01) for _ in range(1000))
    with backend:
        load = await made(backend, clients=3)
    assert len(load.outcomes) == len(backend.dialogs) > 6
    assert {outcome.ending for outcome in load.outcomes} == {"good"}
    assert {dialog[0] for dialog in backend.dialogs} == {"What?", "Why?"}
    one = load.outcomes[0]
    assert (one.tokens, one.replica, one.problem) == (11, REPLICA, "")
    assert one.first_piece_s is not None and 0.01 <= one.first_piece_s < one.total_s


async def test_a_refused_client_waits_as_long_as_it_was_asked_to(
    backend: StubBackend, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(loads, "_LONGEST_PAUSE_S", 0.2)
    backend.plan(Answer(status=429, headers={"Retry-After": "60"}))
    with backend:
        load = await made(backend, clients=1)
    refused, next_one = load.outcomes[:2]
    assert (refused.ending, refused.problem, next_one.ending) == ("refused", "status 429", "good")
    assert next_one.at_s - refused.ended_s >= 0.19


@pytest.mark.parametrize(
    ("answer", "problem"),
    [
        (Answer(status=500), "status 500"),
        (Answer(last_event="error"), "deadline"),
        (Answer(last_event=""), "the stream ended early"),
        (Answer(dies_after=1), "ClientPayloadError"),
        (Answer(raw=b"event: done\ndata: not JSON\n\n"), "JSONDecodeError"),
    ],
)
async def test_what_is_not_a_whole_reply_has_failed(backend: StubBackend, answer: Answer, problem: str) -> None:
    backend.plan(answer)
    with backend:
        load = await made(backend, clients=1, seconds=0.01)
    assert [(outcome.ending, outcome.problem) for outcome in load.outcomes] == [("failed", problem)]


async def test_no_service_there(backend: StubBackend) -> None:
    with backend:
        url = backend.url
    load = Load(url, WHAT, 0.2, clients=2, pause_s=0.2)
    await load.run()
    assert [outcome.ending for outcome in load.outcomes] == ["failed"] * 2


async def test_arrivals_do_not_wait_for_answers_and_latencies_count_from_them(backend: StubBackend) -> None:
    held = backend.plan(*(Answer(hold_after=1) for _ in range(1000)))
    for answer in backend.answers:
        answer.release = held.release
    with backend:
        load = Load(backend.url, WHAT, 0.3, rate=60.0)
        running = asyncio.create_task(load.run())
        while load.in_flight < 5:  # none was answered
            await asyncio.sleep(0.01)
        held.release.set()
        await running
    assert {outcome.ending for outcome in load.outcomes} == {"good"}
    assert sum(outcome.total_s > 0.02 for outcome in load.outcomes) >= 4  # those that were held


async def test_requests_arrive_at_the_times_that_are_given(backend: StubBackend) -> None:
    with backend:
        load = Load(backend.url, WHAT, 0.3, arrivals=[0.0, 0.1, 0.1, 0.5])
        await load.run()
    assert [outcome.at_s for outcome in load.outcomes] == [0.0, 0.1, 0.1]  # and none later than the load lasts


async def test_too_many_in_flight_are_not_sent(backend: StubBackend, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(loads, "_MOST_IN_FLIGHT", 0)
    with backend:
        load = await made(backend, rate=50.0)
    assert load.outcomes and not backend.dialogs
    assert {outcome.problem for outcome in load.outcomes} == {"too many in flight to send more"}


async def test_a_key_is_sent(backend: StubBackend) -> None:
    with backend:
        await Load(backend.url, WHAT, 0.01, clients=1, key="sk-1").run()
    assert (backend.authorizations[0], backend.bodies[0]) == ("Bearer sk-1", {"dialog": ["What?"], "stream": True})


async def test_whole_replies_can_be_asked_for(backend: StubBackend) -> None:
    backend.plan(Answer(as_json=True))
    with backend:
        load = Load(backend.url, [WHAT[0] | {"stream": False}], 0.01, clients=1)
        await load.run()
    outcome = load.outcomes[0]
    assert (outcome.ending, outcome.tokens, outcome.first_piece_s) == ("good", 11, None)


async def test_a_load_can_be_ended_early(backend: StubBackend) -> None:
    backend.answers.extend(Answer() for _ in range(1000))
    with backend:
        load = Load(backend.url, WHAT, 60, clients=2)
        running = asyncio.create_task(load.run())
        while not load.outcomes:
            await asyncio.sleep(0.01)
        load.end()
        await running
    assert load.elapsed_s < 10
    assert {outcome.ending for outcome in load.outcomes} == {"good"}
