"""GodelModel: the Serve side of one engine. Token ids in, token ids out."""

import asyncio
import logging
import os
import time
from collections.abc import AsyncIterator
from concurrent.futures import ThreadPoolExecutor

import torch

from serve_app import tracing
from serve_app.checkpoint import Checkpoint
from serve_app.engine.backends.select import select_backend
from serve_app.engine.engine import Engine
from serve_app.engine.errors import EngineFailed, ReplyFailed
from serve_app.engine.token_stream import TokenStream
from serve_app.errors import ModelError
from serve_app.messages import GenerateRequest, ReplicaStatus, Sampling, TokenChunk
from serve_app.metrics import ReplicaMetrics
from serve_app.model_weights import load_weights
from serve_app.replica import here
from serve_app.reply_spans import tell_reply
from serve_app.settings import AppArgs

logger = logging.getLogger("ray.serve.godel")

# Tokens that arrive within this time travel together: a message between processes costs about as much as a step of a
# small model. In a stream a person does not see the difference. The parts of a whole reply are not seen: they are sent
# only so that another replica can go on where this one was lost.
_JOIN_STREAM_S = 0.05
_JOIN_WHOLE_S = 1.0


class GodelModel:
    def __init__(self, checkpoint: Checkpoint, args: AppArgs) -> None:
        """Ready once it has written something. Raises ModelError where the model cannot be read, or cannot write."""
        if args.threads:
            torch.set_num_threads(args.threads)
        if checkpoint.is_fallback:
            logger.warning("Running the fallback model %s: %s", checkpoint.name, checkpoint.fallback_reason)
        self._stall_limit_s = args.stall_limit_s
        self._demo = args.demo
        self._engine = make_engine(checkpoint, args)
        try_out(self._engine, checkpoint, args)
        self._origin = here()
        self._metrics = ReplicaMetrics()
        tracing.start("godel-model", self._origin.replica_id)

    async def generate(self, request: GenerateRequest) -> AsyncIterator[TokenChunk]:
        """Write a reply; tokens that come quickly are joined. The first token travels alone, at once.

        Raises ValueError, QueueFull, ReplyFailed, EngineFailed; a caller across Ray can catch them by these names.
        """
        reply = self._engine.submit(
            request.prompt_ids,
            request.sampling,
            candidates=request.candidates,
            prefix=request.prefix,
            budget_s=request.budget_s,
            join_s=_JOIN_STREAM_S if request.streamed else _JOIN_WHOLE_S,
        )
        try:
            async for tokens in reply:
                yield TokenChunk(tokens, self._origin, reply.ending)
        finally:
            reply.cancel()
            self._metrics.replied(reply.times)
            with tracing.within(request.trace_context):
                self._trace(request, reply)
                self._log(request, reply)

    def _trace(self, request: GenerateRequest, reply: TokenStream) -> None:
        tell_reply(
            reply.times,
            time.monotonic(),
            request_id=request.request_id,
            prompt_tokens=len(request.prompt_ids),
            reply_tokens=reply.times.tokens,
            ending=_ending(reply),
        )

    def _log(self, request: GenerateRequest, reply: TokenStream) -> None:
        """One line a reply. Serve adds the replica's id and the request's, by which the ingress logs the same reply."""
        times = reply.times
        logger.info(
            "request %s: %s after %d tokens, %.0f ms in the queue, %.1f ms a token",
            request.request_id,
            _ending(reply),
            times.tokens,
            (times.queue_s or 0) * 1000,
            (times.token_s or 0) * 1000,
        )

    async def status(self) -> ReplicaStatus:
        status = ReplicaStatus(
            origin=self._origin,
            slots=self._engine.slots,
            active=self._engine.active,
            waiting=self._engine.waiting,
            tokens_per_second=round(self._engine.tokens_per_second, 1),
            stalled_s=round(self._engine.stalled_s, 1),
        )
        self._metrics.report(status, self._engine.totals)
        return status

    def record_autoscaling_stats(self) -> dict[str, float]:
        """What `autoscaling.by_capacity` decides by. Called by Serve every metrics_interval_s."""
        engine = self._engine
        return {
            "slots": engine.slots,
            "active": engine.active,
            "waiting": engine.waiting,
            "tokens_per_second": engine.tokens_per_second,
        }

    async def end(self, replica_id: str) -> None:
        """In a demo, end this process as a crash would, if it is that replica."""
        if self._demo and replica_id == self._origin.replica_id:
            logger.warning("ended, as the demo asked for")
            os._exit(1)

    def check_health(self) -> None:
        """Called by Serve; raises EngineFailed where the step loop has died, or hangs for more than `stall_limit_s`.

        Serve asks each replica every health_check_period_s, give or take a tenth, and stops it after three failures in
        a row; no answer within health_check_timeout_s is a failure. Serve's own values, 10 s and 30 s, would leave a
        process that hangs in place for 101 s. With the 2 s and 6 s of serve_config.yaml it takes at most

            2.2 + 3 * 6 s = 20 s    for a process that hangs: nothing answers,
            10 + 3 * 2.2 s = 17 s   for a step loop that hangs, with a stall_limit_s of 10 s,
            3 * 2.2 s = 7 s         for a step loop that has died,

        and a second more where Serve's controller is busy. Another replica starts at that moment, if there is a CPU for
        it, and is ready some seconds later. Where there is none, it waits until the process is gone: after
        RAY_kill_worker_timeout_milliseconds with RAY_SERVE_FORCE_STOP_UNHEALTHY_REPLICAS=1, else after
        graceful_shutdown_timeout_s, too.
        """
        if failure := self._engine.failure:
            raise failure
        if (stalled_s := self._engine.stalled_s) > self._stall_limit_s:
            limit = f"more than stall_limit_s, {self._stall_limit_s:g} s"
            raise EngineFailed(f"the engine has work and made no progress for {stalled_s:.1f} s: {limit}")

    def __del__(self) -> None:
        """Called by Serve when the replica has drained."""
        if engine := getattr(self, "_engine", None):
            engine.close(patience_s=self._stall_limit_s)
        tracing.stop()


