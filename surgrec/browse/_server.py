"""The server on loopback: its port, its token, its end."""

import logging
import secrets
import socket
from collections.abc import Callable

import uvicorn
from starlette.types import ASGIApp

from surgrec.browse._app import create_app
from surgrec.browse._subjects import Subjects
from surgrec.errors import ConfigError, reason

_HOST = "127.0.0.1"
_TOKEN_BYTES = 32
_MOST_CONNECTIONS = 100
"""Connections that are open at once; a browser opens about six."""
_LAST_ANSWERS_S = 1
"""Seconds that answers which are being sent get at the end."""


class _Server(uvicorn.Server):
    """A server that ends at once: nobody waits for an answer from a process that was stopped."""

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Close all connections."""
        logging.getLogger("uvicorn.error").setLevel(logging.CRITICAL)
        self.force_exit = True
        await super().shutdown(sockets)


def serve(subjects: Subjects, port: int, started: Callable[[str], None]) -> None:
    """Serve pages about corpora, runs and evaluations to this machine, until Ctrl-C.

    Args:
        subjects: What is shown.
        port: Port on 127.0.0.1; 0: any free one.
        started: Called with the address, which contains the token, once the port is open.

    Raises:
        ConfigError: The port is taken, or may not be used.

    Example:
        >>> serve(open_subjects(["/data/corpus", "runs/a"]), 8765, print)
    """
    with _listen(port) as listener:
        port = listener.getsockname()[1]
        token = secrets.token_urlsafe(_TOKEN_BYTES)
        server = _Server(_config(create_app(subjects, token, port)))
        started(f"http://{_HOST}:{port}/?token={token}")
        try:
            server.run(sockets=[listener])
        except KeyboardInterrupt:
            return


def _config(app: ASGIApp) -> uvicorn.Config:
    return uvicorn.Config(
        app,
        # Nothing superfluous: no other protocol, and no log of addresses with tokens.
        http="h11",
        ws="none",
        lifespan="off",
        loop="asyncio",
        access_log=False,
        log_config=None,
        log_level="error",
        proxy_headers=False,
        server_header=False,
        limit_concurrency=_MOST_CONNECTIONS,
        timeout_graceful_shutdown=_LAST_ANSWERS_S,
    )


def _listen(port: int) -> socket.socket:
    listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((_HOST, port))
        listener.listen()
    except OSError as error:
        listener.close()
        raise ConfigError(
            f"port {port} of {_HOST} cannot be opened ({reason(error)}); end the program that "
            "uses it, or give another port with --port, or 0 for a free one"
        ) from None
    return listener
