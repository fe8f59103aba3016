"""A byte stream to a server: non-blocking reads and writes, and waiting, kept apart.

`send` and `receive` never wait and say exactly what the kernel took or had: that is what decides
whether end-of-data was handed over. Only `wait` sleeps. TLS is a transport over this one (`spooler.net.tls`).
"""

from __future__ import annotations

import errno
import os
import socket
from collections.abc import Awaitable, Callable
from typing import Protocol, TypeAlias

import trio

from spooler.address import show
from spooler.destination import Destination, InetDestination, UnixDestination
from spooler.net.poller import Poller
from spooler.reply import Stage
from spooler.trouble import Trouble

BLOCK = 65536  # bytes asked for in one read
_TROUBLE = {
    errno.ECONNREFUSED: Trouble.REFUSED,
    errno.ENOENT: Trouble.REFUSED,
    errno.EACCES: Trouble.NOT_PERMITTED,
    errno.EPERM: Trouble.NOT_PERMITTED,
}


class ConnectError(Exception):
    """The connection could not be made, or not be used; the message says why, for people."""

    def __init__(
        self, why: str, *, trouble: Trouble = Trouble.UNREACHABLE, stage: Stage = Stage.CONNECT
    ) -> None:
        super().__init__(why)
        self.trouble = trouble
        self.stage = stage


class Transport(Protocol):
    """What a session needs of a connection."""

    def send(self, data: bytes | memoryview) -> int:
        """Hand over what is taken at once; return how many bytes, 0 if none."""

    def receive(self) -> bytes | None:
        """Return what has arrived: b"" at end of file, None if there is nothing now."""

    async def wait(
        self,
        *,
        write: bool,
        deadline: float,
        attend: Callable[[], float | None] | None = None,
        prepare: Callable[[], None] | None = None,
    ) -> bool:
        """Wait until `receive` has something or, with `write`, `send` may take more.

        `deadline` is of trio's clock; returns whether it came in time. `attend`, and `prepare` before it,
        may be called each time instead of returning: see `spooler.net.poller.Channel.wait`.
        """

    def close(self) -> None:
        """Let go at once; never raises."""


Dial: TypeAlias = Callable[[Destination, Poller], Awaitable[Transport]]
"""How connections are made; raises ConnectError."""


class SocketTransport:
    """A connected TCP or UNIX stream socket."""

    def __init__(self, sock: socket.socket, poller: Poller) -> None:
        sock.settimeout(0)
        self._sock = sock
        self._channel = poller.channel(sock)
        self.wait = self._channel.wait

    def send(self, data: bytes | memoryview) -> int:
        """See `Transport.send`; raises OSError when the connection is broken."""
        try:
            taken = self._sock.send(data)
        except BlockingIOError:
            taken = 0
        if taken < len(data):
            self._channel.filled()
        return taken

    def receive(self) -> bytes | None:
        """See `Transport.receive`; raises OSError when the connection is broken."""
        try:
            data = self._sock.recv(BLOCK)
        except BlockingIOError:
            self._channel.drained()
            return None
        if len(data) < BLOCK:
            self._channel.drained()
        return data

    def close(self) -> None:
        """See `Transport.close`."""
        if self._sock.fileno() >= 0:
            self._channel.close()
            self._sock.close()


async def dial(destination: Destination, poller: Poller) -> SocketTransport:
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
        raise ConnectError(
            f"no address found for the host ({show(error.strerror or str(error))})", trouble=Trouble.NO_HOST
        ) from None
    except OSError as error:
        cause = _cause(error)
        why = (os.strerror(cause.errno) if cause.errno else show(str(cause))).lower()
        raise ConnectError(why, trouble=_TROUBLE.get(cause.errno or 0, Trouble.UNREACHABLE)) from None
    return SocketTransport(socket.socket(fileno=stream.socket.detach()), poller)


def _cause(error: OSError) -> OSError:
    """Return the reason itself: trio wraps several attempts in a group."""
    cause = error.__cause__
    while isinstance(cause, BaseExceptionGroup):
        cause = cause.exceptions[0]
    return cause if isinstance(cause, OSError) else error
