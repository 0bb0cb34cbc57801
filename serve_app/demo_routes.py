"""HTTP: what only a demo may do. None of it exists unless `demo` is set."""

import logging

from fastapi import FastAPI

from serve_app import openapi
from serve_app.chat import Chat
from serve_app.errors import InvalidRequest
from serve_app.messages import ReplicaName

logger = logging.getLogger("ray.serve.godel")


def add_demo_routes(api: FastAPI, chat: Chat) -> None:
    """The route below, over the chat's replicas."""

    @api.post("/demo/end", responses=openapi.errors(400, 401, 408, 413, 422, 429, 500))
    async def post_end(body: ReplicaName) -> ReplicaName:
        """End a model replica that is ready, as a crash would: others go on with its replies, and Serve replaces it."""
        if body.replica_id not in {status.origin.replica_id for status in chat.replicas.ready}:
            raise InvalidRequest("replica_id: no such replica is ready; GET /replicas lists them")
        logger.warning("the demo ends the replica %s", body.replica_id)
        await chat.replicas.end(body.replica_id)
        return body
