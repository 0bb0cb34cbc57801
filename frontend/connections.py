"""How the page's server treats connections: a request that has begun must be finished soon, and there are only so many.

uvicorn itself waits for ever for the rest of a request, so that a few clients that send a byte now and then would hold
all the connections there are.
"""

import asyncio

import h11
from uvicorn.protocols.http.h11_impl import H11Protocol

MAX_CONNECTIONS = (
    512  # of one process; an upload that stalls holds 0.3 MB: a form's most, and what asyncio reads at once
)
REQUEST_SECONDS = 20.0  # for a whole request, head and body: a long message over a slow line


class PromptProtocol(H11Protocol):
    """Closes a connection whose request is not there `REQUEST_SECONDS` after its first byte.

    The first request's time runs from the connection's beginning. Between requests uvicorn's keep-alive time counts.
    """

    _closing: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as uvicorn has it
        super().connection_made(transport)
        self._await_rest()

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        if self.conn.their_state in (h11.IDLE, h11.SEND_BODY):
            self._await_rest()
        else:
            self._stop_waiting()

    def connection_lost(self, exc: Exception | None) -> None:
        self._stop_waiting()
        super().connection_lost(exc)

    def _await_rest(self) -> None:
        if self._closing is None:
            self._closing = self.loop.call_later(REQUEST_SECONDS, self.transport.close)

    def _stop_waiting(self) -> None:
        if self._closing is not None:
            self._closing.cancel()
            self._closing = None
