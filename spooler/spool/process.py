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
from typing import TYPE_CHECKING, Self, cast

from spooler import collector
from spooler.errors import SpoolerError
from spooler.spool import wire
from spooler.spool.starting import LENGTH
from spooler.spool.store import Store
from spooler.spool.timing import Timing
from spooler.vitals import SpoolVitals

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from typing import BinaryIO, TypeAlias

    Handle: TypeAlias = Callable[[Callable[[], Store], bytes], None]

POSTGRES_THREADS = 3  # claiming, settling, and the beat with the chores


def main() -> None:
    """Run: the argument is the number of the inherited socket, on which the spool's URL comes first."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    with (
        socket.socket(fileno=int(sys.argv[1])) as stream,
        cast("BinaryIO", stream.makefile("rb", buffering=1 << 18)) as reader,
    ):
        url = _read(reader).decode("utf-8", "surrogateescape")
        try:
            store = Store.open(url)
        except SpoolerError as error:
            _answer(stream, wire.pack_fault(0, wire.fault_of(error)))
            return
        with store:
            _answer(stream, wire.pack_result(0, store.uuid))
            collector.run_seldom()
            with Looker(store, url) as looker:
                _serve(store, looker, stream, reader)


class Looker:
    """A thread for looks, with a connection of its own: who delivers does not wait for one that takes long.

    The connection is made when it is first needed. On Postgres the store has enough of them.
    """

    def __init__(self, store: Store, url: str) -> None:
        self._thread = ThreadPoolExecutor(1)
        self._store = store
        self._url = url
        self._opened: Store | None = store if store.is_postgres else None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._thread.shutdown(cancel_futures=True)
        if self._opened is not None and self._opened is not self._store:
            self._opened.close()

    def submit(self, handle: Handle, body: bytes) -> None:
        """Have a look handled."""
        self._thread.submit(handle, self._open, body)

    def _open(self) -> Store:
        if self._opened is None:
            self._opened = Store.open(self._url)
        return self._opened


def _serve(store: Store, looker: Looker, stream: socket.socket, reader: BinaryIO) -> None:
    writing = threading.Lock()
    timing = Timing()

    def handle(which: Callable[[], Store], body: bytes) -> None:
        number, method, arguments = wire.unpack_request(body)
        try:
            if method == "vitals":
                connections, in_use = store.connections()
                result: object = SpoolVitals(timing.take(), connections, in_use)
            elif method == "changed":  # that it takes long says nothing
                result = _call(which(), method, arguments)
            else:
                with timing.of(method):
                    result = _call(which(), method, arguments)
            answer = wire.pack_result(number, result)
        except SpoolerError as error:
            answer = wire.pack_fault(number, wire.fault_of(error))
        except Exception:  # noqa: BLE001  # a bug is told to the worker, which raises it there
            answer = wire.pack_fault(number, ("", traceback.format_exc(), ""))
        with writing:
            _answer(stream, answer)

    if not store.is_postgres:
        for body in _deliveries(store, looker, reader, handle):
            handle(lambda: store, body)
        return
    with ThreadPoolExecutor(POSTGRES_THREADS) as threads:
        for body in _deliveries(store, looker, reader, handle):
            threads.submit(handle, lambda: store, body)


def _answer(stream: socket.socket, answer: bytes | bytearray) -> None:
    with suppress(OSError):  # the worker has gone; the end of the stream follows
        stream.sendall(answer)


def _deliveries(store: Store, looker: Looker, reader: BinaryIO, handle: Handle) -> Iterator[bytes]:
    """Read requests to the end; what waits for others, and looks, have threads of their own."""
    while body := _read(reader):
        method = wire.method_of(body)
        if method in wire.LOOKS:
            looker.submit(handle, body)
        elif method == "vitals":  # asks no database
            handle(lambda: store, body)
        elif method == "changed":  # closing the store ends it
            threading.Thread(target=handle, args=(lambda: store, body), daemon=True).start()
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