def _ending(reply: TokenStream) -> str:
    return reply.ending or ("failed" if reply.failure else "left")


def make_engine(checkpoint: Checkpoint, args: AppArgs) -> Engine:
    """The engine of one replica. Raises ModelError where the checkpoint cannot be read."""
    return Engine(
        load_weights(checkpoint, select_backend(args.dtype, args.device), args.weights_cache_mb),
        slots=args.slots,
        max_waiting=args.max_waiting,
        max_prompt=args.max_prompt_tokens,
        max_reply=args.max_reply_tokens,
        prefill_tokens=args.prefill_tokens,
        encoding_cache_bytes=args.encoding_cache_mb * 1024**2,
        speculative=True,
    )


def try_out(engine: Engine, checkpoint: Checkpoint, args: AppArgs) -> None:
    """Write a few tokens: a replica that is ready has shown it, and what is made at first use is made.

    Raises ModelError, after args.request_timeout_s at the latest.
    """
    length = min(4, args.max_reply_tokens)

    async def write() -> None:
        async with asyncio.timeout(args.request_timeout_s):
            reply = engine.submit([0], Sampling(max_length=length, min_length=length), budget_s=args.request_timeout_s)
            async for _ in reply:
                pass
        if reply.ending == "deadline":
            raise TimeoutError

    try:
        with ThreadPoolExecutor(1) as apart:  # Serve's event loop runs in this thread
            apart.submit(lambda: asyncio.run(write())).result()
    except (ReplyFailed, EngineFailed, TimeoutError) as error:
        engine.close(patience_s=args.stall_limit_s)
        reason = str(error) or f"nothing came within request_timeout_s, {args.request_timeout_s:g} s"
        raise ModelError(
            f"Model {checkpoint.name} was read, but cannot write a reply: {reason}. Its weights may be damaged: copy "
            "them again; or set dtype to float32."
        ) from error
