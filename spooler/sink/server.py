"""`spooler sink`: an LMTP server for demos, tests and benches, on trio.

Runs in a program of its own or inside a test: `sink = await nursery.start(serve, SinkOptions(...))` gives the
bound destinations and the counters. Where mail goes can be replaced by giving `serve` another `Store`. Trusts
its network: listen on loopback or a UNIX socket.
"""

from __future__ import annotations

import errno
import os
import socket
import ssl
import stat
from contextlib import AsyncExitStack
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec
import trio

from spooler.destination import Destination, InetDestination, UnixDestination, parse_destination
from spooler.errors import CannotCreateError, HostError, NoInputError, NotPermittedError, SpoolerError
from spooler.sink.session import Session
from spooler.sink.state import Sink, SinkOptions, why
from spooler.sink.store import Maildir, Nowhere, Record, Store

if TYPE_CHECKING:
    from collections.abc import Sequence

DEFAULT_LISTEN = InetDestination("127.0.0.1", 2424)
_BACKLOG = 1024  # connections that wait to be accepted


async def serve(
    options: SinkOptions,
    *,
    store: Store | None = None,
    task_status: trio.TaskStatus[Sink] = trio.TASK_STATUS_IGNORED,
) -> None:
    """Listen and serve until cancelled; raises SpoolerError if it cannot start or cannot record."""
    if store is None:
        root = options.maildir
        store = Nowhere() if root is None else Maildir(root, trace_headers=options.trace_headers)
    async with AsyncExitStack() as stack:
        record = Record(options.record) if options.record is not None else None
        if record is not None:
            stack.callback(record.close)
        sink = Sink(options, store, record, _context(options))
        listeners: list[trio.SocketListener] = []
        for destination in options.listen:
            for listener in await _listen(destination):
                await stack.enter_async_context(listener)
                listeners.append(listener)
            if isinstance(destination, UnixDestination):
                stack.callback(Path(destination.path).unlink, missing_ok=True)
        sink.bound = tuple(_bound(listener) for listener in listeners)

        async def serve_one(stream: trio.SocketStream) -> None:
            await converse(sink, stream)

        async with trio.open_nursery() as nursery:
            await nursery.start(trio.serve_listeners, serve_one, listeners)
            task_status.started(sink)


async def converse(sink: Sink, stream: trio.abc.Stream) -> None:
    """Serve one connection to its end."""
    sink.counters.connections += 1
    sink.open_connections += 1
    try:
        async with stream:
            await Session(sink, stream, sink.counters.connections).run()
    except (trio.BrokenResourceError, trio.ClosedResourceError):
        pass  # the client went away
    finally:
        sink.open_connections -= 1


def parse_listen(text: str) -> Destination:
    """Read a destination to listen on; as everywhere, but port 0 is any free one. Raises UsageError."""
    if text.startswith("inet:") and text.endswith(":0"):
        destination = parse_destination(f"{text[:-1]}1")
        return msgspec.structs.replace(destination, port=0)
    return parse_destination(text)


def _context(options: SinkOptions) -> ssl.SSLContext | None:
    if options.tls_cert is None:
        return None
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.options &= ~ssl.OP_IGNORE_UNEXPECTED_EOF  # as in `spooler.net.security`
    try:
        context.load_cert_chain(options.tls_cert, options.tls_key)
    except OSError as error:  # what OpenSSL says is one, too
        raise NoInputError(
            f"certificate {options.tls_cert} cannot be used: {why(error)}",
            hint="give PEM files with a certificate and its key",
        ) from None
    return context


async def _listen(destination: Destination) -> Sequence[trio.SocketListener]:
    try:
        if isinstance(destination, UnixDestination):
            return [_listen_unix(destination.path)]
        return await trio.open_tcp_listeners(destination.port, host=destination.host, backlog=_BACKLOG)
    except socket.gaierror as error:
        raise HostError(f"cannot listen on {destination}: no address found ({error.strerror})") from None
    except OSError as error:
        raise _refused(destination, error) from None


def _listen_unix(path: str) -> trio.SocketListener:
    """Bind with mode 0600 from the first moment; a socket that nobody serves any more gives way."""
    _remove_stale(path)
    sock = socket.socket(socket.AF_UNIX)
    try:
        mask = os.umask(0o177)
        try:
            sock.bind(path)
        finally:
            os.umask(mask)
        sock.listen(_BACKLOG)
    except BaseException:
        sock.close()
        raise
    return trio.SocketListener(trio.socket.from_stdlib_socket(sock))


def _remove_stale(path: str) -> None:
    try:
        if not stat.S_ISSOCK(os.lstat(path).st_mode):
            return
    except FileNotFoundError:
        return
    with socket.socket(socket.AF_UNIX) as probe:
        try:
            probe.connect(path)
        except ConnectionRefusedError:
            Path(path).unlink(missing_ok=True)


def _bound(listener: trio.SocketListener) -> Destination:
    name = listener.socket.getsockname()
    return UnixDestination(name) if isinstance(name, str) else InetDestination(name[0], name[1])


def _refused(destination: Destination, error: OSError) -> SpoolerError:
    what = f"cannot listen on {destination}: {why(error)}"
    match error.errno:
        case errno.EADDRINUSE:
            return CannotCreateError(what, hint="stop the program that listens there, or choose another one")
        case errno.EACCES | errno.EPERM if isinstance(destination, InetDestination):
            return NotPermittedError(what, hint="ports under 1024 are reserved for root: choose a higher one")
        case errno.EACCES | errno.EPERM:
            return NotPermittedError(what, hint="choose a folder that this user can write")
        case errno.EADDRNOTAVAIL:
            return CannotCreateError(what, hint="give an address of this machine")
        case _:
            return CannotCreateError(what)
