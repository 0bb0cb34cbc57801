"""The ingress's side of the model replicas: stream a reply, going on elsewhere if a replica is lost; know who lives."""

import asyncio
import logging
import time
from collections import deque
from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing
from dataclasses import replace
from typing import Any, TypeAlias, cast

from opentelemetry.trace import SpanKind
from ray.exceptions import ActorDiedError, RayActorError
from ray.serve.exceptions import BackPressureError, DeploymentUnavailableError, ReplicaUnavailableError
from ray.serve.handle import DeploymentHandle, DeploymentResponseGenerator

from serve_app import routing
from serve_app.controller import Controller
from serve_app.engine.errors import EngineFailed, QueueFull, ReplyFailed
from serve_app.errors import DeadlineExceeded, NoReplica, Overloaded, ReplyImpossible, ReplyInterrupted, Starting
from serve_app.liveness import Liveness
from serve_app.messages import Deployed, GenerateRequest, ReplicaStatus, State, TokenChunk
from serve_app.tracing import carried, span

logger = logging.getLogger("ray.serve.godel")

_POLL_S = 1.0
# Each ingress asks each replica, so the calls in a service grow with its square, and each takes some 4 ms of processor
# time (bench/nodes.py). For more replicas than these a round takes several times `_POLL_S`; not so many times that
# `Liveness` took a sound replica for late.
_ASKED_EACH_POLL = 25
_MOST_POLLS = 4
# A reply changes replicas at most this often: a request that kills or hangs every replica it meets must not meet all.
_MAX_TAKEOVERS = 3
# The engine ends a reply at its deadline by itself; the ingress waits this much longer for that word to arrive.
_GRACE_S = 1.0
# Deaths that are remembered, longer than Serve lists the replicas.
_DEATHS = 64


def poll_s(replicas: int) -> float:
    """How long it is from one round of questions to so many replicas to the next."""
    return _POLL_S * max(1, min(replicas / _ASKED_EACH_POLL, _MOST_POLLS))


class ReplicaStalled(Exception):
    """It lives, and does not get on."""


_REPLICA_LOST = (RayActorError, ReplicaUnavailableError, EngineFailed, ReplicaStalled)
_Stream: TypeAlias = "DeploymentResponseGenerator[TokenChunk]"


