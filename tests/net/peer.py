"""A scripted LMTP server at the other end of a socket pair: each test says every byte it sends."""

from __future__ import annotations

import socket
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import trio

from spooler.config import Timeouts
from spooler.destination import UnixDestination
from spooler.lmtp.client import Client
from spooler.lmtp.transaction import Recipient, Transaction
from spooler.lmtp.trust import Trust
from spooler.net.poller import Poller
from spooler.net.session import Session
from spooler.net.transport import SocketTransport

if TYPE_CHECKING:
    import ssl
    from collections.abc import AsyncGenerator, AsyncIterator, Callable

CHUNKING_HELLO = b"250-peer\r\n250-PIPELINING\r\n250-CHUNKING\r\n250 ENHANCEDSTATUSCODES\r\n"
HELLO = b"250-peer\r\n250-PIPELINING\r\n250-8BITMIME\r\n250 ENHANCEDSTATUSCODES\r\n"


class Peer:
    """The server's end."""

    def __init__(self, stream: trio.abc.Stream) -> None:
        self.stream = stream
        self.seen = b""

    async def say(self, data: bytes) -> None:
        """Send bytes."""
        await self.stream.send_all(data)

    async def hear(self, ending: bytes) -> bytes:
        """Read until what was read ends so; return it."""
        heard = b""
        while not heard.endswith(ending):
            data = await self.stream.receive_some()
            if not data:
                raise AssertionError(f"the client hung up after {heard!r}")
            heard += data
        self.seen += heard
        return heard

    async def rest(self) -> bytes:
        """Read until the client hangs up."""
        heard = b""
        while data := await self.stream.receive_some():
            heard += data
        return heard

    async def hang_up(self) -> None:
        """Close."""
        await self.stream.aclose()

    async def secure(self, context: ssl.SSLContext) -> None:
        """Agree on TLS; from here on it is talked through that."""
        self.stream = trio.SSLStream(self.stream, context, server_side=True)
        await self.stream.do_handshake()

    async def greet(self, hello: bytes = HELLO) -> None:
        """Greet and answer LHLO."""
        await self.say(b"220 peer\r\n")
        await self.hear(b"LHLO client\r\n")
        await self.say(hello)


class Script:
    """A source with a list of transactions; keeps what was finished."""

    def __init__(
        self,
        *contents: bytes | list[bytes],
        recipients: int = 1,
        may_end: bool | Callable[[], bool] = True,
    ) -> None:
        self._contents = contents
        self._next = 0
        self._recipients = recipients
        self._may_end = may_end
        self.done: list[Transaction] = []

    def next(self, session: Session) -> Transaction | None:
        """See Source."""
        if self._next == len(self._contents):
            return None
        tag = self._next
        self._next += 1
        return Transaction(
            sender="a@x",
            recipients=[Recipient(f"r{i}@x") for i in range(self._recipients)],
            tag=tag,
        )

    def content(self, transaction: Transaction) -> bytes | AsyncGenerator[bytes, None]:
        """See Source."""
        assert isinstance(transaction.tag, int)
        content = self._contents[transaction.tag]
        return content if isinstance(content, bytes) else self._chunks(content)

    def may_end(self) -> bool:
        """See Source."""
        return self._may_end if isinstance(self._may_end, bool) else self._may_end()

    def ending(self, transaction: Transaction) -> bool:
        """See Source."""
        return self.may_end()

    def commit(self) -> bool:
        """See Source."""
        return True

    def finished(self, transaction: Transaction) -> None:
        """See Source."""
        self.done.append(transaction)

    async def _chunks(self, chunks: list[bytes]) -> AsyncGenerator[bytes, None]:
        for chunk in chunks:
            await trio.lowlevel.checkpoint()
            yield chunk


@asynccontextmanager
async def connected(
    *, buffer: int | None = None, trust: Trust | None = None
) -> AsyncIterator[tuple[Session, Peer]]:
    """Give both ends of a connection; `buffer` in bytes makes the kernel's small."""
    ours, theirs = socket.socketpair()
    if buffer is not None:
        for end in (ours, theirs):
            end.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, buffer)
            end.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, buffer)
    poller = Poller()
    session = Session(
        transport=SocketTransport(ours, poller),
        client=Client(trust=trust or Trust()),
        destination=UnixDestination("/peer"),
        timeouts=Timeouts(),
    )
    stream = trio.SocketStream(trio.socket.from_stdlib_socket(theirs))
    async with trio.open_nursery() as nursery:
        nursery.start_soon(poller.run)
        try:
            yield session, Peer(stream)
        finally:
            session.close()
            await stream.aclose()
            nursery.cancel_scope.cancel()
