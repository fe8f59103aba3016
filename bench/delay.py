"""`python -m bench.delay PORT MILLISECONDS`: a line to 127.0.0.1:PORT with so much round-trip time.

Every block that arrives is passed on half the round-trip time later, in either direction, and nothing else is
held back: throughput is that of one process that copies (hundreds of MB a second). What a real line costs to
open, its handshake, is there too: the other end sees a connection one and a half round trips later. Prints
"listening on PORT" and runs until SIGTERM. Known limits: the kernel's timers make a delay up to 1 ms longer;
acknowledgements are local, so windows never grow too small, as on a line that is tuned for its length.
"""

from __future__ import annotations

import contextlib
import heapq
import itertools
import re
import selectors
import socket
import sys
import time
from collections import deque
from typing import TYPE_CHECKING

from tests.servers.process import folder, running, tail

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

_BLOCK = 256 * 1024  # bytes read at once
_MOST = 64 << 20  # bytes on the way in one direction of a connection; then its sender has to wait
_LISTENS = re.compile(r"^listening on (\d+)$", re.MULTILINE)


class Delay:
    """A line on loopback; `port` is where it begins."""

    def __init__(self, target: int, round_trip: float) -> None:
        self._target = ("127.0.0.1", target)
        self._round_trip = round_trip
        self._selector = selectors.DefaultSelector()
        self._due: list[tuple[float, int, Callable[[], None]]] = []
        self._order = itertools.count()
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=1024)
        self._listener.settimeout(0)
        self.port: int = self._listener.getsockname()[1]

    def run(self) -> None:
        """Carry what comes, for good."""
        self._selector.register(self._listener, selectors.EVENT_READ, None)
        while True:
            wait = max(0.0, self._due[0][0] - time.monotonic()) if self._due else None
            for key, events in self._selector.select(wait):
                if key.data is None:
                    self._accept()
                else:
                    key.data.ready(events)
            while self._due and self._due[0][0] <= time.monotonic():
                heapq.heappop(self._due)[2]()

    def later(self, trips: float, action: Callable[[], None]) -> None:
        """Do something so many round trips later, in the order of asking."""
        heapq.heappush(self._due, (time.monotonic() + trips * self._round_trip, next(self._order), action))

    def watch(self, end: End) -> None:
        """Look at an end for what it waits for now."""
        events = selectors.EVENT_READ * end.wants_read | selectors.EVENT_WRITE * end.blocked
        watched = end.sock in self._selector.get_map()
        if events and watched:
            self._selector.modify(end.sock, events, end)
        elif events:
            self._selector.register(end.sock, events, end)
        elif watched:
            self._selector.unregister(end.sock)

    def forget(self, end: End) -> None:
        """Close an end."""
        if end.sock.fileno() >= 0:
            if end.sock in self._selector.get_map():
                self._selector.unregister(end.sock)
            end.sock.close()

    def _accept(self) -> None:
        with contextlib.suppress(BlockingIOError):
            near, _ = self._listener.accept()
            self.later(1.5, lambda: self._open(near))

    def _open(self, near: socket.socket) -> None:
        try:
            far = socket.create_connection(self._target)
        except OSError:
            near.close()
            return
        one, other = End(self, near), End(self, far)
        one.other, other.other = other, one
        for end in (one, other):
            end.sock.settimeout(0)
            end.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self.watch(end)


class End:
    """One end of a connection: what is read here goes to the other end, half a round trip later."""

    def __init__(self, line: Delay, sock: socket.socket) -> None:
        self.sock = sock
        self.other = self
        self.blocked = False  # it takes no more at the moment
        self._line = line
        self._ended = False  # it will say nothing more
        self._done = False  # the other end has been told so
        self._on_way = 0  # bytes from here that the other end did not take yet
        self._arrived: deque[memoryview] = deque()  # and was not taken by the kernel yet

    @property
    def wants_read(self) -> bool:
        """Whether it may say more."""
        return not self._ended and self._on_way < _MOST

    def ready(self, events: int) -> None:
        """Read or write what can be."""
        try:
            if events & selectors.EVENT_WRITE:
                self._write()
            if events & selectors.EVENT_READ:
                self._read()
        except OSError:
            self._fail()

    def _read(self) -> None:
        data = self.sock.recv(_BLOCK)
        if not data:
            self._ended = True
        self._on_way += len(data)
        self._line.later(0.5, lambda: self.other.arrive(data))
        if not self.wants_read:
            self._line.watch(self)

    def arrive(self, data: bytes) -> None:
        """Take what the other end said; nothing means that it said the last."""
        if self.sock.fileno() < 0:
            return
        self._arrived.append(memoryview(data))
        try:
            if not self.blocked:
                self._write()
        except OSError:
            self._fail()

    def _write(self) -> None:
        while self._arrived:
            block = self._arrived[0]
            if not block:
                self.sock.shutdown(socket.SHUT_WR)
                self.other._done = True
                break
            try:
                sent = self.sock.send(block)
            except BlockingIOError:
                break
            self.other.taken(sent)
            if sent < len(block):
                self._arrived[0] = block[sent:]
            else:
                self._arrived.popleft()
        blocked = bool(self._arrived) and not self.other._done
        if blocked != self.blocked:
            self.blocked = blocked
            self._line.watch(self)
        if self._done and self.other._done:
            self._fail()

    def taken(self, size: int) -> None:
        """The other end took so many bytes."""
        paused = not self.wants_read
        self._on_way -= size
        if paused and self.wants_read and self.sock.fileno() >= 0:
            self._line.watch(self)

    def _fail(self) -> None:
        self._line.forget(self)
        self._line.forget(self.other)


@contextlib.contextmanager
def delayed(port: int, round_trip: float) -> Iterator[int]:
    """Run a line to a port of 127.0.0.1, in a process of its own, for the block; `round_trip` in seconds.

    Yields the port where it begins.
    """
    with folder() as root:
        log = root / "log"
        argv = [sys.executable, "-m", "bench.delay", port, round_trip * 1000]
        with running(argv, ready=lambda: bool(_LISTENS.search(tail(log))), log=log):
            announced = _LISTENS.search(tail(log))
            assert announced, "it was ready because it announced this"
            yield int(announced[1])


def main() -> None:
    """Run as a program."""
    line = Delay(int(sys.argv[1]), float(sys.argv[2]) / 1000)
    print(f"listening on {line.port}", flush=True)
    line.run()


if __name__ == "__main__":
    main()
