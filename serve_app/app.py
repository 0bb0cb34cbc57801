"""Assembles the application: `build` is the import path of serve_config.yaml."""

import asyncio
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from typing import Any

from fastapi import FastAPI
from ray import serve
from ray.serve import Application, Deployment
from ray.serve.handle import DeploymentHandle
from transformers import PreTrainedTokenizerBase

from serve_app import tracing
from serve_app.chat import Chat
from serve_app.chat_config import ConfigFile
from serve_app.checkpoint import ROOT, Checkpoint, load_tokenizer, resolve
from serve_app.ingress import create_api
from serve_app.keys import KeyRing
from serve_app.metrics import IngressMetrics, StateMetrics
from serve_app.model_pool import ModelPool
from serve_app.replica import here
from serve_app.settings import AppArgs

logger = logging.getLogger("ray.serve.godel")

_FILES_POLL_S = 1.0


def build(args: AppArgs) -> Application:
    """The serving graph: Ingress -> GodelModel. Serve's own knobs, autoscaling among them, are in serve_config.yaml.

    Raises ModelError where neither the model nor its fallback can be had, ConfigError where the configuration is wrong.
    """
    from serve_app.model import GodelModel  # here, since it brings torch along, which the ingress replicas do without

    _config_file(args), _key_ring(args)  # a mistake there is reported now, once, and not by every replica
    checkpoint = resolve(args)
    # A replica that is to go finishes its replies first; the ingress outlives the models that it streams from.
    model = _deployment(
        GodelModel,
        # Who waits, waits in the engine, which takes the next one at once, by deadline. Serve's router, where a replica
        # refuses, waits for up to half a second and asks again, and slots stay empty meanwhile.
        max_ongoing_requests=args.slots + args.max_waiting,
        graceful_shutdown_timeout_s=args.request_timeout_s + 5,
        request_router_config={"request_router_class": "serve_app.routing.AroundStalled"},
    )
    ingress = _deployment(Ingress, graceful_shutdown_timeout_s=args.request_timeout_s + 10)
    return ingress.bind(model.bind(checkpoint, args), checkpoint, load_tokenizer(checkpoint), args)


def _config_file(args: AppArgs) -> ConfigFile:
    return ConfigFile(ROOT / args.chat_config, args.max_reply_tokens)


def _key_ring(args: AppArgs) -> KeyRing | None:
    return KeyRing(ROOT / args.keys) if args.keys else None


def _deployment(cls: type, **options: Any) -> Deployment:
    deployment: Deployment = serve.deployment(**options)(cls)
    return deployment


@serve.ingress()
class Ingress:
    """The FastAPI application in a Serve replica."""

    def __init__(
        self,
        model: DeploymentHandle[Any],
        checkpoint: Checkpoint,
        tokenizer: PreTrainedTokenizerBase,
        args: AppArgs,
    ) -> None:
        """The tokenizer comes along, a megabyte at most: to find out which kind of tokenizer it is takes torch."""
        self._metrics = IngressMetrics()
        self._pool = ModelPool(model, args.stall_limit_s, self._metrics.took_over, args.cold_start_s)
        self._config_file = _config_file(args)
        self._keys = _key_ring(args)
        self._chat = Chat(args, checkpoint, tokenizer, self._config_file, self._pool, self._metrics.replied)

    def __serve_build_asgi_app__(self) -> FastAPI:
        return create_api(
            self._chat, lifespan=self._lifespan, keys=self._keys, refused=self._metrics.refused, here=here()
        )

    @asynccontextmanager
    async def _lifespan(self, api: FastAPI) -> AsyncIterator[None]:
        tracing.start("godel-ingress", here().replica_id)
        await asyncio.to_thread(self._chat.prepare)
        watchers = [asyncio.create_task(self._pool.watch()), asyncio.create_task(self._watch_files())]
        yield
        for watcher in watchers:
            watcher.cancel()
        for watcher in watchers:
            with suppress(asyncio.CancelledError):
                await watcher
        await asyncio.to_thread(tracing.stop)

    async def _watch_files(self) -> None:
        """Notice edits without waiting for a request, so that a bad one is on the metric within a second."""
        metrics = StateMetrics(is_fallback=self._chat.checkpoint.is_fallback)
        while True:
            current = await asyncio.to_thread(self._config_file.refresh)
            await asyncio.to_thread(self._chat.prepare)  # nothing, but that clients' texts do not push it out of memory
            logger.setLevel(current.config.logging_level)
            if self._keys:
                await asyncio.to_thread(self._keys.refresh)
            metrics.report(current.version, self._config_file.error, self._keys.error if self._keys else None)
            await asyncio.sleep(_FILES_POLL_S)
