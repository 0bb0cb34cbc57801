"""The smallest application that the launcher takes for the real one: a model that loads, or does not, and /health."""

import time
from typing import Any

from fastapi import FastAPI
from pydantic import BaseModel
from ray import serve
from ray.serve import Application, Deployment
from ray.serve.handle import DeploymentHandle

api = FastAPI()


class StubArgs(BaseModel):
    load_s: float = 0
    error: str | None = None  # what the model's loading fails with


class Model:
    def __init__(self, args: StubArgs) -> None:
        time.sleep(args.load_s)
        if args.error is not None:
            raise RuntimeError(args.error)

    def ready(self) -> bool:
        return True


@serve.ingress(api)
class Ingress:
    def __init__(self, model: DeploymentHandle[Any]) -> None:
        self._model = model

    @api.get("/health")
    async def health(self) -> dict[str, Any]:
        ready: bool = await self._model.ready.remote()
        model = {"name": "stub", "fallback": True, "reason": "The hub has no answer."}
        return {"status": "ok", "ready_replicas": int(ready), "model": model}


def build(args: StubArgs) -> Application:
    model: Deployment = serve.deployment()(Model)
    ingress: Deployment = serve.deployment()(Ingress)
    return ingress.bind(model.bind(args))
