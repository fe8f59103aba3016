"""TLS in memory: a client over a transport that takes and gives as much as a test says, and its server."""

from __future__ import annotations

import contextlib
import ssl
from typing import TYPE_CHECKING

import trio

from spooler.net.tls import TlsTransport

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


class Wire:
    """The client's end of a connection (see `spooler.net.transport.Transport`).

    `room` is how many octets are taken before there is no more room, None without limit.
    """

    def __init__(self) -> None:
        self.taken = b""
        self.given = b""
        self.room: int | None = None
        self.ended = False
        self.closed = False

    def send(self, data: bytes | memoryview) -> int:
        """Take what there is room for."""
        if self.closed:
            raise BrokenPipeError
        taken = bytes(data) if self.room is None else bytes(data[: self.room])
        if self.room is not None:
            self.room -= len(taken)
        self.taken += taken
        return len(taken)

    def receive(self) -> bytes | None:
        """Give all that is there."""
        given, self.given = self.given, b""
        return given or (b"" if self.ended else None)

    async def wait(
        self,
        *,
        write: bool,
        deadline: float,
        attend: Callable[[], float | None] | None = None,
        prepare: Callable[[], None] | None = None,
    ) -> bool:
        """Let the other side go on until it has said something."""
        await trio.lowlevel.checkpoint()
        while not (self.given or self.ended):
            if trio.current_time() >= deadline:
                return False
            await trio.lowlevel.checkpoint()
        return True

    def close(self) -> None:
        """Close."""
        self.closed = True


class Pair:
    """A client under TLS, `wire` below it, and what the server reads and says."""

    def __init__(self, certificate: Path, *, version: ssl.TLSVersion | None = None) -> None:
        ours = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        ours.options &= ~ssl.OP_IGNORE_UNEXPECTED_EOF  # as the product's
        ours.check_hostname = False
        ours.verify_mode = ssl.CERT_NONE
        theirs = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        theirs.load_cert_chain(certificate)
        if version is not None:
            theirs.minimum_version = theirs.maximum_version = version
        self.wire = Wire()
        self.client = TlsTransport(self.wire, ours, host="store.test")
        self._in = ssl.MemoryBIO()
        self._out = ssl.MemoryBIO()
        self.server = theirs.wrap_bio(self._in, self._out, server_side=True)

    async def agree(self, *, then: bytes = b"") -> None:
        """Agree on TLS; the server says `then` in one block with its last words of that."""
        done = False
        async with trio.open_nursery() as nursery:

            async def ours() -> None:
                nonlocal done
                done = await self.client.handshake(trio.current_time() + 10)

            nursery.start_soon(ours)
            agreed = False
            while not (done and agreed):
                self._in.write(self.wire.taken)
                self.wire.taken = b""
                if not agreed:
                    try:
                        self.server.do_handshake()
                    except ssl.SSLWantReadError:
                        pass
                    else:
                        agreed = True
                        if then:
                            self.server.write(then)
                self.wire.given += self._out.read()
                await trio.lowlevel.checkpoint()

    def said(self) -> bytes:
        """All that the server can read of what was handed over."""
        self._in.write(self.wire.taken)
        self.wire.taken = b""
        heard = b""
        try:
            while data := self.server.read(65536):
                heard += data
        except ssl.SSLWantReadError:
            pass
        return heard

    def say(self, data: bytes, *, then_close: bool = False) -> None:
        """Say something; with `then_close`, that it was the last."""
        if data:
            self.server.write(data)
        if then_close:
            with contextlib.suppress(ssl.SSLWantReadError):
                self.server.unwrap()
        self.wire.given += self._out.read()
