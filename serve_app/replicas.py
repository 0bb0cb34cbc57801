"""The ingress's side of the model replicas: stream a reply, across a replica's death if need be; know who is ready."""

import asyncio
import logging
import time
from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Any, cast

from ray.exceptions import RayActorError
from ray.serve.exceptions import BackPressureError, DeploymentUnavailableError, ReplicaUnavailableError
from ray.serve.handle import DeploymentHandle, DeploymentResponseGenerator

from serve_app.engine.errors import EngineFailed
from serve_app.errors import DeadlineExceeded, NoReplica, Overloaded, ReplyInterrupted
from serve_app.messages import GenerateRequest, ReplicaStatus, TokenChunk

logger = logging.getLogger("ray.serve.godel")

_POLL_S = 1.0
# A replica that has not answered for this long no longer counts as ready.
_FORGET_S = 5.0
# A reply changes replicas at most this often: a request that kills every replica it meets must not meet them all.
_MAX_FAILOVERS = 3
# The engine ends a reply at its deadline by itself; the ingress waits this much longer for that word to arrive.
_GRACE_S = 1.0

_REPLICA_LOST = (RayActorError, ReplicaUnavailableError, EngineFailed)


class ModelReplicas:
    def __init__(self, handle: DeploymentHandle[Any]) -> None:
        self._generate = handle.options(stream=True, method_name="generate")
        self._handle = handle
        self._statuses: list[ReplicaStatus] = []
        self._answered_at = 0.0
        self._polled = asyncio.Event()

    @property
    def ready(self) -> list[ReplicaStatus]:
        """The replicas that answered lately."""
        return self._statuses if time.monotonic() - self._answered_at < _FORGET_S else []

    async def watch(self) -> None:
        """Ask all replicas for their status, over and over. Broadcasts pass by the queues: a busy replica is ready."""
        while True:
            await self._poll()
            self._polled.set()
            await asyncio.sleep(_POLL_S)

    async def write(self, request: GenerateRequest) -> AsyncIterator[TokenChunk]:
        """Stream a reply. If its replica dies, another goes on after the tokens that have arrived.

        Raises NoReplica, Overloaded, DeadlineExceeded, ReplyInterrupted.
        """
        await self._polled.wait()
        if not self.ready:
            raise NoReplica("no model replica is ready; they may be starting: try again in a few seconds")
        deadline = time.monotonic() + request.budget_s
        for _ in range(_MAX_FAILOVERS + 1):
            try:
                async for chunk in self._write_once(request, deadline):
                    request = replace(request, prefix=[*request.prefix, *chunk.token_ids])
                    yield chunk
                    if chunk.finish_reason:
                        return
            except _REPLICA_LOST as error:
                logger.warning("request %s: its replica was lost (%s)", request.request_id, type(error).__name__)
        raise ReplyInterrupted("the replicas that wrote this reply died; try again")

    async def _write_once(self, request: GenerateRequest, deadline: float) -> AsyncIterator[TokenChunk]:
        response = self._generate.remote(replace(request, budget_s=deadline - time.monotonic()))
        stream = cast("DeploymentResponseGenerator[TokenChunk]", response)  # what stream=True makes of it
        try:
            while True:
                # Not around the whole loop: the first chunk is awaited in another task than the others.
                async with asyncio.timeout(deadline - time.monotonic() + _GRACE_S):
                    chunk = await anext(stream)
                self._answered_at = time.monotonic()  # as good as a status, which comes late from a busy machine
                if chunk.finish_reason == "deadline":
                    raise TimeoutError
                yield chunk
                if chunk.finish_reason:
                    return
        except StopAsyncIteration:
            raise ReplicaUnavailableError("its stream ended before the reply did") from None
        except BackPressureError:
            raise Overloaded("all replicas are busy and the queue is full; try again shortly") from None
        except TimeoutError:
            _cancel(stream)
            raise DeadlineExceeded("the reply was not complete in time; try again, or ask for a shorter one") from None
        except (asyncio.CancelledError, GeneratorExit):  # whoever asked has left
            _cancel(stream)
            raise

    async def _poll(self) -> None:
        try:
            answers = await self._handle.broadcast("status").results_async(timeout_s=_FORGET_S, return_exceptions=True)
        except (DeploymentUnavailableError, TimeoutError):
            return
        self._statuses = [answer for answer in answers if isinstance(answer, ReplicaStatus)]
        self._answered_at = time.monotonic()


def _cancel(stream: "DeploymentResponseGenerator[TokenChunk]") -> None:
    stream.cancel()  # type: ignore[no-untyped-call]  # Ray's
