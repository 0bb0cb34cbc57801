"""Model replicas that need no Ray: a script of chunks stands in for the engine."""

from collections.abc import AsyncGenerator, Callable

from serve_app.messages import Deployed, GenerateRequest, Origin, ReplicaStatus, State, TokenChunk

ORIGIN = Origin(replica_id="r1", node_id="n1", pod_name="pod-1", node_name="node-1")


class FakeReplicas:
    """Answers each request with what `script` makes of it; an exception in it is raised there."""

    def __init__(self, script: Callable[[GenerateRequest], list[TokenChunk | Exception]]) -> None:
        self._script = script
        self.requests: list[GenerateRequest] = []
        self.closed = 0
        self.left_early = 0  # with chunks that were never read
        self.ended: list[str] = []
        self.controller: Deployed | None = None
        self.is_starting = False
        self.late: list[ReplicaStatus] = []
        self.ready = [ReplicaStatus(ORIGIN, slots=4, active=1, waiting=2, tokens_per_second=3.5)]

    @property
    def states(self) -> list[tuple[ReplicaStatus, State]]:
        return [(status, "RUNNING") for status in self.ready] + [(status, "LATE") for status in self.late]

    async def deployed(self) -> Deployed | None:
        return self.controller

    async def end(self, replica_id: str) -> None:
        self.ended.append(replica_id)

    async def write(self, request: GenerateRequest) -> AsyncGenerator[TokenChunk]:
        self.requests.append(request)
        try:
            for chunk in self._script(request):
                if isinstance(chunk, Exception):
                    raise chunk
                yield chunk
        except GeneratorExit:
            self.left_early += 1
            raise
        finally:
            self.closed += 1
