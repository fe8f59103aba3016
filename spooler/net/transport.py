"""A byte stream to a server: non-blocking reads and writes, and waiting, kept apart.

`send` and `receive` never wait and say exactly what the kernel took or had: that is what decides
whether end-of-data was handed over. Only `wait` sleeps. Limits: no TLS yet.
"""

from __future__ import annotations

import os
import socket
from typing import Protocol

import trio

from spooler.address import show
from spooler.destination import Destination, InetDestination, UnixDestination

BLOCK = 65536  # bytes asked for in one read


class ConnectError(Exception):
    """The connection could not be made; the message says why, for people."""


class Transport(Protocol):
    """What a session needs of a connection."""

    def send(self, data: memoryview) -> int:
        """Hand over what is taken at once; return how many bytes, 0 if none."""

    def receive(self) -> bytes | None:
        """Return what has arrived: b"" at end of file, None if there is nothing now."""

    async def wait(self, *, write: bool) -> None:
        """Wait until `receive` has something or, with `write`, `send` may take more."""

    def close(self) -> None:
        """Let go at once; never raises."""


class SocketTransport:
    """A connected TCP or UNIX stream socket."""

    def __init__(self, sock: socket.socket) -> None:
        sock.settimeout(0)
        self._sock = sock

    def send(self, data: memoryview) -> int:
        """See `Transport.send`; raises OSError when the connection is broken."""
        try:
            return self._sock.send(data)
        except BlockingIOError:
            return 0

    def receive(self) -> bytes | None:
        """See `Transport.receive`; raises OSError when the connection is broken."""
        try:
            return self._sock.recv(BLOCK)
        except BlockingIOError:
            return None

    async def wait(self, *, write: bool) -> None:
        """See `Transport.wait`."""
        if not write:
            await trio.lowlevel.wait_readable(self._sock)
            return
        async with trio.open_nursery() as nursery:

            async def first(waiting: object) -> None:
                await (trio.lowlevel.wait_readable if waiting == "r" else trio.lowlevel.wait_writable)(
                    self._sock
                )
                nursery.cancel_scope.cancel()

            nursery.start_soon(first, "r")
            nursery.start_soon(first, "w")

    def close(self) -> None:
        """See `Transport.close`."""
        trio.lowlevel.notify_closing(self._sock)
        self._sock.close()


async def dial(destination: Destination) -> SocketTransport:
    """Connect; raises ConnectError."""
    try:
        match destination:
            case UnixDestination(path=path):
                stream = trio.SocketStream(trio.socket.socket(trio.socket.AF_UNIX))
                try:
                    await stream.socket.connect(path)
                except BaseException:
                    stream.socket.close()
                    raise
            case InetDestination(host=host, port=port):
                stream = await trio.open_tcp_stream(host, port)
    except socket.gaierror as error:
        raise ConnectError(f"no address found for the host ({show(error.strerror or str(error))})") from None
    except OSError as error:
        raise ConnectError(_why(error)) from None
    return SocketTransport(socket.socket(fileno=stream.socket.detach()))


def _why(error: OSError) -> str:
    """Name the reason alone: trio wraps several attempts in a group."""
    cause = error.__cause__
    while isinstance(cause, BaseExceptionGroup):
        cause = cause.exceptions[0]
    if isinstance(cause, OSError):
        error = cause
    return (os.strerror(error.errno) if error.errno else show(str(error))).lower()
