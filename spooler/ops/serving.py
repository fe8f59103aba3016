"""Serving HTTP beside delivery, which nothing here can hold up or end.

A port that is taken is told loudly, once, and tried again until it is free: mail goes out meanwhile.
"""

from __future__ import annotations

import logging
import socket
from typing import TYPE_CHECKING

import hypercorn.trio
import trio
from hypercorn.config import Config, Sockets

from spooler.events import Risk, Serving
from spooler.listen import Listen

if TYPE_CHECKING:
    from starlette.types import ASGIApp

    from spooler.events import Observe

AGAIN = 5.0  # seconds until a port that was taken is tried again
BACKLOG = 64
_MEND = "look at what listens there, or name another address with http.listen or --http"


async def serve(app: ASGIApp, listen: Listen, *, observe: Observe) -> None:
    """Serve until cancelled."""
    told = ""
    while True:
        try:
            sock = _bind(listen)
        except OSError as error:
            why = f"status and metrics are not served: {listen}: {(error.strerror or str(error)).lower()}"
            if why != told:
                observe(Risk(what=why, mend=f"{_MEND}; it is tried again, and mail goes out all the same"))
                told = why
            await trio.sleep(AGAIN)
            continue
        told = ""
        with sock:
            observe(Serving(f"http://{_address(sock)}/"))
            await _serve(app, sock, observe)
        await trio.sleep(AGAIN)


async def _serve(app: ASGIApp, sock: socket.socket, observe: Observe) -> None:
    config = _Config(sock)
    config.errorlog = _log_to(observe)
    config.alpn_protocols = ["http/1.1"]
    config.include_server_header = False
    config.graceful_timeout = 1.0
    try:
        await hypercorn.trio.serve(app, config, mode="asgi")  # type: ignore[arg-type]  # its notion of ASGI is its own
    except Exception as error:  # noqa: BLE001  # a bug here must not end delivery
        observe(Risk(what=f"serving status and metrics failed: {error!r}", mend="report it; mail goes out"))


class _Config(Config):
    """The server's settings, for a socket that is bound already."""

    def __init__(self, sock: socket.socket) -> None:
        super().__init__()
        self._sock = sock

    def create_sockets(self) -> Sockets:
        """Give that socket alone."""
        return Sockets(secure_sockets=[], insecure_sockets=[self._sock], quic_sockets=[])


def _address(sock: socket.socket) -> Listen:
    host, port = sock.getsockname()[:2]
    return Listen(host, port)


def _bind(listen: Listen) -> socket.socket:
    family = socket.AF_INET6 if ":" in listen.host else socket.AF_INET
    sock = socket.socket(family)
    try:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family is socket.AF_INET6:
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        sock.bind((listen.host, listen.port))
        sock.listen(BACKLOG)
    except BaseException:
        sock.close()
        raise
    return sock


class _Handler(logging.Handler):
    """Tells what the HTTP server complains of as an event."""

    def __init__(self, observe: Observe) -> None:
        super().__init__(logging.WARNING)
        self._observe = observe

    def emit(self, record: logging.LogRecord) -> None:
        """See the library."""
        error = record.exc_info[1] if record.exc_info else None
        what = record.getMessage() + (f": {error!r}" if error is not None else "")
        self._observe(Risk(what=f"status page: {what}", mend="report it; mail goes out"))


def _log_to(observe: Observe) -> logging.Logger:
    logger = logging.Logger("spooler.http", logging.WARNING)  # noqa: LOG001  # ours alone, and gone with us
    logger.addHandler(_Handler(observe))
    return logger
