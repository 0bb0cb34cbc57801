"""GodelModel: the Serve side of one engine. Token ids in, token ids out."""

import logging
import os
import socket
from collections.abc import AsyncIterator

import ray
import torch
from ray import serve
from ray.serve import metrics

from serve_app.checkpoint import Checkpoint, load_model
from serve_app.engine.dtypes import arithmetic_for
from serve_app.engine.engine import Engine
from serve_app.engine.weights import from_transformers
from serve_app.gauges import GAUGES
from serve_app.messages import GenerateRequest, Origin, ReplicaStatus, TokenChunk
from serve_app.settings import AppArgs

logger = logging.getLogger("ray.serve.godel")

# Tokens that arrive within this time travel together: a message between processes costs about as much as a step of a
# small model. In a stream a person does not see the difference. Of a whole reply nobody sees the parts: they are sent
# only so that another replica can go on where this one was lost.
_JOIN_STREAM_S = 0.05
_JOIN_WHOLE_S = 1.0


class GodelModel:
    def __init__(self, checkpoint: Checkpoint, args: AppArgs) -> None:
        """Raises ModelError where the checkpoint cannot be read."""
        if args.threads:
            torch.set_num_threads(args.threads)
        if checkpoint.is_fallback:
            logger.warning("Running the fallback model %s: %s", checkpoint.name, checkpoint.fallback_reason)
        self._engine = make_engine(checkpoint, args)
        self._origin = _origin()
        self._gauges = {
            field: metrics.Gauge(f"godel_{field}", description=GAUGES[f"godel_{field}"])
            for field in ("active", "waiting", "tokens_per_second")
        }

    async def generate(self, request: GenerateRequest) -> AsyncIterator[TokenChunk]:
        """Write a reply; tokens that come quickly are joined. The first token travels alone, at once."""
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
                yield TokenChunk(tokens, self._origin, None if reply.ending == "failed" else reply.ending)
        finally:
            reply.cancel()

    async def status(self) -> ReplicaStatus:
        status = ReplicaStatus(
            origin=self._origin,
            slots=self._engine.slots,
            active=self._engine.active,
            waiting=self._engine.waiting,
            tokens_per_second=round(self._engine.tokens_per_second, 1),
        )
        for name, gauge in self._gauges.items():
            gauge.set(getattr(status, name))
        return status

    def check_health(self) -> None:
        """Called by Serve, which replaces a replica whose engine has died."""
        if self._engine.failure:
            raise self._engine.failure

    def __del__(self) -> None:
        """Called by Serve when the replica has drained."""
        if engine := getattr(self, "_engine", None):
            engine.close()


def make_engine(checkpoint: Checkpoint, args: AppArgs) -> Engine:
    """The engine of one replica. Raises ModelError where the checkpoint cannot be read."""
    return Engine(
        from_transformers(load_model(checkpoint), arithmetic_for(args.dtype, args.device)),
        slots=args.slots,
        max_prompt=args.max_prompt_tokens,
        max_reply=args.max_reply_tokens,
        prefill_tokens=args.prefill_tokens,
        encoding_cache_bytes=args.encoding_cache_mb * 1024**2,
    )


def _origin() -> Origin:
    """Pod and node as Kubernetes names them (downward API), else this host."""
    host = socket.gethostname()
    return Origin(
        replica_id=serve.get_replica_context().replica_id.unique_id,
        node_id=ray.get_runtime_context().get_node_id(),
        pod_name=os.environ.get("POD_NAME", host),
        node_name=os.environ.get("NODE_NAME", host),
    )
