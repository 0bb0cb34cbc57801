"""One engine in this process, as `Chat` knows model replicas: no Ray. For benchmarks, evaluations and tests."""

from collections.abc import AsyncGenerator

from serve_app.engine.engine import Engine
from serve_app.errors import DeadlineExceeded
from serve_app.messages import Deployed, GenerateRequest, Origin, ReplicaStatus, State, TokenChunk

_HERE = Origin("in-process", "here", "here", "here")


class InProcess:
    """A pool of one."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self.ready = [ReplicaStatus(_HERE, slots=engine.slots, active=0, waiting=0, tokens_per_second=0)]
        self.states: list[tuple[ReplicaStatus, State]] = []
        self.is_starting = False

    async def deployed(self) -> Deployed | None:
        """No controller knows of it."""
        return None

    async def end(self, replica_id: str) -> None:
        """It ends with its process."""

    async def write(self, request: GenerateRequest) -> AsyncGenerator[TokenChunk]:
        """Stream a reply. Raises DeadlineExceeded."""
        reply = self._engine.submit(
            request.prompt_ids, request.sampling, candidates=request.candidates, budget_s=request.budget_s
        )
        async for tokens in reply:
            if reply.ending == "deadline":
                raise DeadlineExceeded(f"no whole reply within {request.budget_s:.0f} s")
            yield TokenChunk(tokens, _HERE, reply.ending)
