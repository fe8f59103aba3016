"""The spool process: opens the store and does what its worker asks, until the worker is gone.

It is a process of its own so that the database's work runs beside the worker's and not in its
interpreter: two threads of one interpreter would pass its lock to and fro (measured: a third of the
throughput). It ignores the signals that stop a worker: its end is the end of the stream, and what it
has begun it finishes.
"""

from __future__ import annotations

import inspect
import signal
import socket
import sys
import threading
import traceback
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from functools import cache
from typing import TYPE_CHECKING, cast

from spooler import collector
from spooler.errors import SpoolerError
from spooler.spool import wire
from spooler.spool.starting import LENGTH
from spooler.spool.store import Store

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from typing import BinaryIO

POSTGRES_THREADS = 3  # claiming, settling, and the beat with the chores


def main() -> None:
    """Run: the argument is the number of the inherited socket, on which the spool's URL comes first."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    with (
        socket.socket(fileno=int(sys.argv[1])) as stream,
        cast("BinaryIO", stream.makefile("rb", buffering=1 << 18)) as reader,
    ):
        try:
            store = Store.open(_read(reader).decode("utf-8", "surrogateescape"))
        except SpoolerError as error:
            _answer(stream, wire.pack_fault(0, wire.fault_of(error)))
            return
        with store:
            _answer(stream, wire.pack_result(0, store.uuid))
            collector.run_seldom()
            _serve(store, stream, reader)


def _serve(store: Store, stream: socket.socket, reader: BinaryIO) -> None:
    writing = threading.Lock()

    def handle(body: bytes) -> None:
        number, method, arguments = wire.unpack_request(body)
        try:
            answer = wire.pack_result(number, _call(store, method, arguments))
        except SpoolerError as error:
            answer = wire.pack_fault(number, wire.fault_of(error))
        except Exception:  # noqa: BLE001  # a bug is told to the worker, which raises it there
            answer = wire.pack_fault(number, ("", traceback.format_exc(), ""))
        with writing:
            _answer(stream, answer)

    if not store.is_postgres:
        for body in _bodies(reader, handle):
            handle(body)
        return
    with ThreadPoolExecutor(POSTGRES_THREADS) as threads:
        for body in _bodies(reader, handle):
            threads.submit(handle, body)


def _answer(stream: socket.socket, answer: bytes | bytearray) -> None:
    with suppress(OSError):  # the worker has gone; the end of the stream follows
        stream.sendall(answer)


def _bodies(reader: BinaryIO, handle: Callable[[bytes], None]) -> Iterator[bytes]:
    """Read requests to the end; the one that waits for others is handled here, in a thread of its own."""
    while body := _read(reader):
        if wire.method_of(body) == "changed":
            threading.Thread(target=handle, args=(body,), daemon=True).start()  # closing the store ends it
        else:
            yield body


def _call(store: Store, method: str, arguments: tuple[object, ...]) -> object:
    """Call by position and by name, as the store's method has it."""
    function = getattr(store, method)
    named = _named(method)
    positional = len(arguments) - len(named)
    return function(*arguments[:positional], **dict(zip(named, arguments[positional:], strict=True)))


@cache
def _named(method: str) -> tuple[str, ...]:
    """Name the arguments that a method of the store takes by name, in order."""
    parameters = inspect.signature(getattr(Store, method)).parameters.values()
    return tuple(p.name for p in parameters if p.kind is p.KEYWORD_ONLY)


def _read(reader: BinaryIO) -> bytes:
    """Read a request; b"" at the end, which for a worker that was killed with answers unread is a reset."""
    try:
        head = reader.read(LENGTH)
        if len(head) < LENGTH:
            return b""
        return reader.read(int.from_bytes(head, "big"))
    except ConnectionResetError:
        return b""


if __name__ == "__main__":
    main()
