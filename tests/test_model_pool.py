"""Failover, deadlines and readiness, against a handle that plays back what Ray would do."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any, cast

import pytest
from ray.exceptions import ActorDiedError
from ray.serve.exceptions import BackPressureError, DeploymentUnavailableError
from ray.serve.handle import DeploymentHandle

from serve_app import routing, tracing
from serve_app.controller import Controller
from serve_app.engine.errors import QueueFull, ReplyFailed
from serve_app.errors import DeadlineExceeded, NoReplica, Overloaded, ReplyImpossible, ReplyInterrupted, Starting
from serve_app.liveness import Liveness
from serve_app.messages import Deployed, DeployedReplica, GenerateRequest, ReplicaStatus, Sampling, TokenChunk
from serve_app.model_pool import ModelPool, poll_s
from tests.support.collector import Collector
from tests.support.fakes import ORIGIN

REQUEST = GenerateRequest("id", [5, 1], Sampling(seed=1), budget_s=30)
STATUS = ReplicaStatus(ORIGIN, slots=4, active=0, waiting=0, tokens_per_second=0)

OTHER = replace(ORIGIN, replica_id="r2")

Step = TokenChunk | Exception | asyncio.Event


class FakeStream:
    """One call of a replica: yields chunks, raises, or waits for an event that never comes."""

    def __init__(self, steps: list[Step]) -> None:
        self._steps = iter(steps)
        self.cancelled = False

    async def __anext__(self) -> TokenChunk:
        for step in self._steps:
            if isinstance(step, asyncio.Event):
                await step.wait()
            elif isinstance(step, Exception):
                raise step
            else:
                return step
        raise StopAsyncIteration

    def cancel(self) -> None:
        self.cancelled = True


class FakeHandle:
    app_name, deployment_name = "godel", "GodelModel"

    def __init__(self, *scripts: list[Step], statuses: Callable[[], list[Any]] = lambda: [STATUS]) -> None:
        self._scripts = iter(scripts)
        self._statuses = statuses
        self.first: list[FakeAnswer] = []  # questions that wait for the first replica
        self.requests: list[GenerateRequest] = []
        self.streams: list[FakeStream] = []
        self.sent: list[tuple[str, ...]] = []  # to all replicas

    def options(self, method_name: str, **_: Any) -> Any:
        return self if method_name == "generate" else _First(self)

    def remote(self, request: GenerateRequest) -> FakeStream:
        self.requests.append(request)
        self.streams.append(FakeStream(next(self._scripts)))
        return self.streams[-1]

    def broadcast(self, *call: str) -> "FakeBroadcast":
        return FakeBroadcast(self, call)

    def send(self, *call: str) -> list["FakeAnswer"]:
        self.sent.append(call)
        return [FakeAnswer(status) for status in self._statuses()]


class FakeBroadcast:
    """Like Ray's, it is sent when somebody awaits who has got it."""

    def __init__(self, handle: FakeHandle, call: tuple[str, ...]) -> None:
        self._handle = handle
        self._call = call

    async def _fetch_replica_results_async(self) -> list["FakeAnswer"]:
        return self._handle.send(*self._call)


class FakeAnswer:
    """One replica's: its status, an exception, or an event to wait for."""

    def __init__(self, content: Any) -> None:
        self._content = content

    def answer(self, content: Any) -> None:
        """In place of the event that it waits for."""
        event, self._content = self._content, content
        event.set()

    async def get_async(self) -> Any:
        if isinstance(event := self._content, asyncio.Event):
            await event.wait()
        if isinstance(self._content, Exception):
            raise self._content
        return self._content

    def cancel(self) -> None:
        pass


class _First:
    """A call that waits in Serve until there is a replica."""

    def __init__(self, handle: FakeHandle) -> None:
        self._handle = handle

    async def remote(self) -> Any:
        answer = FakeAnswer(asyncio.Event())
        self._handle.first.append(answer)
        return await answer.get_async()


@asynccontextmanager
async def replicas_over(
    handle: FakeHandle, stall_limit_s: float = 30, cold_start_s: float | None = None
) -> AsyncIterator[ModelPool]:
    replicas = ModelPool(cast("DeploymentHandle[Any]", handle), stall_limit_s, cold_start_s=cold_start_s)
    watcher = asyncio.create_task(replicas.watch())
    yield replicas
    watcher.cancel()
    routing.AVOIDED.clear()


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(10):
        while not condition():
            await asyncio.sleep(0.005)


