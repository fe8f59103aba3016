"""Serving HTTP beside delivery, which nothing here can end, whoever asks.

A port that is taken is told loudly, once, and tried again until it is free: mail goes out meanwhile.
Whoever gets at the port has few connections, of which the oldest makes room for the next one, so that a
probe always gets in; no answer waits for a client that does not read; and HTTP/1.1 is all that is spoken, for
in HTTP/2 a client can hold answers back without end.
"""

from __future__ import annotations

import logging
import socket
from typing import TYPE_CHECKING, cast

import h11
import trio
from hypercorn.app_wrappers import ASGIWrapper
from hypercorn.config import Config
from hypercorn.protocol.h11 import H11Protocol
from hypercorn.trio.task_group import TaskGroup
from hypercorn.trio.tcp_server import TCPServer
from hypercorn.trio.worker_context import WorkerContext
from hypercorn.typing import ConnectionState

from spooler.events import Risk, Serving
from spooler.listen import Listen

if TYPE_CHECKING:
    from starlette.types import ASGIApp

    from spooler.events import Observe

AGAIN = 5.0  # seconds until a port that was taken is tried again
BACKLOG = 64
CONNECTIONS = 64  # at a time
UNREAD = 10.0  # seconds that an answer waits for its reader
PAUSE = 1.0  # seconds until somebody is let in again, where there was no descriptor
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
    config = Config()
    config.errorlog = _log_to(observe)
    config.include_server_header = False
    wrapped = ASGIWrapper(app)  # type: ignore[arg-type]  # its notion of ASGI is its own
    listener = trio.SocketListener(trio.socket.from_stdlib_socket(sock))
    guests: dict[_Guest, None] = {}  # who came first stands first

    async def converse(guest: _Guest) -> None:
        try:
            with guest.scope:
                stream = cast("trio.SSLStream[trio.SocketStream]", guest)  # all of one that is used
                await _Connection(wrapped, config, WorkerContext(None), ConnectionState({}), stream)
        except Exception as error:  # noqa: BLE001  # a bug here must not end delivery
            what = f"serving status and metrics failed: {error!r}"
            observe(Risk(what=what, mend="report it; mail goes out"))
        finally:
            del guests[guest]
            await guest.leave()

    told = ""
    async with trio.open_nursery() as nursery:
        while True:
            try:
                guest = _Guest(await listener.accept())
            except OSError as error:  # no descriptor is left for it: delivery has them
                if told != (told := error.strerror or str(error)):
                    what = f"status page: no connection: {told.lower()}"
                    observe(Risk(what=what, mend="allow more open files"))
                await trio.sleep(PAUSE)
                continue
            if len(guests) >= CONNECTIONS:
                next(iter(guests)).go()
            guests[guest] = None
            nursery.start_soon(converse, guest)


class _Http1(H11Protocol):
    """HTTP/1.1 alone."""

    async def _check_protocol(self, event: h11.Request) -> None:
        """Let nobody change to HTTP/2, neither by h2c nor by the way a connection begins."""

    async def _create_stream(self, request: h11.Request) -> None:
        """Let nobody change to WebSocket: what is asked for is answered as if that had not been said."""
        plain = h11.Request(
            method=request.method,
            headers=[(name, value) for name, value in request.headers if name != b"upgrade"],
            target=request.target,
            http_version=request.http_version,
        )
        await super()._create_stream(plain)


class _Connection(TCPServer):
    """A connection in plain text."""

    async def run(self) -> None:
        """See the library; `protocol` is ours."""
        try:
            async with TaskGroup() as self._task_group:
                self.protocol = _Http1(  # type: ignore[assignment]  # it is asked for no more
                    self.app,
                    self.config,
                    self.context,
                    self._task_group,
                    ConnectionState(self.state),
                    ssl=False,
                    client=None,
                    server=None,
                    send=self.protocol_send,
                )
                await self.idle_task.restart(self._task_group, self._idle_timeout)
                await self._read_data()
        except OSError:
            pass
        finally:
            await self._close()


class _Guest:
    """A connection, as a stream that waits for no reader for long, and whose task can be ended."""

    def __init__(self, stream: trio.SocketStream) -> None:
        self.scope = trio.CancelScope()
        self._stream = stream
        self._sending = trio.CancelScope()
        self.receive_some, self.send_eof, self.aclose = stream.receive_some, stream.send_eof, stream.aclose

    async def send_all(self, data: bytes) -> None:
        """Send it, or give the connection up."""
        with trio.move_on_after(UNREAD) as self._sending:
            await self._stream.send_all(data)
        if self._sending.cancelled_caught:
            self.scope.cancel()
            raise trio.BrokenResourceError("it does not read")

    def go(self) -> None:
        """Make room for another."""
        self._sending.cancel()  # which is shielded from the other
        self.scope.cancel()

    async def leave(self) -> None:
        """Close it, whatever is on its way."""
        await trio.aclose_forcefully(self._stream)


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
