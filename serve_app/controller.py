"""Asks Serve's controller about a deployment, when somebody wants to know, and at most once a second."""

import asyncio
import logging
import time
from typing import Any

# What the dashboard shows, replica by replica: `serve.status()`, the public way, only counts them, and blocks.
from ray.serve.context import _get_global_client

from serve_app.messages import Deployed, DeployedReplica, Stage

logger = logging.getLogger("ray.serve.godel")

_KEEP_S = 1.0
_TIMEOUT_S = 2.0  # a controller that is busy or restarting must not keep the list of replicas waiting
_STAGES: dict[str, Stage] = {"RUNNING": "RUNNING", "STOPPING": "DRAINING", "PENDING_MIGRATION": "DRAINING"}


class Controller:
    """What it says of one deployment."""

    def __init__(self, app_name: str, deployment: str) -> None:
        self._app_name = app_name
        self._deployment = deployment
        self._lock = asyncio.Lock()
        self._said: Deployed | None = None
        self._asked_at = float("-inf")

    async def deployed(self) -> Deployed | None:
        """As it was at most a second ago; None where the controller does not answer."""
        async with self._lock:
            if time.monotonic() - self._asked_at > _KEEP_S:
                self._said = await self._ask()
                self._asked_at = time.monotonic()
            return self._said

    async def _ask(self) -> Deployed | None:
        client = _get_global_client()
        if client is None:
            return None
        try:
            async with asyncio.timeout(_TIMEOUT_S):
                details = await client._controller.get_serve_instance_details.remote()
            return read(details["applications"][self._app_name]["deployments"][self._deployment])
        except Exception as error:  # whatever it is: the replicas that were heard can be listed without it
            logger.warning("Serve's controller could not be asked for its replicas (%s)", type(error).__name__)
            return None


def read(details: dict[str, Any]) -> Deployed:
    """The parts of a deployment's details that are used here."""
    return Deployed(
        target=int(details["target_num_replicas"]),
        replicas=tuple(
            DeployedReplica(
                replica_id=str(replica["replica_id"]),
                actor_id=str(replica.get("actor_id") or ""),
                node_id=str(replica.get("node_id") or ""),
                stage=_STAGES.get(_name(replica["state"]), "STARTING"),
            )
            for replica in details["replicas"]
            if _name(replica["state"]) != "STOPPED"
        ),
    )


def _name(state: Any) -> str:
    """Of an enumeration's member, or of its value as JSON has it."""
    return str(getattr(state, "value", state))