async def written(handle: FakeHandle, request: GenerateRequest = REQUEST, *, stall_limit_s: float = 30) -> list[int]:
    async with replicas_over(handle, stall_limit_s) as replicas:
        return [token async for chunk in replicas.write(request) for token in chunk.token_ids]


async def test_a_replica_is_told_to_end_in_a_demo() -> None:
    """It was not, on a real Ray: a broadcast that nobody awaits is not sent."""
    handle = FakeHandle()
    async with replicas_over(handle) as replicas:
        await replicas.end("r1")
    assert ("end", "r1") in handle.sent


async def test_a_reply_goes_on_elsewhere_after_the_tokens_that_arrived() -> None:
    handle = FakeHandle(
        [TokenChunk([7, 8], ORIGIN), ActorDiedError()],
        [TokenChunk([9], ORIGIN), TokenChunk([10], ORIGIN, "stop")],
    )
    assert await written(handle) == [7, 8, 9, 10]
    assert [request.prefix for request in handle.requests] == [[], [7, 8]]
    assert handle.requests[1].budget_s < handle.requests[0].budget_s
    assert handle.requests[1].sampling == handle.requests[0].sampling


async def test_a_trace_shows_the_replica_that_was_lost_and_the_one_that_went_on(collector: Collector) -> None:
    handle = FakeHandle(
        [TokenChunk([7, 8], ORIGIN), ActorDiedError()],
        [TokenChunk([9], OTHER, "stop")],
    )
    tracing.start("godel-ingress", "Ingress#1")
    with tracing.span("POST /chat"):
        await written(handle)
    tracing.stop()
    lost, went_on = sorted((span for span in collector.spans if span.name == "write"), key=lambda span: span.began)
    asked = collector.one("POST /chat")
    assert (lost.parent_id, went_on.parent_id) == (asked.span_id, asked.span_id)
    assert (lost.has_failed, went_on.has_failed, asked.has_failed) == (True, False, False)
    assert lost.attributes == {"request_id": "id", "attempt": 0, "replica_id": "r1", "error.type": "ActorDiedError"}
    assert went_on.attributes == {"request_id": "id", "attempt": 1, "replica_id": "r2"}
    for span, request in zip((lost, went_on), handle.requests, strict=True):
        assert span.is_carried_by(request.trace_context["traceparent"])


async def test_a_stream_that_ends_early_counts_as_a_lost_replica() -> None:
    handle = FakeHandle([TokenChunk([7], ORIGIN)], [TokenChunk([8], ORIGIN, "stop")])
    assert await written(handle) == [7, 8]


async def test_a_request_that_kills_every_replica_is_given_up() -> None:
    deaths: list[list[Step]] = [[ActorDiedError()] for _ in range(10)]
    handle = FakeHandle(*deaths)
    with pytest.raises(ReplyInterrupted):
        await written(handle)
    assert len(handle.requests) == 4


async def test_a_reply_on_which_the_model_fails_is_tried_once_more_and_no_oftener() -> None:
    handle = FakeHandle([TokenChunk([7], ORIGIN), ReplyFailed("no memory")], [TokenChunk([8], ORIGIN, "stop")])
    assert await written(handle) == [7, 8]
    failures: list[list[Step]] = [[ReplyFailed("the scores are no numbers")] for _ in range(5)]
    handle = FakeHandle(*failures)
    with pytest.raises(ReplyImpossible, match="no numbers"):
        await written(handle)
    assert len(handle.requests) == 2


async def test_a_full_queue_is_overloaded() -> None:
    with pytest.raises(Overloaded):
        await written(FakeHandle([BackPressureError(4, 4)]))


