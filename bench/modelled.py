"""The real service, in which only the model's arithmetic is modelled: so several replicas fit on two cores.

A tiny T5 with random weights writes the replies. Two of its layers, one that every prompt passes once and one that
every step does, take the time that a replica of GODEL-base takes on two cores of its own (capacity/service_times):
asleep, so that it costs no processor. All else is what is deployed: proxy, ingress, admission, router, scheduler,
autoscaling, and the start of a replica's process.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any
from unittest.mock import patch

from ray.serve import Application
from torch import Tensor

from bench.served import make_model
from bench.services import Place, System, ask_chat, model_deployment, our_config, serve_run
from capacity.service_times import ServiceTimes, load
from serve_app import app, model
from serve_app.checkpoint import Checkpoint
from serve_app.engine.backends.protocols import Backend, Linear
from serve_app.engine.weights import Weights
from serve_app.model_weights import load_weights
from serve_app.settings import AppArgs

_TINY = {"d_model": 64, "d_kv": 16, "d_ff": 128, "num_layers": 1, "num_heads": 4}
_CPUS = 0.1  # of those that Ray counts, so that there is room for as many replicas as are wanted


def build(args: AppArgs) -> Application:
    """The serving graph, with replicas that take modelled times: an import path for a Serve config."""
    with patch("serve_app.model.GodelModel", GodelModel):
        return app.build(args)


class GodelModel(model.GodelModel):
    """A replica whose engine's steps take as long as modelled.

    In float32, whose steps pass the layers here: in int8 one call of kernels.c may be a whole step.
    """

    def __init__(self, checkpoint: Checkpoint, args: AppArgs) -> None:
        times = load()

        def read(checkpoint: Checkpoint, backend: Backend, cache_mb: int) -> Weights:
            return slowed(load_weights(checkpoint, backend, cache_mb), times)

        with patch("serve_app.model.load_weights", read):
            super().__init__(checkpoint, args.model_copy(update={"dtype": "float32"}))


def slowed(weights: Weights, times: ServiceTimes) -> Weights:
    """These weights, whose encoder's first layer takes what prompts take, and whose head what a step takes."""
    first, *others = weights.encoder
    encode = _Slow(first.qkv, lambda tokens: times.encode([tokens]))
    return replace(weights, encoder=[replace(first, qkv=encode), *others], head=_Slow(weights.head, times.step))


@dataclass(frozen=True)
class _Slow:
    """A layer that takes longer by so many seconds for so many rows."""

    layer: Linear
    seconds: Callable[[int], float]

    def __call__(self, x: Tensor, onto: Tensor | None = None) -> Tensor:
        time.sleep(self.seconds(len(x)))
        return self.layer(x, onto=onto)


def modelled(options: dict[str, Any], **args: Any) -> System:
    """As shipped, but for `options` of the model's deployment, and the application's `args`."""

    def command(place: Place) -> list[str]:
        config = our_config(place)
        application = config["applications"][0]
        application["import_path"] = f"{__name__}:build"
        application["args"] |= args
        deployment = model_deployment(config)
        deployment |= options
        deployment["ray_actor_options"] = {"num_cpus": _CPUS}
        if "num_replicas" in options:
            del deployment["autoscaling_config"]
        return serve_run(config, place)

    return System("modelled", command, ask_chat)


def make_tiny(folder: Path) -> None:
    """The checkpoint of it."""
    make_model(folder, _TINY)
