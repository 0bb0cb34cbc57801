"""`python -m frontend`: reads the settings, listens, and shuts down without cutting replies off."""

import contextlib
import logging
import os
import socket
import sys
from types import FrameType

import uvicorn
from fastapi import FastAPI
from pydantic import ValidationError

from frontend import logs, metrics, tracing
from frontend.access_log import log_no_queries
from frontend.app import create_app
from frontend.connections import MAX_CONNECTIONS, PromptProtocol
from frontend.secret_key import secret_key
from frontend.settings import Settings, unknown_names

log = logging.getLogger("frontend")

CLOSING_SECONDS = 5  # after the grace for replies: time to send their last event


class Server(uvicorn.Server):
    """Tells the replies under way, on the first signal, that their time is limited."""

    def __init__(self, config: uvicorn.Config, app: FastAPI) -> None:
        super().__init__(config)
        self._app = app

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        if hasattr(self._app.state, "services"):
            self._app.state.services.replies.drain()
            self._app.state.services.following.drain()
            self._app.state.services.cluster.drain()
        super().handle_exit(sig, frame)


def main() -> int:
    """Run until stopped. Returns the exit code: 2 for a wrong setting; uvicorn exits with 3 when the start fails."""
    try:
        settings = Settings()
        secret_key(settings)
        listener = _listen(settings)
        tracing.start()
    except ValidationError as error:
        return _refuse(_sentences(error))
    except (ValueError, OSError) as error:
        return _refuse([str(error)])
    logs.set_up(settings.log_format, settings.log_level)
    for name in unknown_names(os.environ):
        log.warning("%s is not a setting of the frontend and has no effect", name)
    # Alembic repeats at every start what it is about to look at.
    logging.getLogger("alembic").setLevel(logging.WARNING)
    app = create_app(settings)
    host, port = listener.getsockname()[:2]
    log.info(
        "frontend on http://%s:%d, backend at %s", f"[{host}]" if ":" in host else host, port, settings.backend_url
    )
    server = Server(server_config(app, settings), app)
    with contextlib.ExitStack() as until_then:
        try:
            until_then.enter_context(metrics.served(settings.host, settings.metrics_port))
        except OSError as error:
            return _refuse([_cannot_listen(settings.host, settings.metrics_port, error, "FRONTEND_METRICS_PORT")])
        until_then.callback(tracing.stop)
        # uvicorn shuts down in order, and raises the signal again when it is done.
        with contextlib.suppress(KeyboardInterrupt):
            server.run(sockets=[listener])
    return 0


def server_config(app: FastAPI, settings: Settings) -> uvicorn.Config:
    """How uvicorn serves the app."""
    config = uvicorn.Config(
        app,
        http=PromptProtocol,
        ws="none",
        limit_concurrency=MAX_CONNECTIONS,
        log_level=settings.log_level,
        log_config=logs.uvicorns(settings.log_format),
        timeout_graceful_shutdown=int(settings.shutdown_grace_seconds) + CLOSING_SECONDS,
        server_header=False,
        proxy_headers=False,  # `proxies.py` says whom to believe; uvicorn by itself believes all of this machine
    )
    log_no_queries()
    return config


def _listen(settings: Settings) -> socket.socket:
    """Open the port here, where a failure can be put into a sentence."""
    family = socket.AF_INET6 if ":" in settings.host else socket.AF_INET
    try:
        return socket.create_server((settings.host, settings.port), family=family, backlog=2048)
    except OSError as error:
        raise OSError(_cannot_listen(settings.host, settings.port, error, "FRONTEND_PORT")) from None


def _cannot_listen(host: str, port: int | None, error: OSError, setting: str) -> str:
    reason = os.strerror(error.errno or 0)
    return f"cannot listen on {host} port {port}: {reason}. Stop what uses it, or choose another with {setting}."


def _sentences(error: ValidationError) -> list[str]:
    """One sentence a wrong setting: its name and what is wrong. Values are left out, they may be secret."""
    return [
        " ".join(
            [*(f"FRONTEND_{part}".upper() for part in problem["loc"][:1]), problem["msg"].removeprefix("Value error, ")]
        )
        for problem in error.errors(include_input=False, include_url=False)
    ]


def _refuse(sentences: list[str]) -> int:
    for sentence in sentences:
        sys.stderr.write(f"frontend: {sentence}\n")
    return 2


if __name__ == "__main__":
    sys.exit(main())
