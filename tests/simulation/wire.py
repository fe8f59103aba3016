"""A connection in memory: two buffers, and what the product sees of them as its transport.

`Wire` is what lies between; `SimTransport` is the client's end, with the manners of a socket that does not
block: it takes part of what it is given, or nothing; what it took may never be read; a reset loses what was
on its way; and what a client sent before it died is read all the same.
"""

from __future__ import annotations

import errno
from collections import deque
from typing import TYPE_CHECKING, Protocol

import trio

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.simulation.chance import Chance

BLOCK = 65536  # octets given by one read


class Gone(Exception):  # noqa: N818  # not an error: how a dialogue ends
    """The client closed, and all that it sent was read."""


class Holder(Protocol):
    """Who has the client's end."""

    dead: bool

    def may_die(self, how: str) -> bool:
        """Die now, by chance; whether it did."""

    def beat_age(self) -> float:
        """Seconds since its last good beat began."""


class Wire:
    """One connection."""

    def __init__(self, chance: Chance, *, number: int) -> None:
        self.number = number
        self.chance = chance
        self.client_gone = False
        self.server_gone = ""
        self._inbound = bytearray()
        self._lost = False
        """Whether what the client sent does not arrive any more, nor what it had sent and was not read."""
        self._capacity = chance.pick((1000, 4096, 65536, 1 << 20))
        self._outbound: deque[bytes] = deque()
        self._handed: deque[tuple[int, float]] = deque()
        self._taken = 0
        self._for_server = trio.Event()
        self._for_client = trio.Event()

    # the server's end

    async def arrived(self, deadline: float) -> bool:
        """Wait for something to read; whether it came before `deadline`. Raises Gone."""
        while not self._inbound:
            if self.client_gone:
                raise Gone
            with trio.move_on_at(deadline) as scope:
                await self._for_server.wait()
            if scope.cancelled_caught:
                return False
            self._for_server = trio.Event()
        return True

    def read(self) -> bytes:
        """Take what has arrived, or a part of it."""
        size = len(self._inbound)
        if size and self.chance.may(0.2):
            size = self.chance.rng.randint(1, size)
        data = bytes(self._inbound[:size])
        del self._inbound[:size]
        self._for_client.set()
        return data

    def write(self, data: bytes) -> None:
        """Say something."""
        if not self.server_gone and not self.client_gone:
            self._outbound.append(data)
            self._for_client.set()

    def hang_up(self, *, reset: bool) -> None:
        """Close; a reset also loses what was said and not yet read."""
        if not self.server_gone:
            self.server_gone = "reset" if reset else "closed"
            if reset:
                self._outbound.clear()
            self._for_client.set()

    def age_at(self, offset: int) -> float:
        """How old its sender's last good beat was when the octet in front of `offset` was handed over."""
        while self._handed[0][0] < offset:
            self._handed.popleft()
        return self._handed[0][1]

    # the client's end

    def can_read(self) -> bool:
        """Whether a read gives something, be it the end."""
        return bool(self._outbound) or bool(self.server_gone)

    def ready(self, *, write: bool) -> bool:
        """Whether there is something to read or, with `write`, a write is taken or fails at once."""
        room = bool(self.server_gone) or len(self._inbound) < self._capacity
        return self.can_read() or (write and room)

    def take(self, data: bytes, age: float) -> int:
        """Take of the client's what there is room for."""
        taken = min(len(data), self._capacity - len(self._inbound))
        if taken and self.chance.may(0.1):
            taken = self.chance.rng.randint(0, taken)
        if not self._lost:  # a stream has no holes: what is sent last is lost with what went before it
            self._inbound += data[:taken]
        self._taken += taken
        self._handed.append((self._taken, age))
        self._for_server.set()
        return taken

    def give(self) -> bytes | None:
        """Give the client what was said."""
        if self._outbound:
            data = b"".join(self._outbound)
            self._outbound.clear()
            if len(data) > BLOCK:
                self._outbound.append(data[BLOCK:])
            return data[:BLOCK]
        if self.server_gone == "reset":
            raise ConnectionResetError(errno.ECONNRESET, "connection reset by peer")
        return b"" if self.server_gone else None

    async def wait(self, deadline: float) -> bool:
        """Wait for a change of what the client can do; whether there was one before `deadline`."""
        self._for_client = trio.Event()
        with trio.move_on_at(deadline):
            await self._for_client.wait()
            return True
        return False

    def leave(self) -> None:
        """Close the client's end; what it sent is mostly read all the same."""
        if not self.client_gone:
            self.client_gone = True
            if self.chance.may(0.2):
                self._lost = True
                self._inbound.clear()
            self._for_server.set()
            self._for_client.set()


class SimTransport:
    """The product's end of a wire: see `spooler.net.transport.Transport`."""

    def __init__(self, wire: Wire, holder: Holder) -> None:
        self.wire = wire
        self._holder = holder

    def send(self, data: bytes | memoryview) -> int:
        """See `Transport.send`."""
        wire = self.wire
        if self._holder.dead or wire.client_gone or wire.server_gone == "reset":
            raise BrokenPipeError(errno.EPIPE, "broken pipe")
        if self._holder.may_die("crash while sending") and wire.chance.may(0.5):
            raise BrokenPipeError(errno.EPIPE, "died before the call")
        if wire.server_gone:  # the kernel takes it, and learns then that nobody is there
            wire.server_gone = "reset"
            return len(data)
        return wire.take(bytes(data), self._holder.beat_age())

    def receive(self) -> bytes | None:
        """See `Transport.receive`."""
        if self._holder.dead or self.wire.client_gone:
            raise OSError(errno.EBADF, "bad file descriptor")
        return self.wire.give()

    async def wait(
        self,
        *,
        write: bool,
        deadline: float,
        attend: Callable[[], float | None] | None = None,
        prepare: Callable[[], None] | None = None,
    ) -> bool:
        """See `Transport.wait`."""
        wire = self.wire
        if wire.ready(write=write):
            await trio.lowlevel.checkpoint()
            return True
        while await wire.wait(deadline):
            if attend is not None and wire.can_read():
                again = attend()
                while again is not None and wire.can_read():
                    again = attend()
                if again is None:
                    return True
                deadline = again
            elif wire.client_gone or wire.ready(write=write):
                return True
        return False

    def close(self) -> None:
        """See `Transport.close`."""
        self.wire.leave()