class ModelPool:
    def __init__(
        self,
        handle: DeploymentHandle[Any],
        stall_limit_s: float,
        took_over: Callable[[], None] = lambda: None,
        cold_start_s: float | None = None,
    ) -> None:
        """took_over: called each time that a reply has lost its replica, and another is asked.

        cold_start_s: where there is no replica, how long a request waits for one to start; None: it is an error.
        """
        self._generate = handle.options(stream=True, method_name="generate")
        self._first_status = handle.options(method_name="status")
        self._handle = handle
        self._stall_limit_s = stall_limit_s
        self._took_over = took_over
        self._cold_start_s = cold_start_s
        self._starting: asyncio.Task[None] | None = None
        self.liveness = Liveness(stall_limit_s, time.monotonic)
        self._hung_at = float("-inf")  # when a replica last left a question unanswered
        self._polled = asyncio.Event()
        self._controller = Controller(handle.app_name, handle.deployment_name)
        self._died: deque[str] = deque(maxlen=_DEATHS)  # actor ids; Serve gives no reason why a replica goes

    @property
    def ready(self) -> list[ReplicaStatus]:
        return self.liveness.ready

    @property
    def states(self) -> list[tuple[ReplicaStatus, State]]:
        """All that are known, and how each is."""
        return self.liveness.states

    @property
    def is_starting(self) -> bool:
        """Whether a request has found no replica, and the one that it has started is not there yet."""
        return self._starting is not None and not self._starting.done()

    async def deployed(self) -> Deployed | None:
        """What Serve says of them, and that a replica is lost where it was seen to have died."""
        deployed = await self._controller.deployed()
        return deployed and replace(
            deployed,
            replicas=tuple(
                replace(each, stage="LOST") if each.actor_id in self._died else each for each in deployed.replicas
            ),
        )

    async def end(self, replica_id: str) -> None:
        """In a demo, end a replica as a crash would. Sent when this returns; there is no answer to wait for."""
        await self._handle.broadcast("end", replica_id)._fetch_replica_results_async()  # unawaited, nothing is sent

    async def watch(self) -> None:
        """Ask all replicas for their status, over and over. Broadcasts pass by the queues: a busy replica is ready.

        A round that waits for a replica does not keep the next one waiting.
        """
        async with asyncio.TaskGroup() as rounds:
            while True:
                rounds.create_task(self._ask_all())
                await asyncio.sleep(poll_s(len(self.states)))
                self._avoid_stalled()

    async def write(self, request: GenerateRequest) -> AsyncGenerator[TokenChunk]:
        """Stream a reply. If its replica dies or stalls, another goes on after the tokens that have arrived.

        Raises NoReplica, Starting, Overloaded, DeadlineExceeded, ReplyInterrupted, ReplyImpossible.
        """
        deadline = time.monotonic() + request.budget_s
        await self._polled.wait()
        if not self.ready:
            await self._start(request.budget_s)
        failures = 0
        for attempt in range(_MAX_TAKEOVERS + 1):
            if attempt:
                self._took_over()
            try:
                with span("write", SpanKind.CLIENT, request_id=request.request_id, attempt=attempt) as asked:
                    async with aclosing(self._write_once(request, deadline)) as chunks:
                        async for chunk in chunks:
                            asked.set_attribute("replica_id", chunk.origin.replica_id)
                            request = replace(request, prefix=[*request.prefix, *chunk.token_ids])
                            yield chunk
                return
            except ReplyFailed as error:
                failures += 1
                if failures > 1:  # memory may suffice elsewhere; scores that are no numbers come again
                    raise ReplyImpossible(f"the model cannot write this reply: {error}") from None
            except _REPLICA_LOST as error:
                logger.warning("request %s: its replica was lost (%s)", request.request_id, type(error).__name__)
                self._note_death(error)
        raise ReplyInterrupted("the replicas that wrote this reply died or stalled; try again")

    async def _start(self, budget_s: float) -> None:
        """Have Serve start a replica, and wait for it. Raises Starting where it takes longer, and NoReplica."""
        if self._cold_start_s is None or self.states:
            raise NoReplica("no model replica is ready; they may be starting: try again in a few seconds")
        if not self.is_starting:
            self._starting = asyncio.create_task(self._ask_the_first())
            logger.info("there is no model replica: one is started")
        await asyncio.wait([cast(asyncio.Task[None], self._starting)], timeout=min(self._cold_start_s, budget_s))
        if not self.ready:
            raise Starting("a model replica is starting; try again in a few seconds")

    async def _ask_the_first(self) -> None:
        """Ask whichever replica there will be. The question waits in Serve until then, and so Serve starts one."""
        try:
            self.liveness.heard(await self._first_status.remote())
        except Exception as error:  # the next request asks again
            logger.warning("no model replica has started (%s)", type(error).__name__)

    async def _write_once(self, request: GenerateRequest, deadline: float) -> AsyncGenerator[TokenChunk]:
        response = self._generate.remote(
            replace(request, budget_s=deadline - time.monotonic(), trace_context=carried())
        )
        stream = cast(_Stream, response)  # what stream=True makes of it
        writer: str | None = None  # unknown until it is heard
        try:
            while True:
                chunk = await self._next(stream, writer, deadline)
                writer = chunk.origin.replica_id
                self.liveness.heard_token(writer)
                if chunk.finish_reason == "deadline":
                    raise TimeoutError
                yield chunk
                if chunk.finish_reason:
                    return
        except StopAsyncIteration:
            raise ReplicaUnavailableError("its stream ended before the reply did") from None
        except (BackPressureError, QueueFull):
            raise Overloaded("all replicas are busy and the queue is full; try again shortly") from None
        except TimeoutError:
            _cancel(stream)
            raise DeadlineExceeded("the reply was not complete in time; try again, or ask for a shorter one") from None
        except (asyncio.CancelledError, GeneratorExit, ReplicaStalled):  # the caller has left, or goes elsewhere
            _cancel(stream)
            raise

    async def _next(self, stream: _Stream, writer: str | None, deadline: float) -> TokenChunk:
        """The next tokens. Raises ReplicaStalled, TimeoutError, and what the stream raises."""
        began = time.monotonic()
        arriving = asyncio.ensure_future(anext(stream))
        try:
            while not arriving.done():
                now = time.monotonic()
                if now >= deadline + _GRACE_S:
                    raise TimeoutError
                if now - began >= self._stall_limit_s and self._is_stalled(writer):
                    raise ReplicaStalled
                await asyncio.wait([arriving], timeout=min(_POLL_S, deadline + _GRACE_S - now))
            return arriving.result()
        finally:
            arriving.cancel()

    def _is_stalled(self, writer: str | None) -> bool:
        """Whether a reply that has waited too long for its next tokens waits for a replica that does not get on.

        Before its first token it is not known which replica has it, and it may rightly wait in a queue.
        """
        if writer is None:
            return time.monotonic() - self._hung_at < self._stall_limit_s or bool(self.liveness.stalled)
        self.liveness.suspect(writer)
        self._avoid_stalled()
        return True

    async def _ask_all(self) -> None:
        try:
            # Ray's public way waits for all answers, and one replica that hangs would hide the others.
            answers = await self._handle.broadcast("status")._fetch_replica_results_async()
            statuses = await asyncio.gather(*map(self._ask, answers))
        except DeploymentUnavailableError:
            self.liveness.keep(())
        except Exception:  # whatever it is, the next round may do better
            logger.exception("the model replicas could not be asked for their status")
        else:
            if time.monotonic() - self._hung_at > self._stall_limit_s:  # who is not among the answers is gone
                self.liveness.keep([status.origin.replica_id for status in statuses if status])
        finally:
            self._polled.set()

    async def _ask(self, answer: Any) -> ReplicaStatus | None:
        """A replica's status; nothing where it died or does not answer."""
        try:
            async with asyncio.timeout(self._stall_limit_s):
                status: ReplicaStatus = await answer.get_async()
        except TimeoutError:
            self._hung_at = time.monotonic()
            answer.cancel()
            return None
        except RayActorError as error:
            self._note_death(error)
            return None
        self.liveness.heard(status)
        return status

    def _note_death(self, error: Exception) -> None:
        if isinstance(error, ActorDiedError) and error.actor_id:
            self._died.append(error.actor_id)

    def _avoid_stalled(self) -> None:
        stalled = self.liveness.stalled
        routing.AVOIDED.intersection_update(stalled)
        routing.AVOIDED.update(stalled)


def _cancel(stream: _Stream) -> None:
    stream.cancel()  # type: ignore[no-untyped-call]  # Ray's