@pytest.mark.parametrize("steps", [[asyncio.Event()], [TokenChunk([], ORIGIN, "deadline")]], ids=["silence", "engine"])
async def test_the_deadline_ends_a_reply_and_the_call(steps: list[Step], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("serve_app.model_pool._GRACE_S", 0)
    handle = FakeHandle(steps)
    with pytest.raises(DeadlineExceeded):
        await written(handle, GenerateRequest("id", [5, 1], Sampling(seed=1), budget_s=0.01))
    assert handle.streams[0].cancelled


async def test_a_reader_who_leaves_cancels_the_call() -> None:
    handle = FakeHandle([TokenChunk([7], ORIGIN), asyncio.Event()])
    async with replicas_over(handle) as replicas:
        stream = cast("Any", replicas.write(REQUEST))
        await anext(stream)
        waiting = asyncio.ensure_future(anext(stream))
        await asyncio.sleep(0)
        waiting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waiting
    assert handle.streams[0].cancelled


async def test_a_reply_goes_on_elsewhere_when_its_replica_stalls(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("serve_app.model_pool._POLL_S", 0.01)
    never = asyncio.Event()
    handle = FakeHandle(
        [TokenChunk([7], ORIGIN), never],
        [TokenChunk([8], OTHER), TokenChunk([9], OTHER, "stop")],
        statuses=lambda: [never, replace(STATUS, origin=OTHER)],
    )
    assert await written(handle, stall_limit_s=0.05) == [7, 8, 9]
    assert handle.streams[0].cancelled
    assert handle.requests[1].prefix == [7]


async def test_a_replica_that_hangs_does_not_hide_the_others(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("serve_app.model_pool._POLL_S", 0.01)
    answers: list[Any] = [STATUS, replace(STATUS, origin=OTHER)]
    handle = FakeHandle([TokenChunk([7], OTHER, "stop")], statuses=lambda: answers)
    async with replicas_over(handle, stall_limit_s=0.05) as replicas:
        await until(lambda: len(replicas.ready) == 2)
        answers[0] = asyncio.Event()
        await until(lambda: [status.origin for status in replicas.ready] == [OTHER])
        await until(lambda: ORIGIN.replica_id in routing.AVOIDED)
        assert [chunk.token_ids async for chunk in replicas.write(REQUEST)] == [[7]]
        answers[0] = STATUS
        await until(lambda: len(replicas.ready) == 2 and not routing.AVOIDED)


async def test_before_its_first_token_a_reply_leaves_a_hanging_replica(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("serve_app.model_pool._POLL_S", 0.01)
    answers = [asyncio.Event(), replace(STATUS, origin=OTHER)]
    handle = FakeHandle([asyncio.Event()], [TokenChunk([7], OTHER, "stop")], statuses=lambda: answers)
    assert await written(handle, stall_limit_s=0.05) == [7]


async def test_a_reply_that_waits_in_a_queue_is_left_there(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("serve_app.model_pool._POLL_S", 0.01)
    turn = asyncio.Event()
    handle = FakeHandle([turn, TokenChunk([7], ORIGIN, "stop")])
    asyncio.get_running_loop().call_later(0.2, turn.set)
    assert await written(handle, stall_limit_s=0.05) == [7]
    assert len(handle.requests) == 1


async def test_a_round_of_questions_that_fails_is_not_the_last(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("serve_app.model_pool._POLL_S", 0.01)
    rounds = iter([ValueError("odd"), RuntimeError("odder")])

    def statuses() -> list[Any]:
        for error in rounds:
            raise error
        return [STATUS]

    async with replicas_over(FakeHandle(statuses=statuses)) as replicas:
        await until(lambda: replicas.ready == [STATUS])


async def test_a_full_engine_is_overloaded() -> None:
    with pytest.raises(Overloaded):
        await written(FakeHandle([QueueFull()]))


async def test_without_a_replica_a_request_is_refused_at_once() -> None:
    def none() -> list[Any]:
        raise DeploymentUnavailableError(cast("Any", "model"))

    with pytest.raises(NoReplica):
        await written(FakeHandle(statuses=none))


async def test_the_request_that_finds_no_replica_has_one_started_and_waits_for_it() -> None:
    handle = FakeHandle([TokenChunk([7], ORIGIN, "stop")], [TokenChunk([8], ORIGIN, "stop")], statuses=list)
    async with replicas_over(handle, cold_start_s=30) as replicas:

        async def tokens() -> list[int]:
            return [token async for chunk in replicas.write(REQUEST) for token in chunk.token_ids]

        asking = [asyncio.create_task(tokens()) for _ in range(2)]
        await until(lambda: len(handle.first) == 1)
        assert replicas.is_starting and not handle.requests
        handle.first[0].answer(STATUS)
        assert await asyncio.gather(*asking) == [[7], [8]]
        assert not replicas.is_starting and len(handle.first) == 1
        assert all(request.budget_s < REQUEST.budget_s for request in handle.requests), "the wait counts"


async def test_who_does_not_wait_that_long_is_told_that_a_replica_starts() -> None:
    handle = FakeHandle([TokenChunk([7], ORIGIN, "stop")], statuses=list)
    async with replicas_over(handle, cold_start_s=0) as replicas:
        for _ in range(3):
            with pytest.raises(Starting) as told:
                await anext(replicas.write(REQUEST))
        assert told.value.retry_after_s and replicas.is_starting
        await until(lambda: len(handle.first) == 1)  # however often it was asked for
        handle.first[0].answer(STATUS)
        await until(lambda: bool(replicas.ready))
        assert [chunk.token_ids async for chunk in replicas.write(REQUEST)] == [[7]]


async def test_a_start_that_fails_is_tried_again_by_the_next_request() -> None:
    handle = FakeHandle(statuses=list)
    async with replicas_over(handle, cold_start_s=30) as replicas:
        for number in range(2):
            asking = asyncio.ensure_future(anext(replicas.write(REQUEST)))
            await until(lambda: len(handle.first) > number)  # noqa: B023
            handle.first[number].answer(DeploymentUnavailableError(cast("Any", "model")))
            with pytest.raises(Starting):
                await asking


async def test_a_replica_that_is_there_and_hangs_is_no_cold_start(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("serve_app.model_pool._POLL_S", 0.01)
    answers: list[Any] = [STATUS]
    async with replicas_over(FakeHandle(statuses=lambda: answers), stall_limit_s=0.05, cold_start_s=30) as replicas:
        await until(lambda: replicas.ready == [STATUS])
        answers[0] = asyncio.Event()
        await until(lambda: not replicas.ready)
        with pytest.raises(NoReplica):
            await anext(replicas.write(REQUEST))


@pytest.mark.parametrize(
    ("replicas", "seconds"), [(0, 1), (1, 1), (25, 1), (50, 2), (100, 4), (10_000, 4)], ids=lambda value: f"{value}"
)
def test_many_replicas_are_asked_less_often_and_never_so_rarely_that_a_sound_one_is_late(
    replicas: int, seconds: float
) -> None:
    assert poll_s(replicas) == seconds
    liveness = Liveness(stall_limit_s=10, clock=iter((0.0, seconds + 0.9)).__next__)
    liveness.heard(STATUS)
    assert liveness.ready == [STATUS]


async def test_the_pause_between_two_rounds_is_that_of_the_replicas_that_are_known(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    known: list[int] = []

    def noted(replicas: int) -> float:
        known.append(replicas)
        return 0.01

    monkeypatch.setattr("serve_app.model_pool.poll_s", noted)
    statuses = [STATUS, replace(STATUS, origin=OTHER)]
    async with replicas_over(FakeHandle(statuses=lambda: statuses)):
        await until(lambda: known[-1:] == [2])


async def test_a_replica_that_failed_to_answer_is_not_ready() -> None:
    handle = FakeHandle([TokenChunk([7], ORIGIN, "stop")], statuses=lambda: [STATUS, ActorDiedError()])
    async with replicas_over(handle) as replicas:
        assert [chunk.token_ids async for chunk in replicas.write(REQUEST)] == [[7]]
        assert replicas.ready == [STATUS]


async def test_a_replica_is_lost_where_it_was_seen_to_have_died(monkeypatch: pytest.MonkeyPatch) -> None:
    """Serve stops dead replicas and those that are to go alike."""
    died = ActorDiedError()
    died.actor_id = "a1"
    stopping = Deployed(1, tuple(DeployedReplica(f"r{n}", f"a{n}", "n1", "DRAINING") for n in (1, 2)))

    async def said(_: object) -> Deployed:
        return stopping

    monkeypatch.setattr(Controller, "deployed", said)
    async with replicas_over(FakeHandle([died], [TokenChunk([7], ORIGIN, "stop")])) as replicas:
        _ = [chunk async for chunk in replicas.write(REQUEST)]
        deployed = await replicas.deployed()
    assert deployed is not None
    assert [each.stage for each in deployed.replicas] == ["LOST", "DRAINING"]
